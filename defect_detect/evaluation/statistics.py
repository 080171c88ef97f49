"""Tests of no difference between two detectors, and what the data could have shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.tables import Floats

ALPHA = 0.05
POWER = 0.8
FLIPS = 9999
_CELLS = 4_000_000
POINTS = 0.05
"""The FN-rate difference of interest, for the sample size that would be needed."""


def sign_flip(difference: Floats, *, seed: int = 0, shift: Floats | None = None) -> float:
    """Two-sided p that paired differences per unit (U,) are as likely one way as the other.

    The signs of the units' differences are flipped (exactly, when there are few; 9,999 random flips otherwise),
    and their studentized mean is compared with the one seen. Units without a difference say nothing.

    `shift` (B,): by how much the sum of the differences changes with thresholds chosen on other validation units. Then
    the question is whether the policy makes a difference, not these thresholds: to each flip comes one of the
    shifts, about their mean and either way up.

    >>> sign_flip(np.array([1.0, 1, 1, 1, 1, 1, 0, -1]))
    0.125
    """
    from scipy import stats

    told = difference[difference != 0]
    if shift is not None and np.ptp(shift) > 0:
        return _drawn_shifts(told, shift - shift.mean(), np.random.default_rng(seed))
    if len(told) == 0:
        return 1.0
    if np.allclose(np.abs(told), np.abs(told[0]), rtol=1e-12):
        # All of one size: the flips are fair coins, and the binomial test is this test, exactly.
        return float(stats.binomtest(int((told > 0).sum()), len(told)).pvalue)

    if 2 ** len(told) <= FLIPS:
        result = stats.permutation_test((told,), _studentized, permutation_type="samples", vectorized=True)
        return float(min(result.pvalue, 1.0))
    return _drawn_flips(told, np.random.default_rng(seed))


def _drawn_shifts(told: Floats, shift: Floats, rng: np.random.Generator) -> float:
    """The p of 9,999 random flips, each with a random shift."""
    size = np.sqrt((told**2).sum()) or 1.0
    seen = abs(float(np.round(told.sum() / size, 12)))
    also = rng.choice(shift, FLIPS) * (2.0 * rng.integers(0, 2, FLIPS) - 1) / size
    as_far = int((np.round(np.abs(_flips(told, rng) / size + also), 12) >= seen).sum())
    return (as_far + 1) / (FLIPS + 1)


def _drawn_flips(told: Floats, rng: np.random.Generator) -> float:
    """The p of 9,999 random flips; scipy draws them too, but a thousand units take it seconds."""
    # Flips leave the sum of squares as it is: what they are studentized by is the same for all.
    size = np.sqrt((told**2).sum())
    as_far = int((np.abs(np.round(_flips(told, rng) / size, 12)) >= abs(float(_studentized(told)))).sum())
    return (as_far + 1) / (FLIPS + 1)


def _flips(told: Floats, rng: np.random.Generator) -> Floats:
    """(9999,) the sums of `told`, each one's sign up to chance."""
    sums = np.zeros(FLIPS)
    step = max(_CELLS // max(len(told), 1), 1)
    for start in range(0, FLIPS, step):
        rows = min(step, FLIPS - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-len(told) // 8)), np.uint8).reshape(rows, -1), axis=1)
        sums[start : start + rows] = 2.0 * (bits[:, : len(told)] @ told) - told.sum()
    return sums


def _studentized(sample: Floats, axis: int = -1) -> Floats:
    # Divided by the root of the sum of squares rather than the standard deviation: monotone in t, and
    # finite when all flips point one way. Rounded, so that flips of equal sums stay equal.
    size = np.sqrt((sample**2).sum(axis=axis))
    result: Floats = np.round(sample.sum(axis=axis) / size, 12)
    return result


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact p of McNemar's test on discordant counts; takes defects as independent, ignoring clustering."""
    from scipy import stats

    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment over those that are given."""
    known = [(value, place) for place, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[place] = highest
    return adjusted


def smallest_detectable(standard_error: float) -> float | None:
    """The difference that a two-sided test at 5 % finds with 80 % power; None where nothing varies."""
    if not standard_error > 0:
        return None
    return _reach() * standard_error


def needed(standard_error: float, defects: int, difference: float = POINTS) -> int | None:
    """How many defects would show `difference` with 80 % power, at the spread that `defects` showed."""
    if not standard_error > 0:
        return None
    return int(np.ceil(defects * (_reach() * standard_error / difference) ** 2))


def _reach() -> float:
    from scipy import stats

    return float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))
