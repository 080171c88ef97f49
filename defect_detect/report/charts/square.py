"""Lines in a plot whose both axes are shares: reliability, and how many hits are placed how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from defect_detect.report.charts.axis import PERCENT_UP, Tick
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A marked place in percent from the left and from the top, and what is said on pointing at it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareLine:
    """A line as an SVG path in 0..1000 x 0..1000, and its dots."""

    identity: Identity
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SquarePlot:
    """Lines over `start` to 1 across and 0 to 1 upwards; places in percent."""

    lines: tuple[SquareLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    diagonal: str
    """The line where both are equal, as an SVG path."""


def square(lines: Sequence[tuple[Identity, Sequence[tuple[float, float, str]]]], *, start: float = 0.0) -> SquarePlot:
    """Straight lines through the points of each detector.

    Args:
        lines: identity and points (x, y, text), x rising, both from 0 to 1.
        start: where the axis across begins, a multiple of 0.1.
    """

    def right(x: float) -> float:
        return round(100 * (min(max(x, start), 1.0) - start) / (1 - start), 3)

    def down(y: float) -> float:
        return round(100 * (1 - y), 3)

    tenths = range(round(10 * start), 11, 1 if start else 2)
    return SquarePlot(
        lines=tuple(
            SquareLine(
                identity=identity,
                path="M" + "L".join(f"{round(10 * right(x))} {round(10 * down(y))}" for x, y, _ in points)
                if points
                else "",
                dots=tuple(Dot(x=right(x), y=down(y), text=text) for x, y, text in points if text),
            )
            for identity, points in lines
        ),
        x_ticks=tuple(Tick(at=right(k / 10), label=f"{k / 10:g}") for k in tenths),
        y_ticks=PERCENT_UP,
        diagonal=f"M0 {round(1000 * (1 - start))}L1000 0",
    )
