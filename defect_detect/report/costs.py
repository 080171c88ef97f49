"""What training and prediction cost, from measurements.json, in units that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from defect_detect.report import wording

_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """A table with a column for each run, and what holds for all of them.

    heads  run and the detector it belongs to
    rows   name and a text for each run
    whole  name and text
    """

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    whole: tuple[tuple[str, str], ...]


def costs(found: Mapping[str, Any] | None, detectors: Sequence[str]) -> Costs | None:
    """Runs are told by their key: a detector's name, or that and `-` and the seed."""
    if not found:
        return None
    heads = []
    for key, value in found.items():
        name = re.sub(r"-\d+$", "", key) if key not in detectors else key
        if name in detectors and isinstance(value, Mapping):
            heads.append((key, name))
    keys = dict.fromkeys(key for run, _ in heads for key in found[run])
    runs = {run for run, _ in heads}
    return Costs(
        heads=tuple(heads),
        rows=tuple((_title(key), tuple(amount(key, found[run].get(key)) for run, _ in heads)) for key in keys),
        whole=tuple((_title(key), wording.plain(value)) for key, value in found.items() if key not in runs),
    )


def amount(key: str, value: Any) -> str:
    """The value in the unit that its name ends with: seconds and bytes become readable."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return wording.plain(value)
    if key.endswith("_bytes"):
        return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
    if key.endswith("_seconds"):
        return _time(value)
    return wording.plain(value)


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"


def _title(key: str) -> str:
    return re.sub(r"_(seconds|bytes)$", "", key).replace("_", " ")
