"""Rates, their intervals, and a detector at its operating point."""

from __future__ import annotations

import msgspec


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """So many of so many. For FPPI `of` counts images, and `count` may exceed it."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """Count over denominator, or None where there is nothing to count."""
        return self.count / self.of if self.of else None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A 95 % interval and how it was found."""

    low: float
    high: float
    method: str


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its two intervals (METRICS, 'Two intervals')."""

    rate: Rate
    this_threshold: Interval | None = None
    """The threshold stays, the test units are drawn again."""
    this_policy: Interval | None = None
    """Validation and test units are drawn again, the threshold chosen anew."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector does at its operating point, on one split."""

    fn_rate: Estimate
    fn_rate_any_class: Estimate
    escape_rate: Estimate
    alarmed_elsewhere: Estimate
    """Defective units alarmed only where no defect is, of all defective units."""
    overkill_rate: Estimate
    fppi: Estimate
    fppi_defect_free: Estimate


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold and how it came about, per seed."""

    policy: str
    status: str
    """`ok` | `fixed` | `unreachable` | `not_measurable`"""
    thresholds: list[float | None]
    """One for each seed; None where there is none; the lowest of the classes' where they have their own."""
    censored: bool
    """A threshold lies at the predictions' own floor: a lower one might have been chosen."""
    notes: list[str]
    validation: Figures | None
    """The same policy's figures on the split it was chosen on."""
    by_class: list[dict[str, float | None]] = []
    """For each seed class -> threshold where they are chosen by class; None: the class is left silent."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a part; None: a part of this kind can't have it."""

    by: str
    """`class` | `size` | `severity` | the name of an attribute"""
    value: str
    fn_rate: Estimate
    fppi: Estimate | None = None
    """By class, and by attributes of pictures."""
    escape_rate: Estimate | None = None
    overkill_rate: Estimate | None = None
    """By attributes of pictures, where every unit lies wholly in one part."""
