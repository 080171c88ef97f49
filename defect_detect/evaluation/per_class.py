"""Operating points with a threshold for each class, the classes sharing one total budget.

Definitions: docs/metrics.md, 'Thresholds by class'. The choice is written once, over unit weights, so it is made in the
same way for the data as they are and for each bootstrap resample of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.errors import Unreachable
from defect_detect.evaluation import operating
from defect_detect.evaluation.missed import Scored
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.per_class_cost import alarmed, first_alarms, least_cost
from defect_detect.evaluation.shared_budget import Options, spend
from defect_detect.tables import Bools, Column, Floats, Ints

_CELLS = 4_000_000
_COINS = 500
"""A larger budget is dealt out in so many coins, prices rounded up to whole ones; the rest is spent by score."""


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
    parts = [weights[start : start + step].astype(np.int64) for start in range(0, len(weights), step)]
    if not len(table.alarms.score):
        return np.full((len(weights), labels), np.inf)
    return np.concatenate([_CHOICES[policy.kind](policy, table, part) for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Class:
    """What the descending candidates (C,) of a class do in R resamples; the first is inf, which does nothing.

    hits, false  (R, C) int64, defects found and false alarms raised
    rejected     (R, C) int64, defect-free units in which the class alarms
    defects      (R,) int64, its defects that count
    cut          whether it has lower candidates than these
    """

    score: Floats
    hits: Ints
    false: Ints
    rejected: Ints
    defects: Ints
    cut: bool


def _classes(table: Scored, weights: Column, most: int | None = None) -> list[_Class]:
    """By name, so that nothing hangs on the order of a file's categories; each up to its first `most` false alarms."""
    return [_class(table, weights, label, most) for label in _by_name(table)]


def _by_name(table: Scored) -> list[int]:
    names = [category.name for category in table.evaluation.truth.categories]
    return sorted(range(len(names)), key=names.__getitem__)


def _class(table: Scored, weights: Column, label: int, most: int | None) -> _Class:
    alarms = table.alarms
    own = np.flatnonzero(alarms.label == label)
    of_false = own[alarms.false[own]]
    cut = most is not None and most < len(of_false)
    if cut:
        own = own[alarms.score[own] > alarms.score[of_false[most]]]
    score, unit, false = alarms.score[own], alarms.unit[own], alarms.false[own]
    first = np.zeros(len(unit), np.bool_)
    first[np.unique(unit, return_index=True)[1]] = True
    # A threshold lets all alarms of one score count.
    ends = np.append(0, np.flatnonzero(np.append(np.diff(score) != 0, len(score) > 0)) + 1)

    def counted(events: Bools) -> Ints:
        running = np.zeros((len(weights), len(score) + 1), np.int64)
        np.cumsum(weights[:, unit] * events, axis=1, out=running[:, 1:])
        return running[:, ends]

    return _Class(
        score=np.append(np.inf, score[ends[1:] - 1]),
        hits=counted(~false),
        false=counted(false),
        rejected=counted(first & table.units.defect_free[unit]),
        defects=weights[:, table.unit[table.label == label]].sum(axis=1),
        cut=cut,
    )


