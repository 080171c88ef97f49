"""Detector against detector: differences with their intervals."""

from __future__ import annotations

from collections.abc import Callable

from defect_detect.evaluation.comparison import Comparison, Difference, Pair
from defect_detect.report import palette, wording
from defect_detect.report.charts import dots


def fn_rate(comparison: Comparison) -> dots.DotPlot:
    """Differences in FN rate, in percentage points."""
    return _plot(comparison, lambda p: p.fn_rate, lambda p: f"{wording.points(p.fn_rate)} points", _points)


def localization(comparison: Comparison) -> dots.DotPlot:
    """Differences in IoU on the defects that both found."""
    return _plot(
        comparison, lambda p: p.localization,
        lambda p: f"{wording.difference(p.localization)}, {wording.plural(p.common_hits, 'common hit')}",
        lambda x: wording.signed(x, 2) if x else "0",
    )  # fmt: skip


def _points(x: float) -> str:
    return wording.signed(100 * x, 0) if x else "0"


def _plot(
    comparison: Comparison, pick: Callable[[Pair], Difference], text: Callable[[Pair], str],
    label: Callable[[float], str],
) -> dots.DotPlot:  # fmt: skip
    rows = []
    for pair in comparison.pairs:
        found = pick(pair)
        dot = dots.Value(identity=palette.NEUTRAL, value=found.value, interval=found.interval, text=text(pair))
        rows.append((f"{pair.a} \u2212 {pair.b}", "", [dot]))
    return dots.dot_plot(rows, label=label)
