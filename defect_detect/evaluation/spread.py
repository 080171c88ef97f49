"""How far an estimate may lie from the truth: its variance, part by part, and the degrees of freedom behind it.

The parts: which units are in test, which units were in validation (through the thresholds chosen on them), and which
seeds were trained. Each was seen in a limited number of units or seeds, and the total gets the degrees of freedom
that Satterthwaite (1946) gives such a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.resampling import FEW_SEEDS
from defect_detect.tables import Floats

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A variance and the number of units or seeds, less one, that it was estimated from.

    `off`: what of the variance seen was taken off, as not its own; it made the estimate vary all the same.
    """

    variance: float
    freedom: int
    off: float = 0.0

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.variance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A sum of parts."""

    parts: tuple[Part, ...]

    @property
    def variance(self) -> float:
        """Of the estimate; NaN where it can't be told."""
        return float(sum(part.variance for part in self.parts))

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.variance))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom; infinite without variance."""
        below = sum((part.variance + part.off) ** 2 / part.freedom for part in self.parts if part.freedom > 0)
        return self.variance**2 / below if below > 0 else float("inf")

    @property
    def reach(self) -> float:
        """How many standard errors a 95 % interval goes to either side (Student)."""
        return students(self.freedom)

    def p(self, value: float) -> float:
        """Two-sided p that the estimate `value` comes from a truth of 0 (Student); 1 where nothing varies."""
        from scipy import special

        if not self.variance > 0:
            return 1.0
        return float(2 * special.stdtr(self.freedom, -abs(value) / self.error))


def students(freedom: float) -> float:
    """Student's 97.5 % point; the normal's where the degrees of freedom are infinite."""
    from scipy import special

    half = (1 + LEVEL) / 2
    return float(special.stdtrit(freedom, half) if np.isfinite(freedom) else special.ndtri(half))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The models that stand behind a rate.

    rates   (S,) the rate of each
    chance  how much variance of their mean the chance of units gives that is each model's own, thresholds staying ...
    anew    ... and with thresholds chosen anew
    """

    rates: Floats
    chance: float = 0.0
    anew: float = 0.0

    @property
    def drawn(self) -> bool:
        """Whether they are enough for resamples to draw them (`over_seeds`)."""
        return len(self.rates) >= FEW_SEEDS


def own_chance(values: Floats) -> Floats:
    """(...) `Trained.chance` from the resampled rates (S, B, ...) of S models."""
    seeds = len(values)
    if seeds < FEW_SEEDS:
        return np.zeros(values.shape[2:])
    own: Floats = (values - values.mean(axis=0)).var(axis=1).sum(axis=0) / (seeds * (seeds - 1))
    return own


def sampled(values: Floats, units: int, trained: Sequence[Trained] = (), *, anew: bool = False) -> Spread:
    """The spread of `values` (B,) resampled over `units` units of test, thresholds staying.

    `trained`: the models of each detector; where resamples draw them, they are a part. The chance of units makes models
    differ too, and drawing models shows that again: it is taken off, so that it counts but once. `anew`: the
    thresholds will be chosen anew, which has its own such chance (`chosen_anew`).

    >>> rng = np.random.default_rng(0)
    >>> spread = sampled(rng.normal(0.2, 0.03, 10_000), units=25)
    >>> round(spread.error, 3), spread.freedom
    (0.031, 24.0)
    """
    known = values[~np.isnan(values)]
    if units < 2 or len(known) < max(len(values) / 2, 1):  # noqa: PLR2004 - one unit shows no variance
        return Spread(parts=(Part(variance=float("nan"), freedom=0),))
    # A resample of U units varies less than U units do, by (U - 1) / U.
    left, of_seeds = float(known.var()) * units / (units - 1), []
    for one in (one for one in trained if one.drawn):
        between = float(one.rates.var(ddof=1)) / len(one.rates)
        own = max(between - (one.anew if anew else one.chance), 0.0)
        of_seeds.append(Part(variance=own, freedom=len(one.rates) - 1, off=between - own))
        left -= between + one.chance
    return Spread(parts=(Part(variance=max(left, 0.0), freedom=units - 1), *of_seeds))


def chosen_anew(
    frozen: Spread, drawn: tuple[Floats, Floats], shift: Floats, on: int, trained: Sequence[Trained] = ()
) -> Spread:
    """`frozen`, and what choosing the threshold anew on `on` validation units adds to it.

    `drawn`: (B,) resampled rates, thresholds staying, and the same with thresholds chosen anew. `shift` (B,): how much
    the rate on test as it is changes by these thresholds, NaN where that isn't known. A change of threshold is seen
    through the few defects of test that score in between, so `shift` varies too much by their chance; just that
    chance shows again as what resampling test adds to the shift, and is taken off.
    """
    if np.isnan(frozen.variance):
        return frozen
    staying, anew = drawn
    if np.isnan(shift).any():
        more = float(np.nanvar(anew) - np.nanvar(staying))
    else:
        more = float(np.var(shift) - np.nanvar(anew - staying - shift))
    more -= sum(one.anew - one.chance for one in trained if one.drawn)
    return Spread(parts=(*frozen.parts, Part(variance=max(more, 0.0), freedom=max(on - 1, 1))))
