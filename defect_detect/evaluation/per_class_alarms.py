"""What each class finds and alarms for in descending order of score, as it is and in resamples of the units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.missed import Scored
from defect_detect.tables import Bools, Column, Floats, Ints

_FIRST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The alarms (A,) of a class by descending score, as they are in every resample.

    score   (C,) float64, of the candidates
    ends    (C,) int64, how many alarms each candidate lets count
    unit    (A,) int64
    false   (A,) bool
    reject  (A,) bool, the class's first alarm in a defect-free unit
    own     (D,) int64, the units of its defects that count
    cut     whether it has lower candidates than these
    """

    score: Floats
    ends: Ints
    unit: Ints
    false: Bools
    reject: Bools
    own: Ints
    cut: bool

    def counted(self, weights: Column) -> Counted:
        """What the candidates do in the resamples (R, U)."""
        drawn = weights[:, self.unit]

        def running(events: Bools) -> Ints:
            sums = np.zeros((len(weights), len(self.unit) + 1), np.int64)
            np.cumsum(drawn * events, axis=1, out=sums[:, 1:])
            return sums if len(self.ends) == sums.shape[1] else sums[:, self.ends]

        return Counted(
            score=self.score, hits=running(~self.false), false=running(self.false), rejected=running(self.reject),
            defects=weights[:, self.own].sum(axis=1), cut=self.cut,
        )  # fmt: skip


def listed(table: Scored, most: int | None = None) -> list[Listed]:
    """By name, so that nothing hangs on the order of a file's categories; each up to its first `most` false alarms."""
    return [_of_label(table, label, most) for label in by_name(table)]


def by_name(table: Scored) -> list[int]:
    """The labels by the names of their categories."""
    names = [category.name for category in table.evaluation.truth.categories]
    return sorted(range(len(names)), key=names.__getitem__)


def _of_label(table: Scored, label: int, most: int | None) -> Listed:
    alarms = table.alarms
    own = np.flatnonzero(alarms.label == label)
    of_false = own[alarms.false[own]]
    cut = most is not None and most < len(of_false)
    if cut:
        own = own[alarms.score[own] > alarms.score[of_false[most]]]
    score, unit = alarms.score[own], alarms.unit[own]
    # A threshold lets all alarms of one score count.
    ends = np.append(0, np.flatnonzero(np.append(np.diff(score) != 0, len(score) > 0)) + 1)
    return Listed(
        score=np.append(np.inf, score[ends[1:] - 1]),
        ends=ends,
        unit=unit,
        false=alarms.false[own],
        reject=first_of_each(unit) & table.units.defect_free[unit],
        own=table.unit[table.label == label],
        cut=cut,
    )


def counted(listed: Sequence[Listed], weights: Column) -> list[Counted]:
    """What the candidates of each class do in the resamples (R, U)."""
    return [one.counted(weights) for one in listed]


def first_of_each(unit: Ints) -> Bools:
    """(A,) bool: the first alarm of its unit."""
    first = np.zeros(len(unit), np.bool_)
    first[np.unique(unit, return_index=True)[1]] = True
    return first


def rest_spent(
    table: Scored, weights: Column, threshold: Floats, spent: Callable[[slice], Bools], rest: Ints
) -> Floats:  # fmt: skip
    """The thresholds (R, K), lowered to one score common to all classes wherever they are over it.

    It is the lowest score that spends no more than `rest`, each of the alarms that `spent` (R, A) of a part of them
    names costing one.
    """
    alarms, size = table.alarms, len(table.alarms.score)

    def running(some: slice) -> Ints:
        result: Ints = np.cumsum(weights[:, alarms.unit[some]] * spent(some), axis=1)
        return result

    # Not far below the lowest threshold all is mostly spent.
    least = threshold.min(initial=np.inf, where=np.isfinite(threshold))
    below = int(np.searchsorted(-alarms.score, -least, side="right")) if np.isfinite(least) else 0
    many = min(below + _FIRST + 4 * int(rest.max(initial=0)), size)
    sums = running(slice(0, many))
    if many < size and not (sums[:, -1] > rest).all():
        many, sums = size, running(slice(0, size))
    ends = np.flatnonzero(np.append(np.diff(alarms.score) != 0, size > 0))
    ends = ends[ends < many]
    fits = (sums[:, ends] <= rest[:, None]).sum(axis=1)
    common: Floats = np.append(np.inf, alarms.score[ends])[fits]
    return np.minimum(threshold, common[:, None])
