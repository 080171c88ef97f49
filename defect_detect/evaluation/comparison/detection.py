"""Probability of detection by size."""

from __future__ import annotations

import msgspec

from defect_detect.evaluation.comparison.rates import Rate


class PodBin(msgspec.Struct, frozen=True, kw_only=True):
    """Observed hits among the targets of a range of sizes."""

    low: float
    high: float
    found: Rate


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """Probability of detection by size (MIL-HDBK-1823A), at the operating point. Sizes in `unit`."""

    of: str
    """`all`, or the class whose defects these are."""
    measure: str
    """What size is: `area` | `long side` | `short side` | `maximum Feret` | `minimum Feret`"""
    unit: str
    link: str
    """`logit` | `probit`"""
    targets: int
    hits: int
    """Over all trials ..."""
    trials: int = 1
    """... of which each target has one for each trained model."""
    status: str
    """`ok` | `not_estimable` | `all_found`"""
    why: str
    """The reason when it is not estimable; the statement that can be made instead when all were found."""
    intercept: float | None = None
    slope: float | None = None
    """On the natural logarithm of size."""
    floor: float = 0.0
    ceiling: float = 1.0
    a50: float | None = None
    a90: float | None = None
    a90_95: float | None = None
    """One-sided upper 95 % bound of a90."""
    bound_method: str = ""
    size: list[float] = []
    pod: list[float] = []
    low: list[float] = []
    """One-sided lower 95 % bound of the curve."""
    bins: list[PodBin] = []
    warnings: list[str] = []
