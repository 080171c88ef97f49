"""Operating points with a threshold for each class, the classes sharing one total budget.

Definitions: docs/metrics.md, 'Thresholds by class'. The choice is written once, over unit weights, so it is made in the
same way for the data as they are and for each bootstrap resample of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from defect_detect.errors import Unreachable
from defect_detect.evaluation import operating
from defect_detect.evaluation.missed import Scored
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.per_class_alarms import Counted, by_name, counted, first_of_each, listed, rest_spent
from defect_detect.evaluation.per_class_cost import alarmed, first_alarms, least_cost
from defect_detect.evaluation.shared_budget import Options, spend
from defect_detect.tables import Bools, Column, Floats, Ints

_CELLS = 4_000_000
_COINS = 500
"""A larger budget is dealt out in so many coins, prices rounded up to whole ones; the rest is spent by score."""


_Choice = Callable[[Column, Floats], Floats]
"""Unit weights (R, U) int64, the best one threshold for all classes (R, K) -> thresholds (R, K)."""


def thresholds_of(policy: Policy, table: Scored) -> Floats:
    """(K,) the thresholds by label; inf for a class that is better left silent.

    Raises:
        Unreachable: no thresholds meet the policy.
        NotMeasurable: too few units to tell.
    """
    operating.check_measurable(policy, table)
    where = f"{policy.text} on {table.evaluation.truth.split}"
    if len(table.evaluation.predictions) == 0:
        raise Unreachable(f"{where}: the detector made no prediction at all")
    chosen: Floats = choose(policy, table, np.ones((1, len(table.units)), np.int64))[0]
    if not np.isfinite(chosen).any():
        raise Unreachable(f"{where}: {operating.why(policy, table)}, in every class")
    return chosen


def choose_near(policy: Policy, table: Scored, weights: Column) -> Floats:
    """`choose`; where the aim can't be met, every class's lowest score, which comes as close to it as there is."""
    chosen = choose(policy, table, weights)
    if policy.kind not in ("recall", "f1"):
        return chosen
    lowest = table.evaluation.predictions.score.min(initial=np.inf)
    return np.where(np.isfinite(chosen).any(axis=1, keepdims=True), chosen, lowest)


def choose(policy: Policy, table: Scored, weights: Column) -> Floats:
    """(B, K) the policy's thresholds for each row of unit weights (B, U) int; inf throughout where none meet it."""
    labels = len(table.evaluation.truth.categories)
    widest = max(len(table.alarms.score), weights.shape[1], 1)
    step = max(_CELLS // widest, 1)
    if not len(table.alarms.score):
        return np.full((len(weights), labels), np.inf)
    # What is the same in all resamples is laid out once.
    choice = _CHOICES[policy.kind](policy, table)
    one = operating.choose(policy, table, weights) if policy.kind != "f1" else np.full(len(weights), np.inf)
    common = np.repeat(one[:, None], labels, axis=1)
    parts = [slice(start, start + step) for start in range(0, len(weights), step)]
    return np.concatenate([choice(weights[part].astype(np.int64), common[part]) for part in parts])


def _fppi(policy: Policy, table: Scored) -> _Choice:
    # A budget is spent by the first false alarms: those after four times as many seldom matter.
    most = int(4 * policy.value * table.units.images.sum()) + 50
    short = listed(table, most)

    def choice(weights: Column, one: Floats) -> Floats:
        budget = operating.most_within(policy.value, _of(weights, table.units.images))
        classes = counted(short, weights)
        if any((one.cut & (one.false[:, -1] <= budget)).any() for one in classes):
            classes = counted(listed(table), weights)
        coin = _coin(budget)
        options = [_bought(one.hits, one.false, coin, budget) for one in classes]
        spent = spend(options, int((budget // coin).max(initial=0)))
        chosen = spent.choices(budget // coin)
        threshold, alarms = _placed(table, classes, chosen), table.alarms
        rest = budget - _summed([one.false for one in classes], chosen)

        def costs(some: slice) -> Bools:
            return alarms.false[some] & (alarms.score[some] < threshold[:, alarms.label[some]])

        return _or_one(table, weights, one, rest_spent(table, weights, threshold, costs, rest))

    return choice


def _overkill(policy: Policy, table: Scored) -> _Choice:
    every, highest, alarms = listed(table), first_alarms(table), table.alarms
    # A unit that isn't rejected yet is by its first alarm.
    first = first_of_each(alarms.unit) & table.units.defect_free[alarms.unit]

    def choice(weights: Column, one: Floats) -> Floats:
        budget = operating.most_within(policy.value, _of(weights, table.units.defect_free))
        classes = counted(every, weights)
        coin = _coin(budget)
        money = budget // coin
        # A unit that two classes reject is paid for twice: more may be spent than the budget says, as long as it keeps.
        most = 2 * money + 1
        spent = spend([_bought(one.hits, one.rejected, coin, budget) for one in classes], int(most.max(initial=0)))
        kept = _placed(table, classes, spent.choices(money))
        going = np.ones(len(weights), np.bool_)
        while going.any():
            money = money + going
            rows = np.flatnonzero(going & (money <= most))
            tried = _placed(table, classes, spent.choices(np.minimum(money, most)))
            going = np.zeros(len(weights), np.bool_)
            going[rows] = _rejected(table, weights[rows], tried[rows], highest) <= budget[rows]
            kept = np.where(going[:, None], tried, kept)
        kept = _or_one(table, weights, one, kept)
        quiet = ~alarmed(highest, kept)

        def costs(some: slice) -> Bools:
            return first[some] & quiet[:, alarms.unit[some]]

        return rest_spent(table, weights, kept, costs, budget - _rejected(table, weights, kept, highest))

    return choice


def _recall(policy: Policy, table: Scored) -> _Choice:
    every = listed(table)

    def choice(weights: Column, one: Floats) -> Floats:
        defects = _of(weights, table.units.defects)
        allowed = defects - operating.least_reaching(policy.value, defects)
        classes = counted(every, weights)
        coin = _coin(allowed)
        options = []
        for each in classes:
            # By rising misses, so from the lowest score up; the fewest false alarms, then the highest thresholds.
            missed = each.defects[:, None] - each.hits[:, ::-1]
            options.append(Options(
                price=-(-missed // coin[:, None]), value=missed - each.false[:, ::-1] * (allowed.max(initial=0) + 1)
            ))  # fmt: skip
        money = np.where(allowed < 0, -1, allowed // coin)
        chosen = spend(options, int(money.max(initial=0))).choices(money)
        last = np.array([len(one.score) - 1 for one in classes])
        threshold = _placed(table, classes, np.where(chosen < 0, -1, last - chosen))
        unmet = ~np.isfinite(threshold).any(axis=1)
        better = unmet | (_false(table, classes, one) < _false(table, classes, threshold))
        return np.where((better & np.isfinite(one[:, 0]))[:, None], one, threshold)

    return choice


def _or_one(table: Scored, weights: Column, one: Floats, threshold: Floats) -> Floats:
    """The thresholds (R, K), or one for all where that is better: coins and double payment may lose what it keeps."""
    return np.where((_found(table, weights, one) > _found(table, weights, threshold))[:, None], one, threshold)


def _coin(budget: Ints) -> Ints:
    """(R,) how many counts one coin is worth."""
    return np.maximum(-(-budget // _COINS), 1)


def _bought(hits: Ints, price: Ints, coin: Ints, budget: Ints) -> Options:
    """The most hits, then the least spent."""
    return Options(price=-(-price // coin[:, None]), value=hits * (2 * int(budget.max(initial=0)) + 2) - price)


def _f1(_: Policy, table: Scored) -> _Choice:
    """Dinkelbach's iteration (1967), in whole numbers.

    F1 = p / q is the best when nothing makes q 2 hits exceed p (hits + false alarms + defects).
    """
    every = listed(table)

    def choice(weights: Column, _: Floats) -> Floats:
        classes = counted(every, weights)
        defects = _of(weights, table.units.defects)
        p, q = np.zeros(len(weights), np.int64), np.ones(len(weights), np.int64)
        while True:
            gains = [(2 * q - p)[:, None] * one.hits - p[:, None] * one.false for one in classes]
            # The lowest score among equally good ones: it misses the fewest.
            chosen = np.stack([gain.shape[1] - 1 - gain[:, ::-1].argmax(axis=1) for gain in gains], axis=1)
            hits = _summed([one.hits for one in classes], chosen)
            all_of = hits + _summed([one.false for one in classes], chosen) + defects
            better = 2 * hits * q > p * all_of
            if not better.any():
                break
            p, q = np.where(better, 2 * hits, p), np.where(better, all_of, q)
        chosen[p == 0] = -1
        return _placed(table, classes, chosen)

    return choice


def _cost(policy: Policy, table: Scored) -> _Choice:
    return least_cost(policy, table, by_name(table))


_CHOICES = {"fppi": _fppi, "overkill": _overkill, "recall": _recall, "f1": _f1, "cost": _cost}


def _of(weights: Column, per_unit: Column) -> Ints:
    """(R,) how many were drawn, at least 1: where none was, none can be counted either."""
    return np.asarray(np.maximum(weights @ per_unit.astype(np.int64), 1))


def _summed(counts: Sequence[Ints], chosen: Ints) -> Ints:
    """(R,) the sum over classes of the counts (R, C) at the chosen candidates (R, K)."""
    taken = [np.take_along_axis(one, chosen[:, k, None], axis=1)[:, 0] for k, one in enumerate(counts)]
    return np.asarray(np.sum(taken, axis=0))


def _placed(table: Scored, classes: Sequence[Counted], chosen: Ints) -> Floats:
    """(R, K) by label the scores of the chosen candidates (R, K) by name; inf where none is chosen."""
    result = np.full(chosen.shape, np.inf)
    for k, (label, one) in enumerate(zip(by_name(table), classes, strict=True)):
        result[:, label] = np.where(chosen[:, k] < 0, np.inf, one.score[chosen[:, k]])
    return result


def _rejected(table: Scored, weights: Column, threshold: Floats, highest: Floats) -> Ints:
    """(R,) the defect-free units with an alarm of any class at the thresholds (R, K)."""
    return np.asarray((weights * (alarmed(highest, threshold) & table.units.defect_free)).sum(axis=1))


def _found(table: Scored, weights: Column, threshold: Floats) -> Ints:
    """(R,) the defects found at the thresholds (R, K)."""
    hit = table.found_at >= threshold[:, table.label]
    return np.asarray((weights[:, table.unit] * (hit & np.isfinite(table.found_at))).sum(axis=1))


def _false(table: Scored, classes: Sequence[Counted], threshold: Floats) -> Ints:
    """(R,) the false alarms at the thresholds (R, K), by label."""
    place = [
        np.searchsorted(-one.score, -threshold[:, label], side="right") - 1
        for label, one in zip(by_name(table), classes, strict=True)
    ]
    return _summed([one.false for one in classes], np.stack(place, axis=1))
