"""Dots with their intervals, in rows over one axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Interval
from defect_detect.report.charts.axis import Tick, round_step
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A figure of one detector, before it has a place."""

    identity: Identity
    value: float | None
    interval: Interval | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One dot with its interval: percent from the left, None where there is nothing to draw."""

    identity: Identity
    at: float | None
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Dots under one label."""

    label: str
    note: str
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DotPlot:
    """Rows of dots over one axis; `zero` is where "no difference" stands."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float | None = None


def dot_plot(rows: Sequence[tuple[str, str, Sequence[Value]]], *, label: Callable[[float], str]) -> DotPlot:
    """Dots from zero up, or on both sides of zero when a value or an interval is negative.

    Args:
        rows: label, note and values of each row.
        label: names a value on the axis.
    """
    spread = [
        x
        for _, _, values in rows
        for v in values
        for x in (v.value, *((v.interval.low, v.interval.high) if v.interval else ()))
        if x is not None and math.isfinite(x)
    ]
    reach = max((abs(x) for x in spread), default=0.0)
    both = min(spread, default=0.0) < 0
    step = round_step(reach * (2 if both else 1))
    top = step * max(math.ceil(reach / step - 1e-9), 1)
    low, high = (-top if both else 0.0), top

    def place(x: float | None) -> float | None:
        return None if x is None else round(100 * (min(max(x, low), high) - low) / (high - low), 3)

    ticks = [low + step * k for k in range(round((high - low) / step) + 1)]
    return DotPlot(
        rows=tuple(
            Row(
                label=name,
                note=note,
                lanes=tuple(
                    Lane(
                        identity=v.identity,
                        at=place(v.value),
                        low=place(v.interval.low) if v.interval else None,
                        high=place(v.interval.high) if v.interval else None,
                        text=v.text,
                    )
                    for v in values
                ),
            )
            for name, note, values in rows
        ),
        ticks=tuple(Tick(at=place(x) or 0.0, label=label(round(x, 6))) for x in ticks),
        zero=place(0.0) if both else None,
    )
