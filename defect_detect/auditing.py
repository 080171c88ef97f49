"""The audit of a normalized dataset for given configs: its files, and the short form that `comparing` shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from defect_detect.config import DetectorConfig
from defect_detect.data import audit
from defect_detect.data.files import atomic_write
from defect_detect.report import audit_page, audit_terminal


def run(
    root: Path, out: Path, *, configs: Sequence[DetectorConfig], name: str, tile: int | None = None,
    alike: bool = True, seed: int = 0, console: Console,
) -> None:  # fmt: skip
    """Print the audit, and leave audit.html and audit.json in the folder `out`.

    Args:
        root: of the normalized dataset.
        out: an existing folder.
        configs: of the detectors that are to be trained.
        name: what people call the dataset.
        tile: px, the side of the tiles that detectors are to see; None: whole pictures.
        alike: whether pictures are compared across splits, for which each is read.
        seed: of the defects drawn for the sheets.
        console: for progress; the audit itself goes to standard output.

    Raises:
        DatasetError: a file or a picture of the dataset was damaged.
        OSError: `out` can't be written.
    """
    splits = audit.loaded(root)
    groups = None
    if alike and len(splits) > 1:
        with console.status("comparing pictures across splits"):
            groups = audit.looking_alike(splits)
    found = audit.audit(splits, _asked(configs, tile), name=name, alike=groups)
    audit_terminal.print_audit(found, Console())
    with console.status("cutting pictures"):
        page = audit_page.render(found, splits, seed=seed)
    atomic_write(out / "audit.html", page)
    atomic_write(out / "audit.json", msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    console.print(f"Written: {out / 'audit.html'}, audit.json", markup=False, highlight=False, soft_wrap=True)


def before_training(
    root: Path, *, configs: Sequence[DetectorConfig], name: str, tile: int | None, console: Console
) -> None:
    """Print the short form; no picture is read. Arguments as of `run`.

    Raises:
        DatasetError: a file of the dataset was damaged.
    """
    audit_terminal.print_audit(audit.audit(audit.loaded(root), _asked(configs, tile), name=name), console)


def _asked(configs: Sequence[DetectorConfig], tile: int | None) -> list[audit.Detector]:
    return [
        audit.Detector(
            name=made.name, framework=made.framework, model=made.model, image_size=made.settings.image_size,
            options=made.options, tile=tile,
        )
        for made in configs
    ]  # fmt: skip
