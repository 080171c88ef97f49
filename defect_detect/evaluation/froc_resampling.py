"""FROC over resampled units: recall at given FPPI, and the area under its beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.descent import descent
from defect_detect.evaluation.missed import Scored
from defect_detect.evaluation.operating import most_within
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.resampling import summing
from defect_detect.evaluation.running import BLOCK, Running, counted
from defect_detect.tables import Column, Floats, Ints

_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCurve:
    """The curve of B resamples; NaN where no defect was drawn.

    recall  (B, X), of the lowest threshold whose FPPI is at most each of X, as `froc.recall_at` reads it
    area    (B,), mean recall over FPPI from 0 to the budget
    """

    recall: Floats
    area: Floats


def drawn_curve(table: Scored, fppi: Floats, budget: float, weights: Column) -> DrawnCurve:
    """The recall at each FPPI (X,) and the area up to the budget, for each row of unit weights (B, U)."""
    events, units = descent(table), table.units
    over = np.append(events.found.over(events.false.score), len(events.found))
    sums = summing(weights, np.stack([units.images, units.defects], axis=1))

    def read(part: Column, _: slice) -> Column:
        images, defects = sums(part)
        images, defects = np.maximum(images, 1), np.where(defects > 0, defects, np.nan)
        false, found = Running(events.false.unit, part), Running(events.found.unit, part)
        within = false.within(np.stack([most_within(point, images) for point in (*fppi.tolist(), budget)]))
        recall = found.of_first(over[within]) / defects
        last, at = within[-1], recall[-1]
        # Between two false alarms the curve is flat: the recall of all that score over the later one.
        steps = _steps(events.false.unit, over, events.found.unit, last, part) / defects
        area = (steps + (budget * images - false.of_first(last)) * at) / images / budget
        return np.concatenate([recall[:-1], area[None]])

    result = in_parts(read, weights)
    return DrawnCurve(recall=result[:-1].T, area=result[-1])


def _steps(false: Ints, over: Ints, found: Ints, within: Ints, weights: Column) -> Ints:
    """(R,) the sum of the found defects over the first `within` (R,) false alarms; `over` of them come before each."""
    total = np.zeros(weights.shape[1], np.int64)
    start, before = 0, np.zeros(weights.shape[1], np.int64)
    for first in range(0, int(within.max(initial=0)), _ROWS):
        rows = np.arange(first, min(first + _ROWS, int(within.max())))
        ends = np.union1d(np.arange(start, over[rows[-1]], BLOCK), over[rows])
        ends = np.union1d(ends, [start])
        running = before + counted(found[start : ends[-1]], ends - start, weights)
        often = np.where(rows[:, None] < within, weights[false[rows]], 0).astype(np.int64)
        total += (often * running[np.searchsorted(ends, over[rows])]).sum(axis=0)
        start, before = int(ends[-1]), running[-1]
    return total
