"""95 % intervals of rates and of their differences, from resamples over units."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.comparison import Interval
from defect_detect.evaluation.exact_bounds import mean_bound, share_bound
from defect_detect.evaluation.spread import LEVEL, Spread, sampled
from defect_detect.tables import Floats

FEW_UNITS = 30
_FEW_HITS = 3.5
_TAILS = (50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL))


def percentile(values: Floats, units: int) -> Interval | None:
    """The percentile interval of resampled values; None where there are too few to say."""
    known = values[~np.isnan(values)]
    if len(known) < len(values) / 2 or len(known) == 0:
        return None
    low, high = np.percentile(known, _TAILS)
    return Interval(low=float(low), high=float(high), method=f"bootstrap over {units} units")


def rate_interval(
    values: Floats, count: Floats, of: Floats, *, bounded: bool = True, spread: Spread | None = None
) -> Interval | None:
    """The 95 % interval of a rate from its resampled `values` (B,) and its count and denominator per unit (U,).

    A score interval (Wilson 1927) on as many independent defects as the rate's spread is worth, with Student's t in
    place of the normal's 1.96 (Dean & Pagano 2015). `spread` is that of `values` where none is given. Zero or all
    counted, or under 30 units: an exact bound with the design effect (Korn & Graubard 1998), never [0, 0]. `bounded`:
    a share, at most 1; else a mean count.

    >>> rng = np.random.default_rng(0)
    >>> missed, defects = rng.binomial(3, 0.2, 200).astype(float), np.full(200, 3.0)
    >>> drawn = np.array([rng.choice(missed, 200).sum() / 600 for _ in range(2000)])
    >>> interval = rate_interval(drawn, missed, defects)
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.21, 0.28)
    """
    units = int((of > 0).sum())
    if units == 0:
        return None
    total, n = float(count.sum()), float(of.sum())
    spread = spread or sampled(values, units)
    extreme = total == 0 or (bounded and total == n)
    if extreme or not spread.variance > 0:
        return _exact(values, count, of, bounded=bounded)
    if units < FEW_UNITS:
        return (share_bound if bounded else mean_bound)(count, of, spread)
    rate = total / n
    worth = (rate * (1 - rate) if bounded else rate) / spread.variance
    low, high = (wilson if bounded else score_of_mean)(rate, worth, spread.reach)
    return Interval(low=low, high=high, method=f"score interval, bootstrap over {units} units")


def _exact(values: Floats, count: Floats, of: Floats, *, bounded: bool) -> Interval:
    exact = (share_bound if bounded else mean_bound)(count, of)
    drawn = percentile(np.clip(values, 0, 1 if bounded else None), 1)
    if drawn is None:
        return exact
    # Resamples of a count of zero are zero, unless their thresholds differ: then they tell how far it may go.
    return Interval(low=min(exact.low, drawn.low), high=max(exact.high, drawn.high), method=exact.method)


def wilson(rate: float, worth: float, reach: float) -> tuple[float, float]:
    """Both ends of the score interval of a share seen on `worth` independent trials.

    Where no more than three were counted, or left out, the end at that side goes as near to 0, or 1, as the Poisson
    count allows at 5 % (Brown, Cai & DasGupta 2001): a first hit is no proof that hits are common.

    >>> tuple(round(end, 4) for end in wilson(0.1, 50, 1.96))
    (0.0435, 0.2136)
    """
    part = reach**2 / worth
    middle = (rate + part / 2) / (1 + part)
    half = np.sqrt(part * (rate * (1 - rate) + part / 4)) / (1 + part)
    low = _no_more_than_few(rate, worth, float(middle - half))
    return low, 1 - _no_more_than_few(1 - rate, worth, float(1 - middle - half))


def score_of_mean(rate: float, worth: float, reach: float) -> tuple[float, float]:
    """Both ends of the score interval of a Poisson mean seen on `worth` independent pictures; its low end as above."""
    part = reach**2 / worth
    half = np.sqrt(part * (rate + part / 4))
    return _no_more_than_few(rate, worth, float(rate + part / 2 - half)), float(rate + part / 2 + half)


def _no_more_than_few(rate: float, worth: float, low: float) -> float:
    from scipy import special

    few = rate * worth < _FEW_HITS
    return max(min(low, float(special.gammaincinv(rate * worth, 1 - LEVEL)) / worth if few else low), 0.0)


def difference_interval(a: Floats, b: Floats, of: Floats, spread: Spread, *, bounded: bool) -> Interval | None:
    """The 95 % interval of a - b from the counts of both per unit (U,), their denominator and the difference's spread.

    Student's, on Satterthwaite's degrees of freedom. Counts of zero or all: joined with the interval made of the two
    exact bounds by 'square and add' (Newcombe 1998), taking the two as independent.
    """
    units = int((of > 0).sum())
    if units == 0:
        return None
    value = float((a.sum() - b.sum()) / of.sum())
    half = spread.reach * spread.error if spread.variance > 0 else 0.0
    extreme = any(one.sum() == 0 or (bounded and one.sum() == of.sum()) for one in (a, b))
    if not extreme and half > 0:
        return Interval(low=value - half, high=value + half, method=f"Student's t, bootstrap over {units} units")
    low, high = _square_and_add(a, b, of, bounded=bounded)
    return Interval(low=min(low, value - half), high=max(high, value + half), method="exact bounds, square and add")


def _square_and_add(a: Floats, b: Floats, of: Floats, *, bounded: bool) -> tuple[float, float]:
    bound = share_bound if bounded else mean_bound
    of_a, of_b = bound(a, of), bound(b, of)
    rate_a, rate_b = a.sum() / of.sum(), b.sum() / of.sum()
    low = rate_a - rate_b - np.hypot(rate_a - of_a.low, of_b.high - rate_b)
    high = rate_a - rate_b + np.hypot(of_a.high - rate_a, rate_b - of_b.low)
    return float(low), float(high)
