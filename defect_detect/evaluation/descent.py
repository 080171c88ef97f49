"""What happens to the figures, one event after the other, as the one threshold of all classes falls.

A figure at a threshold is the number of its events that score at least that. So it can be read at any
threshold, for all units together or for each resample of them, without counting anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.missed import Scored
from defect_detect.tables import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """E events of one kind, by descending score.

    score  (E,) float64, the highest threshold at which it has happened
    unit   (E,) int64, where
    """

    score: Floats
    unit: Ints

    def __len__(self) -> int:
        return len(self.score)

    def down_to(self, threshold: Floats) -> Ints:
        """How many score at least each threshold."""
        return np.searchsorted(-self.score, -threshold, side="right")

    def over(self, threshold: Floats) -> Ints:
        """How many score more than each threshold."""
        return np.searchsorted(-self.score, -threshold, side="left")

    def first(self, most: int) -> Events:
        """The `most` of the highest scores."""
        return Events(score=self.score[:most], unit=self.unit[:most])


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """The events of one detector on one split; the fields belong to the columns of `missed.tally`.

    found      a defect is found, class-aware
    found_any  a defect is found, labels ignored
    alarmed    a defective unit has its first alarm
    touched    a defective unit has its first alarm that shares area with a defect
    rejected   a defect-free unit has its first alarm
    false      a false alarm
    false_on_free  a false alarm on a picture without annotations
    """

    found: Events
    found_any: Events
    alarmed: Events
    touched: Events
    rejected: Events
    false: Events
    false_on_free: Events


def descent(table: Scored) -> Descent:
    """The events of an evaluation."""
    alarms, groups = table.alarms, table.units
    free = alarms.false & table.free_image[alarms.image]

    def firsts(which: Bools, of_units: Bools) -> Events:
        score, unit = alarms.score[which], alarms.unit[which]
        # Alarms go by descending score, so a unit's first one is its highest.
        _, first = np.unique(unit, return_index=True)
        first = np.sort(first[of_units[unit[first]]])
        return Events(score=score[first], unit=unit[first])

    return Descent(
        found=_descending(table.found_at, table.unit),
        found_any=_descending(table.evaluation.any_class.found_at[table.defects], table.unit),
        alarmed=firsts(np.ones(len(alarms.score), np.bool_), groups.defective),
        touched=firsts(alarms.touches, groups.defective),
        rejected=firsts(np.ones(len(alarms.score), np.bool_), groups.defect_free),
        false=Events(score=alarms.score[alarms.false], unit=alarms.unit[alarms.false]),
        false_on_free=Events(score=alarms.score[free], unit=alarms.unit[free]),
    )


def _descending(score: Floats, unit: Ints) -> Events:
    happens = np.flatnonzero(np.isfinite(score))
    order = happens[np.argsort(-score[happens], kind="stable")]
    return Events(score=score[order], unit=unit[order])
