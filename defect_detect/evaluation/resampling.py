"""Bootstrap over sampling units, and the exact bounds that stand in where a bootstrap can't speak.

One resample is a row of weights: how often each unit was drawn. All detectors are held against the same
rows, so their differences are paired.
"""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.comparison import Interval
from defect_detect.tables import Column, Floats

LEVEL = 0.95
FEW_UNITS = 30
_TAILS = (50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL))
_CELLS = 8_000_000


def draw(rng: np.random.Generator, units: int, resamples: int) -> Column:
    """(B, U) uint16: how often each unit is drawn, in each of B resamples of U units."""
    weights = np.zeros((resamples, units), np.uint16)
    step = max(_CELLS // max(units, 1), 1)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
    return weights


def weighted(weights: Column, per_unit: Column) -> Floats:
    """(B, ...) the sum of `per_unit` (U, ...) in each resample."""
    step = max(_CELLS // max(weights.shape[1], 1), 1)
    parts = [weights[start : start + step].astype(float) @ per_unit for start in range(0, len(weights), step)]
    return np.concatenate(parts)


def ratio(count: Floats, of: Floats) -> Floats:
    """Count / of, NaN where nothing was drawn to count."""
    empty = np.full(np.broadcast(count, of).shape, np.nan)
    result: Floats = np.divide(count, of, out=empty, where=of > 0)
    return result


FEW_SEEDS = 3
"""Fewer seeds don't speak of the framework, only of the models that were trained."""


def over_seeds(values: Floats, rng: np.random.Generator) -> Floats:
    """(B, ...) the mean over seeds of resampled `values` (S, B, ...); from 3 seeds on, seeds are drawn too.

    S draws of S seeds vary too little by the factor (S - 1) / S, so their part is widened by its root.
    """
    mean: Floats = values.mean(axis=0)
    seeds, resamples = values.shape[:2]
    if seeds < FEW_SEEDS:
        return mean
    often = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).T / seeds
    drawn = (values * often.reshape(seeds, resamples, *[1] * (values.ndim - 2))).sum(axis=0)
    widened: Floats = mean + np.sqrt(seeds / (seeds - 1)) * (drawn - mean)
    return widened


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


def share_bound(count: Floats, of: Floats) -> Interval:
    """Clopper-Pearson for a clustered share: `count` of `of` per unit, with the effective sample size."""
    from scipy import stats

    n = float(of.sum())
    share = float(count.sum()) / n
    size = effective_size(count, of)
    hits = share * size
    tail = (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, hits, size - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, size - hits)) if hits < size else 1.0
    return Interval(low=low, high=high, method=f"exact, effective sample {size:.3g} of {n:g}")


def mean_bound(count: Floats, of: Floats) -> Interval:
    """Garwood's exact Poisson bound for a mean count per image, overdispersion counted in."""
    from scipy import stats

    n, total = float(of.sum()), float(count.sum())
    size = n / _mean_design_effect(count, of)
    seen = total / n * size
    tail = (1 - LEVEL) / 2
    low = float(stats.chi2.ppf(tail, 2 * seen)) / 2 if seen > 0 else 0.0
    high = float(stats.chi2.ppf(1 - tail, 2 * seen + 2)) / 2
    return Interval(low=low / size, high=high / size, method=f"exact Poisson, effective sample {size:.3g} of {n:g}")


def effective_size(count: Floats, of: Floats) -> float:
    """How many independent defects the clustered ones are worth.

    The design effect compares the variance between units with that of independent defects. None or all counted, it
    can't be seen: then the defects of a unit are taken to share one fate. Else the size also pays for the
    few units that the variance is estimated from (Korn & Graubard 1998).
    """
    from scipy import stats

    inside = of > 0
    y, m = count[inside], of[inside]
    n, units = float(m.sum()), len(m)
    share = float(y.sum()) / n
    worst = float((m**2).sum()) / n
    if share in (0, 1) or units == 1:
        return n / worst
    variance = units / (units - 1) * float(((y - share * m) ** 2).sum()) / n**2
    effect = float(np.clip(variance * n / (share * (1 - share)), 1, worst))
    half = (1 + LEVEL) / 2
    paid = (stats.t.ppf(half, n - 1) / stats.t.ppf(half, units - 1)) ** 2
    return max(n / effect * float(paid), 1.0)


def _mean_design_effect(count: Floats, of: Floats) -> float:
    inside = of > 0
    y, m = count[inside], of[inside]
    n, units, mean = float(m.sum()), len(m), float(y.sum() / m.sum())
    worst = float((m**2).sum()) / n
    if mean == 0 or units == 1:
        return worst
    variance = units / (units - 1) * float(((y - mean * m) ** 2).sum()) / n**2
    return max(variance * n / mean, 1.0)
