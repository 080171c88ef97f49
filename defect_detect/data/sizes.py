"""Declared width and height against the file's own: which of the two do the boxes mean?

A declaration is replaced only when the boxes tell. Evidence is pooled over the file, as such faults
are (an exporter that swaps the two, pictures resized after they were labelled): were the boxes in
the larger frame, each would lie inside the smaller one by chance alone with the smaller one's share
of the area.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from defect_detect.data.listing import Entry
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.spans import span

_SLACK = 2.0
"""px by which a box may pass the edge and still be called inside."""
_CHANCE = 0.001
_MANY = 0.1
"""Share of a file's images beyond which a fault is the file's, not theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    entry: Entry
    picture: Picture
    fits_file: bool
    fits_declared: bool
    log_chance: float
    """log of the chance that boxes of the declared frame all lie inside the file's."""
    boxes: int


def settle(
    images: Sequence[tuple[Entry, Picture]], annotations: Mapping[int, Sequence[Mapping[str, Any]]], log: Log
) -> tuple[set[int], set[int]]:
    """Positions in `images` whose frame stays in doubt, and those for which the file is refused.

    `annotations` are the raw annotations by position in `images`. Repairs and refusals go to the log.
    """
    kinds: dict[tuple[int, str], list[tuple[int, _Case]]] = {}
    for position, (entry, picture) in enumerate(images):
        own = (picture.width, picture.height)
        if entry.declared is None:
            log.repaired(entry.where, "size missing", None, list(own))
        elif entry.declared != own:
            case = _case(entry, picture, annotations.get(position, ()))
            kinds.setdefault((entry.source, _kind(entry.declared, picture)), []).append((position, case))
    listed = Counter(entry.source for entry, _ in images)
    doubtful: set[int] = set()
    refused: set[int] = set()
    for (source, kind), cases in kinds.items():
        resized = {position: case for position, case in cases if not case.fits_file and case.fits_declared}
        if len(resized) > _MANY * listed[source]:
            _refuse_resized(kind, list(resized.values()), log)
            refused.update(position for position, _ in cases)
            continue
        for case in resized.values():
            what = f"{kind}: boxes fit the declared size only"
            log.quarantined(case.entry.where, what, _sizes(case), case.entry.split)
        doubtful |= resized.keys()
        doubtful |= _judge(kind, [(position, case) for position, case in cases if position not in resized], log)
    return doubtful, refused


def _kind(declared: tuple[int, int], picture: Picture) -> str:
    if declared == picture.stored:
        return "size before EXIF orientation"
    if declared == (picture.height, picture.width):
        return "width and height swapped"
    return "wrong size"


def _case(entry: Entry, picture: Picture, annotations: Sequence[Mapping[str, Any]]) -> _Case:
    spans = [found for raw in annotations if (found := span(raw)) is not None]
    width, height = entry.declared or (picture.width, picture.height)
    share = min(1.0, picture.width / width) * min(1.0, picture.height / height)
    return _Case(
        entry=entry,
        picture=picture,
        fits_file=all(_inside(found, picture.width, picture.height) for found in spans),
        fits_declared=all(_inside(found, width, height) for found in spans),
        log_chance=len(spans) * math.log(share),
        boxes=len(spans),
    )


def _inside(found: tuple[float, float, float, float], width: float, height: float) -> bool:
    x0, y0, x1, y1 = found
    return x0 >= -_SLACK and y0 >= -_SLACK and x1 <= width + _SLACK and y1 <= height + _SLACK


def _refuse_resized(kind: str, resized: Sequence[_Case], log: Log) -> None:
    first = min(resized, key=lambda case: case.entry.name)
    log.refused(
        first.entry.where, expected=f"boxes inside the file's own {_size(first.picture)} px",
        found=f"{kind}: declared {first.entry.declared}, and boxes that only fit there ({len(resized)} images)",
        fix="Were the pictures resized or turned after labelling? Give those that were labelled.",
    )  # fmt: skip


def _judge(kind: str, cases: Sequence[tuple[int, _Case]], log: Log) -> set[int]:
    told = any(not case.fits_declared for _, case in cases)
    unlikely = sum(case.log_chance for _, case in cases) < math.log(_CHANCE)
    doubtful: set[int] = set()
    for position, case in cases:
        if case.boxes and not told and not unlikely:
            doubtful.add(position)
            log.quarantined(case.entry.where, f"{kind}: boxes fit both", _sizes(case), case.entry.split)
        else:
            own = [case.picture.width, case.picture.height]
            log.repaired(case.entry.where, kind, list(case.entry.declared or ()), own)
    return doubtful


def _sizes(case: _Case) -> str:
    return f"{case.entry.declared}, file {_size(case.picture)}"


def _size(picture: Picture) -> str:
    return f"{picture.width} x {picture.height}"
