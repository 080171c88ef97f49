"""Which defects were missed, by whom: what the gallery shows, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.agreement import missed_by
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.slices import severity
from defect_detect.tables import Dataset

_SEVERITY = {"critical": 0, "major": 1, "minor": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Defects missed by exactly these detectors.

    missed_by  names, in the order of the report
    defects    all rows of `Defects`, the most telling first
    shown      the first of them, as far as there is room
    """

    missed_by: tuple[str, ...]
    defects: tuple[int, ...]
    shown: tuple[int, ...]


def groups(judged: Sequence[Judged], truth: Dataset, *, limit: int) -> list[Group]:
    """The missed defects by who missed them: missed by all first, then by ever fewer detectors.

    Room is dealt out one defect to each group in turn, so that no group hides another. Within a group
    critical classes come first, then large defects: those are the hardest to excuse.
    """
    missed = missed_by(judged)
    names = list(missed)
    by: dict[tuple[str, ...], list[int]] = {}
    for row in np.flatnonzero(truth.defects.counts).tolist():
        who = tuple(name for name in names if missed[name][row])
        if who:
            by.setdefault(who, []).append(row)
    order = sorted(by, key=lambda who: (-len(who), [names.index(name) for name in who]))
    severities = severity(truth)
    ranked = {who: sorted(by[who], key=lambda row: _weight(truth, row, str(severities[row]))) for who in order}
    room = dict.fromkeys(order, 0)
    left = limit
    while left > 0 and any(room[who] < len(ranked[who]) for who in order):
        for who in order:
            if left > 0 and room[who] < len(ranked[who]):
                room[who] += 1
                left -= 1
    return [Group(missed_by=who, defects=tuple(ranked[who]), shown=tuple(ranked[who][: room[who]])) for who in order]


def _weight(truth: Dataset, row: int, grade: str) -> tuple[int, float, str, list[float]]:
    defects = truth.defects
    file = truth.images.file[int(defects.image[row])]
    return _SEVERITY.get(grade, 1), -float(defects.area[row]), file, defects.box[row].tolist()
