"""Everything a comparison leaves for people and programs, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from defect_detect.data.files import atomic_write
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.judged import Judged
from defect_detect.job import encode
from defect_detect.report import ledger_csv, markdown, page
from defect_detect.tables import Dataset


def write(
    out: Path, comparison: Comparison, judged: Sequence[Judged], *, truth: Dataset,
    measurements: Mapping[str, Any] | None, ledger: Sequence[msgspec.Struct],
) -> None:  # fmt: skip
    """Put report.html, comparison.md, ledger.csv and comparison.json into the folder `out`.

    The JSON comes last: where it stands, the other three belong to it.

    Args:
        out: an existing folder.
        comparison: the figures.
        judged: every run on the test split.
        truth: the test split.
        measurements: what was measured of cost, by detector; never part of the JSON.
        ledger: a row for every defect and detector.

    Raises:
        OSError: no space, no permission, no such folder.
    """
    made = contents(comparison, judged, truth=truth, measurements=measurements, ledger=ledger)
    for name, content in made.items():
        atomic_write(out / name, content)


def contents(
    comparison: Comparison, judged: Sequence[Judged], *, truth: Dataset, measurements: Mapping[str, Any] | None,
    ledger: Sequence[msgspec.Struct],
) -> dict[str, str | bytes]:  # fmt: skip
    """What each file says, by its name; comparison.json last. Arguments as for `write`."""
    return {
        "report.html": page.render(comparison, judged, truth=truth, measurements=measurements),
        "comparison.md": markdown.render(comparison, measurements=measurements),
        "ledger.csv": ledger_csv.text(ledger),
        "comparison.json": encode(comparison),
    }
