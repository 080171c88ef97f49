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


def sign_flip(difference: Floats, *, seed: int = 0) -> float:
    """Two-sided p that paired differences per unit (U,) are as likely one way as the other.

    The signs of the units' differences are flipped (all ways, when they are few; 9,999 random ones otherwise), and
    their sum is compared with the one seen. The root of the sum of squares, which would studentize it, is the same
    for every flip. Flips that go just as far count half: counts of misses tie often, and the plain p of so coarse a
    test is too large (mid-p; Lancaster 1961, Fagerland et al. 2013). Units without a difference say nothing.

    >>> round(sign_flip(np.array([1.0, 1, 1, 1, 1, 1, 0, -1])), 4)  # (2 + 14 / 2) of 128
    0.0703
    """
    told = difference[difference != 0]
    if len(told) == 0:
        return 1.0
    if np.allclose(np.abs(told), np.abs(told[0]), rtol=1e-12):
        return _binomial_p(int((told > 0).sum()), len(told))
    if 2 ** len(told) <= FLIPS:
        signs = 1.0 - 2 * ((np.arange(2 ** len(told))[:, None] >> np.arange(len(told))) & 1)
        further, ties = _as_far(told, signs @ told)
        return float((further + ties / 2) / 2 ** len(told))
    further, ties = _as_far(told, _flips(told, np.random.default_rng(seed)))
    # The one seen is one of them.
    return (further + (ties + 1) / 2) / (FLIPS + 1)


def _binomial_p(plus: int, of: int) -> float:
    """All of one size: the flips are fair coins, and the binomial test is this test, exactly."""
    from scipy import stats

    fewer = min(plus, of - plus)
    tie = float(stats.binom.pmf(fewer, of, 0.5))
    if 2 * fewer == of:
        return 1 - tie / 2
    return 2 * (float(stats.binom.cdf(fewer, of, 0.5)) - tie / 2)


def _as_far(told: Floats, sums: Floats) -> tuple[int, int]:
    """How many go further than the sum seen, and how many just as far, but for rounding."""
    beyond = np.round((np.abs(sums) - abs(told.sum())) / np.sqrt((told**2).sum()), 12)
    return int((beyond > 0).sum()), int((beyond == 0).sum())


def _flips(told: Floats, rng: np.random.Generator) -> Floats:
    """(9999,) the sums of `told`, each one's sign up to chance."""
    sums = np.zeros(FLIPS)
    step = max(_CELLS // max(len(told), 1), 1)
    for start in range(0, FLIPS, step):
        rows = min(step, FLIPS - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * -(-len(told) // 8)), np.uint8).reshape(rows, -1), axis=1)
        sums[start : start + rows] = 2.0 * (bits[:, : len(told)] @ told) - told.sum()
    return sums


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact p of McNemar's test on discordant counts; takes defects as independent, ignoring clustering.

    >>> round(mcnemar(2, 9), 4)
    0.0654
    """
    from scipy import stats

    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment over those that are given.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    known = [(value, place) for place, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[place] = highest
    return adjusted


def smallest_detectable(standard_error: float, freedom: float = np.inf) -> float | None:
    """The difference that a two-sided test at 5 % finds with 80 % power; None where nothing varies.

    >>> round(smallest_detectable(0.02), 4)
    0.056
    """
    if not standard_error > 0:
        return None
    return _reach(freedom) * standard_error


def needed(standard_error: float, defects: int, difference: float = POINTS, freedom: float = np.inf) -> int | None:
    """How many defects would show `difference` with 80 % power, at the spread that `defects` showed.

    >>> needed(0.03, 200)
    566
    """
    if not standard_error > 0:
        return None
    return int(np.ceil(defects * (_reach(freedom) * standard_error / difference) ** 2))


def _reach(freedom: float) -> float:
    """Standard errors from no difference to one that is found with 80 % power (Student)."""
    from scipy import special

    points = (1 - ALPHA / 2, POWER)
    return float(sum(special.stdtrit(freedom, at) if np.isfinite(freedom) else special.ndtri(at) for at in points))
