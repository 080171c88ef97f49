"""95 % intervals of rates and of their differences, from resamples over units."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.comparison import Interval
from defect_detect.evaluation.exact_bounds import LEVEL, mean_bound, share_bound
from defect_detect.tables import Floats

FEW_UNITS = 30
_TAILS = (50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL))


def percentile(values: Floats, units: int) -> Interval | None:
    """The percentile interval of resampled values; None where there are too few to say."""
    known = values[~np.isnan(values)]
    if len(known) < len(values) / 2 or len(known) == 0:
        return None
    low, high = np.percentile(known, _TAILS)
    return Interval(low=float(low), high=float(high), method=f"bootstrap over {units} units")


def rate_interval(values: Floats, count: Floats, of: Floats, *, bounded: bool = True) -> Interval | None:
    """The 95 % interval of a rate from its resampled `values` and its count and denominator per unit (U,).

    Zero or all counted, or under 30 units: an exact bound with the design effect (Korn & Graubard 1998), joined
    with the bootstrap's interval, so that it is never [0, 0]. `bounded`: a share, at most 1; else a mean count.
    """
    units = int((of > 0).sum())
    if units == 0:
        return None
    drawn = percentile(np.clip(values, 0, 1 if bounded else None), units)
    total, n = float(count.sum()), float(of.sum())
    extreme = total == 0 or (bounded and total == n)
    if drawn is not None and not extreme and units >= FEW_UNITS and drawn.low < drawn.high:
        return drawn
    exact = share_bound(count, of) if bounded else mean_bound(count, of)
    if drawn is None or extreme:
        # The resamples of a count of zero are all zero: they would only pretend to agree.
        low, high = exact.low, exact.high
        if drawn is not None:
            low, high = min(low, drawn.low), max(high, drawn.high)
        return Interval(low=low, high=high, method=exact.method)
    return Interval(low=min(exact.low, drawn.low), high=max(exact.high, drawn.high), method=exact.method)


def difference_interval(drawn: Floats, a: Floats, b: Floats, of: Floats, *, bounded: bool) -> Interval | None:
    """The bootstrap's interval, joined where it can't be trusted with a wider one.

    Under 30 units: Student's, on the units' own degrees of freedom. Counts of zero or all: made of the two exact
    bounds by 'square and add' (Newcombe 1998), taking the two as independent.
    """
    units = int((of > 0).sum())
    interval = percentile(drawn, units)
    if interval is None:
        return None
    error = float(np.nanstd(drawn))
    value = float((a.sum() - b.sum()) / of.sum())
    extreme = any(one.sum() == 0 or (bounded and one.sum() == of.sum()) for one in (a, b))
    if extreme or error == 0 or units == 1:
        return _joined(interval, *_square_and_add(a, b, of, bounded=bounded), "exact bounds, square and add")
    if units >= FEW_UNITS:
        return interval
    half = _student(units) * error
    return _joined(interval, value - half, value + half, f"bootstrap and Student's t over {units} units")


def _student(units: int) -> float:
    from scipy import stats

    # A resample of U units varies less than U units do, by (U - 1) / U.
    return float(stats.t.ppf((1 + LEVEL) / 2, units - 1) * np.sqrt(units / (units - 1)))


def _square_and_add(a: Floats, b: Floats, of: Floats, *, bounded: bool) -> tuple[float, float]:
    bound = share_bound if bounded else mean_bound
    of_a, of_b = bound(a, of), bound(b, of)
    rate_a, rate_b = a.sum() / of.sum(), b.sum() / of.sum()
    low = rate_a - rate_b - np.hypot(rate_a - of_a.low, of_b.high - rate_b)
    high = rate_a - rate_b + np.hypot(of_a.high - rate_a, rate_b - of_b.low)
    return float(low), float(high)


def _joined(interval: Interval, low: float, high: float, method: str) -> Interval:
    return Interval(low=min(low, interval.low), high=max(high, interval.high), method=method)
