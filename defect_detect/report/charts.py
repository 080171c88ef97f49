"""Where things stand in the plots: values into percent of the plot's width and height.

The templates draw in percent, so text keeps its size on a phone and lines stay crisp in print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Curve, Interval
from defect_detect.report.palette import Identity, ink_on

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5)
_MOST_TICKS = 6
_ROOM_FOR_A_COUNT = 6.0


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
class Tick:
    """A labelled place on an axis, in percent."""

    at: float
    label: str


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
    step = _step(reach * (2 if both else 1))
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


def _step(reach: float) -> float:
    """A round step that puts at most `_MOST_TICKS` steps into `reach`."""
    scale = 1.0
    while True:
        for step in _STEPS:
            if reach <= scale * step * _MOST_TICKS:
                return scale * step
        scale *= 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocLine:
    """A step curve as an SVG path in 0..1000 x 0..1000, and its operating point in percent."""

    identity: Identity
    path: str
    x: float | None
    y: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocPlot:
    """Recall (0 to 1, upwards) against FPPI on a log axis; places in percent."""

    lines: tuple[FrocLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    budget: float | None
    one_false_alarm: float
    """FPPI of a single false alarm in the whole split: nothing to its left can be measured."""


_HIGHEST = 3  # 2 ** 3 = 8 FPPI
_LOWEST = -10


def froc_plot(
    curves: Sequence[tuple[Identity, Curve, tuple[float, float] | None, str]], *, images: int, budget: float
) -> FrocPlot:
    """The curves from the first power of two under 1/N, the budget and every operating point, up to 8.

    Args:
        curves: identity, curve, operating point (FPPI, recall) or None, its text.
        images: N.
        budget: FPPI at which the detectors are compared.
    """
    marks = [x for x in (1 / max(images, 1), budget, *(p[0] for _, _, p, _ in curves if p)) if x > 0]
    first = max(_LOWEST, min(-3, *(math.ceil(math.log2(x)) - 1 for x in marks)))

    def across(fppi: float) -> float:
        exponent = math.log2(fppi) if fppi > 0 else first
        return round(100 * (min(max(exponent, first), _HIGHEST) - first) / (_HIGHEST - first), 3)

    return FrocPlot(
        lines=tuple(
            FrocLine(
                identity=identity,
                path=_steps(curve, across),
                x=across(point[0]) if point else None,
                y=round(100 * (1 - point[1]), 3) if point else None,
                text=text,
            )
            for identity, curve, point, text in curves
        ),
        x_ticks=tuple(
            Tick(at=across(2.0**k), label=str(2**k) if k >= 0 else f"1/{2**-k}") for k in range(first, _HIGHEST + 1)
        ),
        y_ticks=tuple(Tick(at=100 - 20 * k, label=f"{20 * k}\u00a0%") for k in range(6)),
        budget=across(budget) if budget > 0 else None,
        one_false_alarm=across(1 / max(images, 1)),
    )


def _steps(curve: Curve, across: Callable[[float], float]) -> str:
    """Right at the same recall, then up: what a threshold reaches, it keeps; to the right edge at the end."""
    x, y = 0.0, 1000.0
    path = []
    for fppi, recall in zip(curve.fppi, curve.recall, strict=True):
        right, up = 10 * across(fppi), round(1000 * (1 - recall), 1)
        if up == y:
            continue
        if right > x:
            path.append(f"H{right:g}")
        path.append(f"V{up:g}")
        x, y = right, up
    return f"M0 1000{''.join(path)}H1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a stacked bar, in percent; `text` is empty where it would not fit."""

    name: str
    count: int
    left: float
    width: float
    colour: str
    ink: str
    text: str


def stacked(counts: Mapping[str, int], order: Sequence[str], colour: Callable[[str], str], most: int) -> list[Part]:
    """The counts one after the other, `most` being the whole width; unknown names come last."""
    names = [*order, *sorted(set(counts) - set(order))]
    parts, left = [], 0.0
    for name in names:
        n = counts.get(name, 0)
        if n == 0:
            continue
        width = 100 * n / most
        fill = colour(name)
        parts.append(
            Part(
                name=name,
                count=n,
                left=round(left, 3),
                width=round(width, 3),
                colour=fill,
                ink=ink_on(fill),
                text=f"{n:,}" if width >= _ROOM_FOR_A_COUNT else "",
            )
        )
        left += width
    return parts
