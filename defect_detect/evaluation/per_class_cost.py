"""The thresholds by class of least expected cost: of units, so of what any class alarms for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from defect_detect.evaluation.missed import Scored
from defect_detect.evaluation.operating import Policy
from defect_detect.tables import Bools, Column, Floats, Ints


def first_alarms(table: Scored, which: Bools | None = None) -> Floats:
    """(U, K) the highest score of an alarm of each class in each unit, of those that `which` (A,) picks; -inf: none."""
    alarms = table.alarms
    highest = np.full((len(table.units), len(table.evaluation.truth.categories)), -np.inf)
    chosen = slice(None) if which is None else which
    np.maximum.at(highest, (alarms.unit[chosen], alarms.label[chosen]), alarms.score[chosen])
    return highest


def alarmed(highest: Floats, threshold: Floats) -> Bools:
    """(R, U) bool: units in which some class alarms at the thresholds (R, K); `highest` (U, K) is `first_alarms`'."""
    result = np.zeros((len(threshold), len(highest)), np.bool_)
    for label in range(highest.shape[1]):
        result |= highest[:, label] >= threshold[:, label, None]
    return result


def least_cost(policy: Policy, table: Scored, order: Sequence[int]) -> Callable[[Column, Floats], Floats]:
    """A function of weights (R, U) and one threshold for all (R, K) that gives thresholds (R, K), found class by class.

    Starting with that one threshold, the classes in turn take the lowest score of least cost, given the others', until
    none moves. So the cost is never over that of one threshold for all.
    """
    highest = first_alarms(table)
    ladders = [_ladder(highest[:, label]) for label in range(highest.shape[1])]

    def choice(weights: Column, one: Floats) -> Floats:
        defective, free = weights * table.units.defective, weights * table.units.defect_free
        escape = policy.prevalence * policy.escape / np.maximum(defective.sum(axis=1), 1)
        overkill = (1 - policy.prevalence) * policy.overkill / np.maximum(free.sum(axis=1), 1)
        price = overkill[:, None] * free - escape[:, None] * defective
        """What it costs in each resample that a unit is alarmed."""
        threshold = one.copy()
        moved = True
        while moved:
            moved = False
            for label in order:
                others = np.delete(threshold, label, axis=1), np.delete(highest, label, axis=1)
                best = _best(ladders[label], price * ~alarmed(others[1], others[0]), threshold[:, label])
                moved |= bool((best != threshold[:, label]).any())
                threshold[:, label] = best
        return threshold

    return choice


def _ladder(score: Floats) -> tuple[Ints, Ints, Floats]:
    """The units that alarm, by descending score, where each score ends among them, and the scores, inf first."""
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, len(order) > 0))
    return order, ends, np.append(np.inf, score[order][ends])


def _best(ladder: tuple[Ints, Ints, Floats], price: Floats, now: Floats) -> Floats:
    """(R,) the lowest score of least price when the units of at least that score are alarmed; `now` if none is less."""
    order, ends, scores = ladder
    running = np.zeros((len(price), len(ends) + 1))
    running[:, 1:] = np.cumsum(price[:, order], axis=1)[:, ends]
    best = running.shape[1] - 1 - running[:, ::-1].argmin(axis=1)
    rows = np.arange(len(price))
    held = np.searchsorted(-scores, -now, side="right") - 1
    # Sums of prices are rounded; what is no better than that is no better.
    better = running[rows, best] < running[rows, held] - 1e-12 * np.abs(price).sum(axis=1)
    return np.where(better, scores[best], now)