def _fppi(policy: Policy, table: Scored, weights: Column) -> Floats:
    budget = operating.most_within(policy.value, _of(weights, table.units.images))
    # A budget is spent by the first false alarms: those after four times as many seldom matter.
    most = int(4 * policy.value * table.units.images.sum()) + 50
    classes = _classes(table, weights, most)
    if any((one.cut & (one.false[:, -1] <= budget)).any() for one in classes):
        classes = _classes(table, weights)
    coin = _coin(budget)
    spent = spend([_bought(one.hits, one.false, coin, budget) for one in classes], int((budget // coin).max(initial=0)))
    chosen = spent.choices(budget // coin)
    threshold, alarms = _placed(table, classes, chosen), table.alarms
    costs = alarms.false & (alarms.score < threshold[:, alarms.label])
    rest = budget - _summed([one.false for one in classes], chosen)
    return _or_one(policy, table, weights, _rest_spent(table, weights, threshold, costs, rest))


def _overkill(policy: Policy, table: Scored, weights: Column) -> Floats:
    budget = operating.most_within(policy.value, _of(weights, table.units.defect_free))
    classes = _classes(table, weights)
    coin = _coin(budget)
    money = budget // coin
    # A unit that two classes reject is paid for twice, so more may be spent than the budget says, as long as it keeps.
    most, highest = 2 * money + 1, first_alarms(table)
    spent = spend([_bought(one.hits, one.rejected, coin, budget) for one in classes], int(most.max(initial=0)))
    kept = _placed(table, classes, spent.choices(money))
    going = np.ones(len(weights), np.bool_)
    while going.any():
        money = money + going
        tried = _placed(table, classes, spent.choices(np.minimum(money, most)))
        rows = np.flatnonzero(going & (money <= most))
        going = np.zeros(len(weights), np.bool_)
        going[rows] = _rejected(table, weights[rows], tried[rows], highest) <= budget[rows]
        kept = np.where(going[:, None], tried, kept)
    kept = _or_one(policy, table, weights, kept)
    # A unit that isn't rejected yet is by its first alarm.
    alarms, first = table.alarms, np.zeros(len(table.alarms.unit), np.bool_)
    first[np.unique(alarms.unit, return_index=True)[1]] = True
    costs = first & table.units.defect_free[alarms.unit] & ~alarmed(highest, kept)[:, alarms.unit]
    return _rest_spent(table, weights, kept, costs, budget - _rejected(table, weights, kept, highest))


def _recall(policy: Policy, table: Scored, weights: Column) -> Floats:
    defects = _of(weights, table.units.defects)
    allowed = defects - operating.least_reaching(policy.value, defects)
    classes = _classes(table, weights)
    coin = _coin(allowed)
    options = []
    for one in classes:
        # By rising misses, so from the lowest score up; the fewest false alarms, then the highest thresholds.
        missed = one.defects[:, None] - one.hits[:, ::-1]
        options.append(Options(
            price=-(-missed // coin[:, None]), value=missed - one.false[:, ::-1] * (allowed.max(initial=0) + 1)
        ))  # fmt: skip
    money = np.where(allowed < 0, -1, allowed // coin)
    chosen = spend(options, int(money.max(initial=0))).choices(money)
    last = np.array([len(one.score) - 1 for one in classes])
    return _or_one(policy, table, weights, _placed(table, classes, np.where(chosen < 0, -1, last - chosen)))


def _or_one(policy: Policy, table: Scored, weights: Column, threshold: Floats) -> Floats:
    """The thresholds (R, K), or one for all where that is better: coins and double payment may lose what it keeps."""
    one = np.repeat(operating.choose(policy, table, weights)[:, None], threshold.shape[1], axis=1)
    if policy.kind == "recall":
        unmet = ~np.isfinite(threshold).any(axis=1)
        better = unmet | (_false(table, weights, one) < _false(table, weights, threshold))
        return np.where((better & np.isfinite(one[:, 0]))[:, None], one, threshold)
    return np.where((_found(table, weights, one) > _found(table, weights, threshold))[:, None], one, threshold)


def _coin(budget: Ints) -> Ints:
    """(R,) how many counts one coin is worth."""
    return np.maximum(-(-budget // _COINS), 1)


def _bought(hits: Ints, price: Ints, coin: Ints, budget: Ints) -> Options:
    """The most hits, then the least spent."""
    return Options(price=-(-price // coin[:, None]), value=hits * (2 * int(budget.max(initial=0)) + 2) - price)


def _f1(_: Policy, table: Scored, weights: Column) -> Floats:
    """Dinkelbach's iteration (1967), in whole numbers.

    F1 = p / q is the best when nothing makes q 2 hits exceed p (hits + false alarms + defects).
    """
    classes = _classes(table, weights)
    defects = _of(weights, table.units.defects)
    p, q = np.zeros(len(weights), np.int64), np.ones(len(weights), np.int64)
    while True:
        gains = [q[:, None] * 2 * one.hits - p[:, None] * (one.hits + one.false) for one in classes]
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


def _cost(policy: Policy, table: Scored, weights: Column) -> Floats:
    return least_cost(policy, table, weights, _by_name(table))


_CHOICES = {"fppi": _fppi, "overkill": _overkill, "recall": _recall, "f1": _f1, "cost": _cost}


def _of(weights: Column, per_unit: Column) -> Ints:
    """(R,) how many were drawn, at least 1: where none was, none can be counted either."""
    return np.asarray(np.maximum(weights @ per_unit.astype(np.int64), 1))


def _summed(counts: Sequence[Ints], chosen: Ints) -> Ints:
    """(R,) the sum over classes of the counts (R, C) at the chosen candidates (R, K)."""
    taken = [np.take_along_axis(one, chosen[:, k, None], axis=1)[:, 0] for k, one in enumerate(counts)]
    return np.asarray(np.sum(taken, axis=0))


def _placed(table: Scored, classes: Sequence[_Class], chosen: Ints) -> Floats:
    """(R, K) by label the scores of the chosen candidates (R, K) by name; inf where none is chosen."""
    result = np.full(chosen.shape, np.inf)
    for k, (label, one) in enumerate(zip(_by_name(table), classes, strict=True)):
        result[:, label] = np.where(chosen[:, k] < 0, np.inf, one.score[chosen[:, k]])
    return result


def _rejected(table: Scored, weights: Column, threshold: Floats, highest: Floats) -> Ints:
    """(R,) the defect-free units with an alarm of any class at the thresholds (R, K)."""
    return np.asarray((weights * (alarmed(highest, threshold) & table.units.defect_free)).sum(axis=1))


def _found(table: Scored, weights: Column, threshold: Floats) -> Ints:
    """(R,) the defects found at the thresholds (R, K)."""
    hit = table.found_at >= threshold[:, table.label]
    return np.asarray((weights[:, table.unit] * (hit & np.isfinite(table.found_at))).sum(axis=1))


def _false(table: Scored, weights: Column, threshold: Floats) -> Ints:
    """(R,) the false alarms at the thresholds (R, K)."""
    alarms = table.alarms
    raised = alarms.false & (alarms.score >= threshold[:, alarms.label])
    return np.asarray((weights[:, alarms.unit] * raised).sum(axis=1))


def _rest_spent(table: Scored, weights: Column, threshold: Floats, spent: Bools, rest: Ints) -> Floats:
    """The thresholds (R, K), lowered to one score common to all classes wherever they are over it.

    It is the lowest score that spends no more than `rest`, each of the alarms `spent` (R, A) costing one.
    """
    alarms = table.alarms
    ends = np.flatnonzero(np.append(np.diff(alarms.score) != 0, len(alarms.score) > 0))
    running = np.cumsum(weights[:, alarms.unit] * spent, axis=1)[:, ends]
    fits = (running <= rest[:, None]).sum(axis=1)
    common: Floats = np.append(np.inf, alarms.score[ends])[fits]
    return np.minimum(threshold, common[:, None])
