"""Exact bounds of a clustered share or mean count, for where a bootstrap can't speak."""

from __future__ import annotations

from defect_detect.evaluation.comparison import Interval
from defect_detect.evaluation.spread import LEVEL, Spread, students
from defect_detect.tables import Floats


def share_bound(count: Floats, of: Floats, spread: Spread | None = None) -> Interval:
    """Clopper-Pearson for a clustered share: `count` of `of` per unit, with the effective sample size.

    `spread`: of the share, where more than the units in hand make it vary; else it is seen from the units.

    >>> import numpy as np
    >>> bound = share_bound(np.zeros(29), np.ones(29))
    >>> bound.low, round(bound.high, 3)
    (0.0, 0.119)
    """
    from scipy import special

    n = float(of.sum())
    share = float(count.sum()) / n
    size = effective_size(count, of, spread)
    hits = share * size
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(hits, size - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, size - hits, 1 - tail)) if hits < size else 1.0
    return Interval(low=low, high=high, method=f"exact, effective sample {size:.3g} of {n:g}")


def mean_bound(count: Floats, of: Floats, spread: Spread | None = None) -> Interval:
    """Garwood's exact Poisson bound for a mean count per image, overdispersion counted in; `spread` as above."""
    from scipy import special

    n, total = float(of.sum()), float(count.sum())
    size = n / _mean_design_effect(count, of, spread)
    seen = total / n * size
    tail = (1 - LEVEL) / 2
    low = float(special.gammaincinv(seen, tail)) if seen > 0 else 0.0
    high = float(special.gammaincinv(seen + 1, 1 - tail))
    return Interval(low=low / size, high=high / size, method=f"exact Poisson, effective sample {size:.3g} of {n:g}")


def effective_size(count: Floats, of: Floats, spread: Spread | None = None) -> float:
    """How many independent defects the clustered ones are worth.

    The design effect compares the variance between units with that of independent defects. None or all counted, it
    can't be seen: then the defects of a unit are taken to share one fate. Else the size also pays for the
    few units that the variance is estimated from (Korn & Graubard 1998).
    """
    y, m, worst = _of_units(count, of)
    n, units = float(m.sum()), len(m)
    share = float(y.sum()) / n
    if share in (0, 1) or (units == 1 and spread is None):
        return n / worst
    if spread is None:
        effect = min(_variance(y, m) * n / (share * (1 - share)), worst)
        reach = students(units - 1)
    else:
        effect, reach = spread.variance * n / (share * (1 - share)), spread.reach
    paid = (students(n - 1) / reach) ** 2
    return max(n / max(effect, 1.0) * paid, 1.0)


def _mean_design_effect(count: Floats, of: Floats, spread: Spread | None) -> float:
    y, m, worst = _of_units(count, of)
    n, mean = float(m.sum()), float(y.sum() / m.sum())
    if mean == 0 or (len(m) == 1 and spread is None):
        return worst
    variance = _variance(y, m) if spread is None else spread.variance
    return max(variance * n / mean, 1.0)


def _of_units(count: Floats, of: Floats) -> tuple[Floats, Floats, float]:
    """Counts and sizes of the units that have any, and the design effect of units of one fate each."""
    inside = of > 0
    m = of[inside]
    return count[inside], m, float((m**2).sum() / m.sum())


def _variance(count: Floats, of: Floats) -> float:
    """Of count / of, linearized, over units drawn at random."""
    units, n = len(of), float(of.sum())
    return units / (units - 1) * float(((count - count.sum() / n * of) ** 2).sum()) / n**2
