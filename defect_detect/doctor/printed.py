"""What `tools/doctor.py` prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console

from defect_detect.doctor import examine, table


def run(frameworks: Sequence[str], *, quick: bool, device: str, limit: float, as_json: bool) -> int:
    """Examine, print, and return the exit code: 0 where all that was asked for works, else 1.

    Raises:
        ConfigError: a framework that isn't one.
    """
    progress = Console(stderr=True)
    with progress.status("") as status:

        def say(what: str) -> None:
            status.update(f"looking at {what}")
            if not progress.is_terminal:
                progress.print(f"looking at {what}", markup=False, highlight=False, soft_wrap=True)

        report = examine.examine(frameworks, quick=quick, device=device, limit=limit, say=say)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        table.show(report, Console())
    return 0 if report.ok else 1
