"""Probability of detection by size: the curves over all defects, the table over classes too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison, Pod
from defect_detect.report.charts.pod import PodPlot, pod_plot
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A plot for each way of measuring size, and the rows of the table: detector and POD, class by class."""

    plots: tuple[PodPlot, ...]
    all_defects: tuple[tuple[Identity, Pod], ...]
    by_class: tuple[tuple[str, tuple[tuple[Identity, Pod], ...]], ...]


def detection(comparison: Comparison, looks: Mapping[str, Identity]) -> Detection | None:
    """None where no detector has a POD."""
    whole: dict[tuple[str, str], list[tuple[Identity, Pod]]] = {}
    classes: dict[str, list[tuple[Identity, Pod]]] = {}
    for d in comparison.detectors:
        for pod in d.pod:
            if pod.of == "all":
                whole.setdefault((pod.measure, pod.unit), []).append((looks[d.name], pod))
            else:
                classes.setdefault(pod.of, []).append((looks[d.name], pod))
    if not whole and not classes:
        return None
    return Detection(
        plots=tuple(pod_plot(found) for found in whole.values()),
        all_defects=tuple(row for found in whole.values() for row in found),
        by_class=tuple((name, tuple(found)) for name, found in classes.items()),
    )
