"""What a detector does at many thresholds: what a report's slider shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.comparison import Sweep
from defect_detect.evaluation.descent import Descent, Events, descent
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.froc_figures import GRID
from defect_detect.evaluation.operating import most_within
from defect_detect.tables import Floats, Ints

MOST = 200
BUDGETS = np.union1d(GRID, [0.01, 0.02, 0.05, 0.1, 0.125, 0.2, 0.25, 0.5, 1, 2, 4, 5, 8])


def sweep(entrant: Entrant) -> Sweep:
    """The counts at up to 200 descending thresholds, the same for all seeds, summed over them.

    They are scores that occur on validation (on test where there is none), as those are that a policy chooses among:
    so the lowest one within a budget on validation is the policy's. All at which a count changes, if these
    are few enough; else those in use, those of budgets from 0.01 to 8 FPPI, and the rest evenly over the found
    defects and over the logarithm of the false alarms.
    """
    test = [descent(table) for table in entrant.test]
    validation = [descent(table) for table in entrant.validation]
    groups, seeds = entrant.test[0].units, entrant.seeds
    threshold = _thresholds(entrant, validation or test)

    def count(events: Sequence[Events]) -> Ints:
        total: Ints = np.sum([one.down_to(threshold) for one in events], axis=0)
        return total

    images = int(groups.images.sum()) * seeds
    defects, defective = int(groups.defects.sum()) * seeds, int(groups.defective.sum()) * seeds
    on_validation = None
    if validation:
        of = int(entrant.validation[0].units.images.sum()) * seeds
        on_validation = (count([one.false for one in validation]) / of).tolist()
    return Sweep(
        threshold=threshold.tolist(),
        validation_fppi=on_validation,
        missed=(defects - count([one.found for one in test])).tolist(),
        defects=defects,
        false_alarms=count([one.false for one in test]).tolist(),
        images=images,
        escaped=(defective - count([one.alarmed for one in test])).tolist(),
        defective=defective,
        overkilled=count([one.rejected for one in test]).tolist(),
        defect_free=int(groups.defect_free.sum()) * seeds,
    )


def _thresholds(entrant: Entrant, on: Sequence[Descent]) -> Floats:
    """(T,) descending, at most 200 (but all that are in use)."""
    found, false = _scores([one.found for one in on]), _scores([one.false for one in on])
    firsts = _scores([*(one.alarmed for one in on), *(one.rejected for one in on)])
    in_use = np.concatenate([vector[np.isfinite(vector)] for vector in entrant.by_label])
    changes = _unique([found, false, firsts, in_use])
    if len(changes) <= MOST:
        return changes
    tables = entrant.validation or entrant.test
    candidates = _unique([table.evaluation.predictions.score for table in tables])
    images = sum(int(table.units.images.sum()) for table in tables)
    needed = _unique([in_use, _of_budgets(false, candidates, images)])
    left = max(MOST - len(needed), 0)
    evenly = found[_evenly(len(found), left - left // 2)]
    logs = false[np.unique(np.geomspace(1, len(false), left // 2).astype(np.int64)) - 1] if len(false) else false
    return _unique([needed, evenly, logs])


def _of_budgets(false: Floats, candidates: Floats, images: int) -> Floats:
    """The lowest candidate that keeps each budget, where one does; `false`: scores of the false alarms."""
    most = np.array([int(most_within(float(budget), np.array([images]))[0]) for budget in BUDGETS])
    # The first false alarm too many, and the candidates over it; all of them where there are never too many.
    over = np.append(np.searchsorted(-candidates, -false, side="left"), len(candidates))
    keeping = over[np.minimum(most, len(false))]
    lowest: Floats = candidates[keeping[keeping > 0] - 1]
    return lowest


def _scores(events: Sequence[Events]) -> Floats:
    """Descending, as often as they occur."""
    return np.sort(np.concatenate([one.score for one in events]))[::-1]


def _unique(scores: Sequence[Floats]) -> Floats:
    return np.unique(np.concatenate(scores))[::-1]


def _evenly(length: int, most: int) -> Ints:
    return np.unique(np.linspace(0, length - 1, most).astype(np.int64)) if length else np.zeros(0, np.int64)
