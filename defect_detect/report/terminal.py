"""The comparison in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from defect_detect.evaluation.comparison import Comparison, Detector
from defect_detect.report import wording
from defect_detect.report.further import further

_ROOM_ACROSS = 118
"""Columns that one detector a line needs; with fewer, detectors stand side by side."""
_HEADS = ("FN rate", "any class", "FPPI", "escape", "overkill", "AP50", "IoU of hits", "threshold")


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """The verdict's first sentence, the table, the rest of the verdict, the warnings."""
    out = console or Console()
    lead, points = wording.verdict(comparison)
    out.print(Text(lead, style="bold"))
    out.print()
    facts = comparison.dataset
    out.print(
        Text(
            f"{facts.name}, test: {wording.plural(facts.defects.get('test', 0), 'defect')} in "
            f"{wording.plural(facts.images.get('test', 0), 'image')}, {facts.defect_free.get('test', 0):,} defect-free"
        )
    )
    longest = max((len(d.name) for d in comparison.detectors), default=0)
    if out.width >= _ROOM_ACROSS + longest:
        out.print(_detector_a_line(comparison.detectors))
    else:
        out.print(_side_by_side(comparison.detectors))
    out.print(Text(f"{wording.judged_at(comparison)}; brackets: 95 % intervals", style="dim"))
    for line in further(comparison):
        out.print(Text(line))
    _list(out, points, "-", "")
    _list(out, comparison.warnings, "!", "yellow")


def _list(out: Console, lines: Sequence[str], bullet: str, style: str) -> None:
    if lines:
        out.print()
    for line in lines:
        out.print(Text(f"{bullet} {line}", style=style))


def _detector_a_line(detectors: Sequence[Detector]) -> Table:
    table = Table(show_lines=True)
    table.add_column("detector", overflow="fold")
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=head != "threshold")
    for detector in detectors:
        table.add_row(_name(detector), *(Text(cell.replace(" (", "\n").replace(")", "")) for cell in _cells(detector)))
    return table


def _side_by_side(detectors: Sequence[Detector]) -> Table:
    table = Table()
    table.add_column("")
    for detector in detectors:
        table.add_column(_name(detector), justify="right", overflow="fold")
    for head, *cells in zip(_HEADS, *map(_cells, detectors), strict=True):
        table.add_row(Text(head), *map(Text, cells))
    return table


def _name(detector: Detector) -> Text:
    name = Text(detector.name, style="bold")
    for flag in wording.flags(detector):
        name.append(f"\n{flag}", style="yellow")
    return name


def _cells(detector: Detector) -> tuple[str, ...]:
    """The figures under `_HEADS`."""
    test, located = detector.test, detector.localization
    interval = wording.best_interval(test.fn_rate)
    return (
        wording.share(test.fn_rate.rate) + (f"\n[{wording.percent_interval(interval)}]" if interval else ""),
        wording.share(test.fn_rate_any_class.rate),
        wording.per_image(test.fppi.rate),
        wording.share(test.escape_rate.rate),
        wording.share(test.overkill_rate.rate),
        wording.number(detector.box_ap.ap50),
        f"{wording.number(located.iou_mean, 2)} ({wording.plural(located.hits, 'hit')})",
        wording.thresholds(detector),
    )
