"""Exact bounds of a clustered share or mean count, for where a bootstrap can't speak."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.comparison import Interval
from defect_detect.tables import Floats

LEVEL = 0.95


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
