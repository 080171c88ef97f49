"""What people say: decisions over units, and the review of misses and false alarms."""

from __future__ import annotations

import msgspec

from defect_detect.evaluation.comparison.rates import Estimate, Rate


class AttributeAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """Accept / reject decisions over units against the reference (AIAG, MSA 4th ed.)."""

    effectiveness: Rate
    """Right decisions / opportunities."""
    miss_rate: Rate
    false_alarm_rate: Rate
    kappa: float | None
    repeatability: Rate | None
    """Groups whose repeats were all decided alike; None where no group holds repeats."""


class Adjudicated(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's FN rate before and after the human review."""

    detector: str
    before: Estimate
    after: Estimate
    false_alarms_before: Rate
    false_alarms_after: Rate


class Adjudication(msgspec.Struct, frozen=True, kw_only=True):
    """What a review changed."""

    verdicts: dict[str, int]
    """`true miss` | `label error` | `borderline` | `unlabelled defect` | `true false alarm` -> how many"""
    reviewed_hits: int
    optimistic: bool
    """Only misses were reviewed, no random sample of hits: label errors among hits stay unseen."""
    detectors: list[Adjudicated]
    notes: list[str]
