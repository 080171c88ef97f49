"""How well hits are placed: each detector's own hits, and the shares placed at least so well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison, Localization
from defect_detect.report.charts.histogram import Histogram, histograms, start_of
from defect_detect.report.charts.square import SquarePlot, square
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The distributions of IoU (None where there are none), and localization by class and size.

    slices  what by, the value, and each detector's localization there (None: it has none)
    """

    at_least: SquarePlot | None
    histograms: tuple[Histogram, ...]
    slices: tuple[tuple[str, str, tuple[tuple[Identity, Localization | None], ...]], ...]


def placement(comparison: Comparison, looks: Mapping[str, Identity]) -> Placement:
    """Over each detector's own hits."""
    binned = [(looks[d.name], d.localization) for d in comparison.detectors if sum(d.localization.iou_histogram)]
    start = start_of([located.iou_histogram for _, located in binned])
    return Placement(
        at_least=square([(look, _at_least(located.iou_histogram)) for look, located in binned], start=start)
        if binned
        else None,
        histograms=tuple(
            histograms(
                [(look, located.iou_histogram, located.iou_median) for look, located in binned], start=start, name="IoU"
            )
        ),
        slices=_slices(comparison, looks),
    )


def _at_least(bins: list[int]) -> list[tuple[float, float, str]]:
    """The share of hits with at least the IoU, exact where bins begin."""
    of = sum(bins)
    return [(k / len(bins), sum(bins[k:]) / of, "") for k in range(len(bins) + 1)]


def _slices(
    comparison: Comparison, looks: Mapping[str, Identity]
) -> tuple[tuple[str, str, tuple[tuple[Identity, Localization | None], ...]], ...]:
    found: dict[tuple[str, str], dict[str, Localization]] = {}
    for d in comparison.detectors:
        for part in d.localization_slices:
            found.setdefault((part.by, part.value), {})[d.name] = part.localization
    return tuple(
        (by, value, tuple((look, of.get(name)) for name, look in looks.items())) for (by, value), of in found.items()
    )
