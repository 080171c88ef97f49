"""The one-sided lower 95 % bound of a POD curve; where it reaches 0.9 lies a90/95 (MIL-HDBK-1823A).

A bound is a function of log size, so that the curve that is drawn and a90/95 are one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.pod_model import Trials
from defect_detect.tables import Floats, Ints

CONFIDENCE = 0.95
RESAMPLES = 1000
FARTHEST = 1000.0
"""How many times a90 a bound is sought up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """lower: log sizes (A,) -> (A,) POD; reaches: log a, POD -> the size from a up where `lower` is POD, or None."""

    lower: Callable[[Floats], Floats]
    reaches: Callable[[float, float], float | None]
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """T targets.

    log_size  (T,) float64
    hits      (T,) float64, in how many of its trials each was found
    trials    trials of each target: the trained models it was shown to
    unit      (T,) int64, the sampling unit, from 0
    units     how many units there are
    """

    log_size: Floats
    hits: Floats
    trials: int
    unit: Ints
    units: int

    @property
    def clustered(self) -> bool:
        """Whether any unit holds more than one trial, so that trials aren't independent."""
        return self.trials > 1 or bool((np.bincount(self.unit) > 1).any())

    def pooled(self, groups: int | None = None) -> Trials:
        """Trials by distinct size, which say all that the sample says about one curve; or by `groups` of sizes."""
        place, size = self.grouped(len(self.log_size) if groups is None else groups)
        hits: Floats = np.bincount(place, self.hits).astype(np.float64)
        of: Floats = np.bincount(place).astype(np.float64) * self.trials
        return Trials(log_size=size, hits=hits[None], of=of[None])

    def grouped(self, most: int) -> tuple[Ints, Floats]:
        """(T,) the group of each target and (M,) the groups' mean log size: distinct sizes, or `most` equal parts."""
        distinct, place = np.unique(self.log_size, return_inverse=True)
        if len(distinct) > most:
            rank = np.argsort(np.argsort(self.log_size, kind="stable"), kind="stable")
            place = rank * most // len(self.log_size)
        centre: Floats = (np.bincount(place, self.log_size) / np.bincount(place)).astype(np.float64)
        return place, centre


def quantile() -> float:
    """The normal distribution's at the confidence."""
    from scipy import stats

    return float(stats.norm.ppf(CONFIDENCE))
