"""The figures of parts: by class, by size, by whatever attribute defects or pictures have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison, Slice
from defect_detect.report.charts import dots
from defect_detect.report.palette import Identity
from defect_detect.report.sections.rates import percent_tick, value

_FIRST = ("class", "size", "severity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """FN rates as a plot for each way of slicing, and the parts that have more than those.

    rows  what by, the value, the detector and its figures there
    """

    plots: tuple[tuple[str, dots.DotPlot], ...]
    rows: tuple[tuple[str, str, Identity, Slice], ...]


def parts(comparison: Comparison, looks: Mapping[str, Identity]) -> Parts:
    """Detectors side by side: class, size and severity first, then as they come."""
    kinds: dict[str, dict[str, list[tuple[Identity, Slice]]]] = {}
    for d in comparison.detectors:
        for part in d.slices:
            kinds.setdefault(part.by, {}).setdefault(part.value, []).append((looks[d.name], part))
    order = sorted(kinds, key=lambda kind: (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind))
    plots = []
    for by in order:
        rows = [(name, "", [value(look, part.fn_rate) for look, part in found]) for name, found in kinds[by].items()]
        plots.append((by, dots.dot_plot(rows, label=percent_tick)))
    return Parts(
        plots=tuple(plots),
        rows=tuple(
            (by, name, look, part)
            for by in order
            for name, found in kinds[by].items()
            for look, part in found
            if part.fppi or part.escape_rate or part.overkill_rate
        ),
    )
