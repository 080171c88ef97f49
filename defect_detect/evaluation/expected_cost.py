"""What escapes and needless rejects cost per unit, on a line with the given share of defective units."""

from __future__ import annotations

from defect_detect.evaluation.comparison import Rate


def expected_cost(
    escape_rate: Rate, overkill_rate: Rate, *, prevalence: float, escape: float, overkill: float
) -> float | None:
    """Prevalence x escape rate x cost of an escape + (1 - prevalence) x overkill rate x cost of an overkill.

    `prevalence` is the line's share of defective units, never taken from an enriched dataset; the costs of an
    `escape` and of an `overkill` are in one unit, and so is the result. None where a rate wasn't measured.

    >>> expected_cost(Rate(count=5, of=100), Rate(count=8, of=200), prevalence=0.01, escape=500.0, overkill=2.0)
    0.3292
    """
    escaped, rejected = escape_rate.value, overkill_rate.value
    if escaped is None or rejected is None:
        return None
    return prevalence * escaped * escape + (1 - prevalence) * rejected * overkill
