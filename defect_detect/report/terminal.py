"""The comparison in the terminal."""

from __future__ import annotations

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from defect_detect.evaluation.comparison import Comparison, Detector, Estimate
from defect_detect.report import wording


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Verdict, table, pairs and warnings, in that order."""
    out = console or Console()
    out.print(Text(comparison.verdict, style="bold"))
    out.print()
    out.print(_table(comparison))
    if comparison.pairs:
        out.print()
    for pair in comparison.pairs:
        out.print(Text(f"- {pair.sentence}"))
    if comparison.warnings:
        out.print()
    for warning in comparison.warnings:
        out.print(Text(f"! {warning}", style="yellow"))


def _table(comparison: Comparison) -> Table:
    facts = comparison.dataset
    title = (
        f"{facts.name} test: {wording.plural(facts.defects.get('test', 0), 'defect')} in "
        f"{wording.plural(facts.images.get('test', 0), 'image')}, {facts.defect_free.get('test', 0):,} defect-free"
    )
    table = Table(
        title=escape(title), caption=escape(f"{wording.judged_at(comparison)}; brackets: 95 % intervals"),
        title_justify="left", caption_justify="left", show_lines=True,
    )  # fmt: skip
    table.add_column("detector", overflow="fold")
    heads = ("FN rate", "any class", "FPPI", "escape", "overkill", "AP50", "IoU of hits", "threshold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=head != "threshold")
    for detector in comparison.detectors:
        table.add_row(*_cells(detector))
    return table


def _cells(detector: Detector) -> tuple[Text | Group, ...]:
    test, flags = detector.test, wording.flags(detector)
    name = Group(Text(detector.name, style="bold"), *(Text(flag, style="yellow") for flag in flags))
    fppi = test.fppi.rate
    return (
        name,
        Text(f"{_rate(test.fn_rate)}\n[{wording.percent_interval(wording.best_interval(test.fn_rate))}]"),
        Text(_rate(test.fn_rate_any_class)),
        Text(f"{wording.number(fppi.value)}\n{wording.fraction(fppi)}"),
        Text(_rate(test.escape_rate)),
        Text(_rate(test.overkill_rate)),
        Text(wording.number(detector.box_ap.ap50)),
        Text(f"{wording.number(detector.localization.iou_mean, 2)}\n{detector.localization.hits:,} hits"),
        Text(wording.thresholds(detector)),
    )


def _rate(estimate: Estimate) -> str:
    return f"{wording.percent(estimate.rate.value)}\n{wording.fraction(estimate.rate)}"
