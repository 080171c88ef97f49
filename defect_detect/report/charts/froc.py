"""FROC curves: recall against FPPI on a log axis, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Curve, FrocBand
from defect_detect.report.charts.axis import PERCENT_UP, Tick
from defect_detect.report.palette import Identity

HIGHEST = 3
"""2 ** 3 = 8 FPPI, where the axis ends."""
_LOWEST = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocInput:
    """A detector's curve before it has a place.

    point  FPPI and recall at the operating point
    text   what is said beside its name
    """

    identity: Identity
    curve: Curve
    band: FrocBand | None
    point: tuple[float, float] | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocLine:
    """Step curve and band as SVG paths in 0..1000 x 0..1000, the operating point in percent.

    `band` is empty where there is none.
    """

    identity: Identity
    path: str
    band: str
    x: float | None
    y: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrocPlot:
    """Recall (0 to 1, upwards) against FPPI from 2 ** `first` to 8; places in percent."""

    lines: tuple[FrocLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    budget: float | None
    one_false_alarm: float
    """FPPI of a single false alarm in the whole split: nothing to its left can be measured."""
    first: int


def froc_plot(curves: Sequence[FrocInput], *, images: int, budget: float) -> FrocPlot:
    """The curves from the first power of two under 1/N, the budget and every operating point, up to 8.

    Args:
        curves: one for each detector.
        images: N.
        budget: FPPI at which the detectors are compared.
    """
    marks = [x for x in (1 / max(images, 1), budget, *(one.point[0] for one in curves if one.point)) if x > 0]
    first = max(_LOWEST, min(-3, *(math.ceil(math.log2(x)) - 1 for x in marks)))
    return FrocPlot(
        lines=tuple(
            FrocLine(
                identity=one.identity,
                path=_steps(one.curve, first),
                band=_band(one.band, first),
                x=across(one.point[0], first) if one.point else None,
                y=round(100 * (1 - one.point[1]), 3) if one.point else None,
                text=one.text,
            )
            for one in curves
        ),
        x_ticks=tuple(
            Tick(at=across(2.0**k, first), label=str(2**k) if k >= 0 else f"1/{2**-k}")
            for k in range(first, HIGHEST + 1)
        ),
        y_ticks=PERCENT_UP,
        budget=across(budget, first) if budget > 0 else None,
        one_false_alarm=across(1 / max(images, 1), first),
        first=first,
    )


def across(fppi: float, first: int) -> float:
    """Percent from the left on an axis from 2 ** `first` to 8 FPPI; what lies outside stands at the edge."""
    exponent = math.log2(fppi) if fppi > 0 else first
    return round(100 * (min(max(exponent, first), HIGHEST) - first) / (HIGHEST - first), 3)


def _steps(curve: Curve, first: int) -> str:
    """Right at the same recall, then up: what a threshold reaches, it keeps; to the right edge at the end.

    Steps go by a thousandth of the plot, so that a curve over 100,000 images stays a short path.
    """
    x, y = 0, 1000
    path = []
    for fppi, recall in zip(curve.fppi, curve.recall, strict=True):
        if fppi > 2**HIGHEST:
            break
        right, up = round(10 * across(fppi, first)), round(1000 * (1 - recall))
        if up == y:
            continue
        if right > x:
            path.append(f"H{right}")
        path.append(f"V{up}")
        x, y = right, up
    return f"M0 1000{''.join(path)}H1000"


def _band(band: FrocBand | None, first: int) -> str:
    """Along the lower ends of the intervals, and back along the upper ones."""
    if band is None or not band.fppi:
        return ""
    places = [round(10 * across(fppi, first)) for fppi in band.fppi]
    below = [f"{x} {round(1000 * (1 - low))}" for x, low in zip(places, band.low, strict=True)]
    above = [f"{x} {round(1000 * (1 - high))}" for x, high in zip(places, band.high, strict=True)]
    return f"M{'L'.join([*below, *reversed(above)])}Z"
