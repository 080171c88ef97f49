"""Between detectors: pairs, agreement, suspect labels."""

from __future__ import annotations

import msgspec

from defect_detect.evaluation.comparison.rates import Interval, Rate


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """a - b, with its interval and the test of no difference."""

    value: float | None
    interval: Interval | None
    p: float | None = None
    p_holm: float | None = None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two detectors on the same defects."""

    a: str
    b: str
    fn_rate: Difference
    """Positive: `a` misses more. The interval is this policy's."""
    mcnemar_p: float | None
    """Exact; ignores clustering."""
    fppi: Difference
    partial_froc: Difference
    """Mean recall over FPPI up to the budget, a - b."""
    matched_budget: bool
    outcome: str
    """`a` | `b` (that one misses fewer) | `indistinguishable` | `no_verdict`"""
    both_found: int
    only_a_found: int
    only_b_found: int
    both_missed: int
    common_hits: int
    """Defects that both found at IoU 0.1, over which localization is compared."""
    localization: Difference
    """IoU of a - b on the common hits."""
    smallest_detectable: float | None
    """FN-rate difference found with 80 % power here."""
    defects_needed: int | None
    """Defects for 80 % power at the difference of interest (5 points)."""
    sentence: str


class Subset(msgspec.Struct, frozen=True, kw_only=True):
    """Defects missed by exactly these detectors (by a majority of each one's seeds)."""

    missed_by: list[str]
    count: int


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Who missed what."""

    of: int
    subsets: list[Subset]
    union_fn_rate: Rate
    """Missed by all: what remains when all detectors run side by side ..."""
    union_fppi: Rate
    """... and what that costs."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a picture, x0 y0 x1 y1 px."""

    image: str
    box: list[float]
    category: str
    annotation_id: int | None = None


class Suspects(msgspec.Struct, frozen=True, kw_only=True):
    """Labels worth a second look."""

    missed_by_all: list[Place]
    alarmed_by_all: list[Place]
