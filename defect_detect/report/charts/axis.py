"""Ticks: the round values that label an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5)
_MOST_TICKS = 6
_MOST_LOG_TICKS = 6
_A_DECADE = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on an axis, in percent."""

    at: float
    label: str


PERCENT_UP = tuple(Tick(at=100 - 20 * k, label=f"{20 * k}\u00a0%") for k in range(6))
"""0 to 100 % from the bottom up, places from the top."""
UNIT_ACROSS = tuple(Tick(at=20 * k, label=f"{k / 5:g}") for k in range(6))
"""0 to 1 from left to right."""


def round_step(reach: float) -> float:
    """A round step of which at most six fit into `reach`."""
    scale = 1.0
    while True:
        for step in _STEPS:
            if reach <= scale * step * _MOST_TICKS:
                return scale * step
        scale *= 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAxis:
    """From `low` to `high`, both over 0, by the logarithm."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent from the left; what lies outside stands at the edge."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(100 * min(share, 1.0), 3)

    def ticks(self) -> tuple[Tick, ...]:
        """At round values of each power of ten, the more the shorter the axis; at powers alone on a long one."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for of in _A_DECADE:
            values = [k * 10.0**d for d in decades for k in of if self._holds(k * 10.0**d)]
            if len(values) <= _MOST_LOG_TICKS:
                return self._labelled(values)
        return self._labelled([10.0**d for d in decades if self._holds(10.0**d)])

    def _labelled(self, values: Sequence[float]) -> tuple[Tick, ...]:
        return tuple(Tick(at=self.place(value), label=f"{value:g}") for value in values)

    def _holds(self, value: float) -> bool:
        return self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)
