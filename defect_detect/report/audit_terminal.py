"""The audit in the terminal: a few lines to read before a training starts."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from defect_detect.data.audited import Audit
from defect_detect.report import wording


def print_audit(found: Audit, console: Console) -> None:
    """Defects by class and split, how small they are for each detector, and the warnings."""
    if len(found.classes) <= _MOST_CLASSES:
        console.print(_classes(found))
    if found.shown:
        console.print(_shown(found))
    for warning in found.warnings:
        console.print(Text(f"! {warning}", style="yellow"))


_MOST_CLASSES = 20


def _classes(found: Audit) -> Table:
    splits = [one.split for one in found.splits]
    few = {one.category: one.verdict for one in found.precision}
    table = Table("class", *splits, "median sides")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in found.classes:
        counts = [f"{there.defects:,}" for there in one.splits]
        if counts and few.get(one.name) == "too few":
            counts[-1] += " (few)"
        sides = wording.NOTHING
        if one.long_side is not None and one.short_side is not None:
            sides = f"{one.long_side.median:.3g} x {one.short_side.median:.3g} px"
        table.add_row(Text(one.name), *counts, sides)
    free = [f"{one.defect_free:,} of {one.images:,}" for one in found.splits]
    table.add_section()
    table.add_row("defect-free images", *free, "")
    return table


def _shown(found: Audit) -> Table:
    limits = list(found.shown[0].under)
    table = Table("detector", "pictures", "stride", *(f"< {limit} px" for limit in limits))
    for column in table.columns[2:]:
        column.justify = "right"
    for one in found.shown:
        under = [
            wording.percent(one.under[limit] / one.defects) if one.defects else wording.NOTHING for limit in limits
        ]
        table.add_row(Text(one.detector), one.resizing, f"{one.stride:g}" if one.stride else wording.NOTHING, *under)
    return table
