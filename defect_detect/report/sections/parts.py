"""FN rates of parts of the defects: by class, by size, by whatever attribute they have."""

from __future__ import annotations

from collections.abc import Mapping

from defect_detect.evaluation.comparison import Comparison
from defect_detect.report.charts import dots
from defect_detect.report.palette import Identity
from defect_detect.report.sections.rates import percent_tick, value

_FIRST = ("class", "size", "severity")


def parts(comparison: Comparison, looks: Mapping[str, Identity]) -> list[tuple[str, dots.DotPlot]]:
    """A plot for each way of slicing, detectors side by side: class, size and severity first, then as they come."""
    kinds: dict[str, dict[str, list[dots.Value]]] = {}
    for d in comparison.detectors:
        for part in d.slices:
            kinds.setdefault(part.by, {}).setdefault(part.value, []).append(value(looks[d.name], part.fn_rate))
    order = sorted(kinds, key=lambda kind: (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind))
    return [
        (by, dots.dot_plot([(name, "", lanes) for name, lanes in kinds[by].items()], label=percent_tick))
        for by in order
    ]
