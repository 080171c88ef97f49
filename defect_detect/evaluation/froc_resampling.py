"""FROC over resampled units: recall at given FPPI, and the area under its beginning."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.descent import descent
from defect_detect.evaluation.froc import POINTS
from defect_detect.evaluation.missed import Scored
from defect_detect.evaluation.operating import most_within
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.running import BLOCK, Running, counted
from defect_detect.tables import Column, Floats, Ints

_ROWS = 512


def froc_score(table: Scored, weights: Column) -> Floats:
    """(B,) mean recall at 1/8 ... 8 FPPI for each row of unit weights (B, U); NaN where no defect was drawn."""
    result: Floats = recalls(table, np.array(POINTS), weights).mean(axis=1)
    return result


def recalls(table: Scored, fppi: Floats, weights: Column) -> Floats:
    """(B, X) recall at each FPPI (X,) for each row of unit weights (B, U); NaN where no defect was drawn.

    The recall of the lowest threshold whose FPPI is at most that, as `froc.recall_at` reads it.
    """
    events = descent(table)
    over = np.append(events.found.over(events.false.score), len(events.found))

    def at(part: Column, _: slice) -> Column:
        images, defects = _drawn(table, part)
        most = np.stack([most_within(float(point), images) for point in fppi])
        false = Running(events.false.unit, part).within(most)
        return Running(events.found.unit, part).of_first(over[false]) / defects

    result: Floats = in_parts(at, weights).T
    return result


def partial_area(table: Scored, budget: float, weights: Column) -> Floats:
    """(B,) mean recall over FPPI from 0 to `budget` for each row of unit weights; NaN where no defect was drawn."""
    events = descent(table)
    over = np.append(events.found.over(events.false.score), len(events.found))

    def area(part: Column, _: slice) -> Column:
        images, defects = _drawn(table, part)
        false, found = Running(events.false.unit, part), Running(events.found.unit, part)
        within = false.within(most_within(budget, images))
        # Between two false alarms the curve is flat: the recall of all that score over the later one.
        flat = (budget * images - false.of_first(within)) * found.of_first(over[within])
        return (flat + _steps(events.false.unit, over, events.found.unit, within, part)) / images / defects / budget

    result: Floats = in_parts(area, weights)
    return result


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


def _drawn(table: Scored, weights: Column) -> tuple[Ints, Floats]:
    """(R,) pictures, at least 1, and defects, NaN where there is none."""
    images = np.maximum(table.units.images @ weights.astype(np.int64), 1)
    defects = (table.units.defects @ weights.astype(np.int64)).astype(float)
    defects[defects == 0] = np.nan
    return images, defects
