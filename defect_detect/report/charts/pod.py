"""Probability of detection against size on a log axis, one panel for each detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Pod
from defect_detect.report import wording
from defect_detect.report.charts.axis import PERCENT_UP, LogAxis, Tick
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A bin of sizes: its ends and middle in percent from the left, the share found from the top."""

    left: float
    x: float
    right: float
    y: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPanel:
    """One detector's curve and bound as SVG paths in 0..1000 x 0..1000, empty where not estimable.

    others          the other detectors' curves, for comparison
    a90, a90_95     percent from the left; None where they are not known
    """

    identity: Identity
    pod: Pod
    path: str
    bound: str
    others: tuple[str, ...]
    observed: tuple[Observed, ...]
    a90: float | None
    a90_95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlot:
    """The panels over one axis of size; without sizes there is no axis and no tick."""

    panels: tuple[PodPanel, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    measure: str
    unit: str


def pod_plot(found: Sequence[tuple[Identity, Pod]]) -> PodPlot:
    """The same measure and unit for all; the axis spans every bin and every curve."""
    sizes = [size for _, pod in found for size in (*pod.size, *(end for b in pod.bins for end in (b.low, b.high)))]
    sizes = [size for size in sizes if size > 0 and math.isfinite(size)]
    axis = LogAxis(low=min(sizes), high=max(sizes)) if sizes and min(sizes) < max(sizes) else None
    paths = [_path(pod.size, pod.pod, axis) if axis else "" for _, pod in found]
    return PodPlot(
        panels=tuple(
            PodPanel(
                identity=identity,
                pod=pod,
                path=paths[row],
                bound=_path(pod.size, pod.low, axis) if axis else "",
                others=tuple(path for other, path in enumerate(paths) if other != row and path),
                observed=_observed(pod, axis) if axis else (),
                a90=_inside(pod.a90, axis),
                a90_95=_inside(pod.a90_95, axis),
            )
            for row, (identity, pod) in enumerate(found)
        ),
        x_ticks=axis.ticks() if axis else (),
        y_ticks=PERCENT_UP,
        measure=found[0][1].measure if found else "",
        unit=found[0][1].unit if found else "",
    )


def _path(size: Sequence[float], share: Sequence[float], axis: LogAxis) -> str:
    if not size or len(size) != len(share):
        return ""
    points = [f"{round(10 * axis.place(a))} {round(1000 * (1 - p))}" for a, p in zip(size, share, strict=True)]
    return f"M{'L'.join(points)}"


def _observed(pod: Pod, axis: LogAxis) -> tuple[Observed, ...]:
    return tuple(
        Observed(
            left=axis.place(one.low),
            x=axis.place(math.sqrt(max(one.low, axis.low) * one.high)),
            right=axis.place(one.high),
            y=round(100 * (1 - one.found.count / one.found.of), 3),
            text=f"{one.low:.3g} to {one.high:.3g} {pod.unit}: found {wording.share(one.found)}",
        )
        for one in pod.bins
        if one.found.of
    )


def _inside(size: float | None, axis: LogAxis | None) -> float | None:
    """None where it lies outside the axis: a mark at the edge would say something else."""
    if size is None or axis is None or not axis.low <= size <= axis.high:
        return None
    return axis.place(size)
