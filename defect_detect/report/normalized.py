"""What normalization made of an input, or why it refused it, as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from defect_detect.data.normalize import Normalized
from defect_detect.data.repairs import Refused, Repair, summary


def print_normalized(made: Normalized, console: Console) -> None:
    """Counts in and kept, by split, and every kind of repair with an example."""
    content = made.content
    counts = Table(
        "", "in", "kept", "of these repaired", "merged", "left out", title=Text(str(made.root)), title_justify="left"
    )
    for name, tally in (("images", content.images), ("annotations", content.annotations)):
        numbers = (tally.given, tally.kept, tally.repaired, tally.merged, tally.quarantined)
        counts.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(counts)
    splits = Table("split", "images", "defect-free", "defects", "defects left out")
    for name, split in content.splits.items():
        row = (split.images, split.defect_free, split.defects, split.quarantined_defects)
        splits.add_row(name, *(f"{number:,}" for number in row))
    console.print(splits)
    if made.repairs:
        _rules(made.repairs, console)
        _say(console, f"Each one is a line of {made.root / 'repairs.jsonl'}.")
    regions = "masks" if content.regions else "boxes only"
    _say(console, f"{len(content.categories)} classes, {regions}." + (" It was there already." if made.reused else ""))
    if content.annotations.quarantined:
        _say(console, f"Note: annotations left out, never judged: {content.annotations.quarantined:,}.")


def print_refused(error: Refused, console: Console) -> None:
    """What else was seen in an input that is refused; its faults are the error's own."""
    if error.repairs:
        _say(console, "Refused, nothing was written. This was seen too:")
        _rules(error.repairs, console)


def _rules(repairs: Iterable[Repair], console: Console) -> None:
    rules = Table("what", "rule", "times", "for example")
    for action, what, times, example in summary(repairs):
        # Names of the user's files may hold what rich takes for markup.
        rules.add_row(action, Text(what), f"{times:,}", Text(example))
    console.print(rules)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
