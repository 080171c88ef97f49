"""How exactly the FN rate of each class can be known, before anything is trained."""

from __future__ import annotations

from functools import cache

import numpy as np

from defect_detect.data.audited import Precision
from defect_detect.tables import Dataset

HALF_WIDTH = 0.1
"""10 points to either side."""
_CONFIDENCE = 0.95
_WIDEST, _TENTH = 0.5, 0.1


def half_width(of: float, rate: float) -> float | None:
    """Half the width of Clopper and Pearson's (1934) 95 % interval for `rate` seen on `of` trials; None of none.

    `of` needn't be whole: an effective sample size (Korn and Graubard 1998).

    >>> round(half_width(100, 0.5), 4)
    0.1017
    """
    from scipy import special

    if of <= 0:
        return None
    tail, hits = (1 - _CONFIDENCE) / 2, rate * of
    low = float(special.betaincinv(hits, of - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0
    return (high - low) / 2


@cache
def needed() -> int:
    """The fewest independent defects whose interval is within 10 points of an FN rate of one half."""
    count = 1
    while (half_width(count, _WIDEST) or 1.0) > HALF_WIDTH:
        count += 1
    return count


def of_class(test: Dataset, label: int) -> Precision:
    """The precision that the test split allows for one class.

    The design effect is the largest there can be, the sum of the squares of the units' counts over the sum of the
    counts: Kish's (1965) 1 + (m - 1) rho with rho = 1, for units that differ in size.
    """
    rows = test.defects.counts & (test.defects.label == label)
    _, counts = np.unique(test.images.group[test.defects.image[rows]], return_counts=True)
    total = int(counts.sum())
    effect = float((counts**2).sum() / total) if total else None
    alone = half_width(total, _WIDEST)
    by_units = half_width(total / effect, _WIDEST) if effect else None
    if alone is None or alone > HALF_WIDTH:
        verdict = "too few"
    else:
        verdict = "enough" if by_units is not None and by_units <= HALF_WIDTH else "perhaps too few"
    return Precision(
        category=test.categories[label].name,
        defects=total,
        units=len(counts),
        design_effect=effect,
        half_width=alone,
        half_width_by_units=by_units,
        half_width_at_tenth=half_width(total, _TENTH),
        needed=needed(),
        verdict=verdict,
    )
