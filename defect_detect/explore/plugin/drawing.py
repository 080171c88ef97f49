"""The panel as its state says: settings, figures, and the open tab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone.operators import types

from defect_detect.errors import DefectDetectError
from defect_detect.explore import columns
from defect_detect.explore.names import NAMESPACE
from defect_detect.explore.plugin import decided, layout, listed, remembered, sheets
from defect_detect.explore.plugin.asked import asked, in_words
from defect_detect.explore.plugin.context import folder_of, wanted
from defect_detect.explore.plugin.shown import Shown, show
from defect_detect.report import wording

QUESTIONS = {
    "show_misses": "show misses of ...", "compare_two": "compare two detectors",
    "export_coco": "export this view as COCO",
}  # fmt: skip
"""Operators that the panel opens with its own settings."""


def draw(ctx: Any, on: Any) -> Any:
    """The whole panel; `on` is the panel, with a method for everything that can be clicked."""
    panel = types.Object()
    folder = folder_of(ctx)
    if folder is None:
        panel.md("This dataset is no comparison. `python tools/explore.py COMPARISON` opens one.", name="none")
        return types.Property(panel)
    try:
        held, now = columns.load(folder), wanted(ctx, folder)
    except DefectDetectError as error:
        panel.md(f"**The comparison can't be read.**\n\n{error}", name="broken")
        return types.Property(panel)
    layout.settings(panel, held, now, on.changed)
    try:
        shown = show(folder, now)
    except DefectDetectError as error:
        panel.md(f"**This can't be had.**\n\n{error}", name="broken")
        return types.Property(panel)
    _sheet(ctx, panel, "figures", sheets.figures(shown), on.clicked_figures)
    written = _written(ctx.dataset, shown)
    panel.md(_note(shown, written), name="note")
    if written is not None and len(shown.entrants) == len(held.names) and not now.corrected:
        layout.buttons(panel, "written", [
            ("recompute", "recompute the dataset at this threshold", on.recompute, {}),
        ])  # fmt: skip
    layout.tabs(panel, on.changed)
    tab = str(remembered.state(ctx).get("tab") or "agreement")
    if tab == "agreement":
        _sheet(ctx, panel, "agreement", sheets.agreement(shown), on.clicked_agreement)
    elif tab == "parts":
        _sheet(ctx, panel, "parts", sheets.by_part(shown), on.clicked_parts, cell=True)
    elif tab == "reasons":
        _sheet(ctx, panel, "reasons", sheets.by_reason(shown), on.clicked_reasons, cell=True)
    elif tab == "misses":
        _list(ctx, panel, shown, on)
    else:
        _review(ctx, panel, folder, on)
    layout.buttons(panel, "questions", [
        (name, label, on.asked_more, {"question": name}) for name, label in QUESTIONS.items()
    ])  # fmt: skip
    view = types.GridView(orientation="vertical", gap=1, componentsProps={"container": {"sx": {"p": 2}}})
    return types.Property(panel, view=view)


def _sheet(ctx: Any, panel: Any, name: str, sheet: sheets.Sheet, clicked: Any, *, cell: bool = False) -> None:
    # The App merges lists by place: under one name, rows of a longer table would stay below a shorter one.
    sized = f"{name}_{len(sheet.rows)}"
    layout.table(panel, sized, sheet, clicked, cell=cell)
    ctx.panel.set_data(sized, layout.data(sheet))


def _list(ctx: Any, panel: Any, shown: Shown, on: Any) -> None:
    layout.listing(panel, listed.kinds(shown), on.changed)
    page = listed.page(shown, remembered.state(ctx))
    _sheet(ctx, panel, "misses", page.sheet, on.clicked_miss, cell=True)
    end = page.start + len(page.ids)
    panel.md(f"{min(page.start + 1, end):,} to {end:,} of {page.total:,}", name="where")
    number = page.start // listed.ROWS
    layout.buttons(panel, "pages", [
        ("before", "before", on.turned, {"to": max(number - 1, 0)}),
        ("next", "next", on.turned, {"to": number + 1 if end < page.total else number}),
        ("open_all", f"open all {page.total:,}", on.open_listed, {}),
    ])  # fmt: skip


def _review(ctx: Any, panel: Any, folder: Path, on: Any) -> None:
    words = decided.words(ctx.dataset)
    panel.md(
        "Select labels in the pictures (or patches), then say what they are. Decisions are kept at once, in "
        f"`{decided.FILE}` beside the comparison.\n\n" + (words or "Nothing is decided yet."),
        name="decided",
    )
    layout.decisions(panel, on.marked)
    corrected = bool(remembered.state(ctx).get("corrected"))
    layout.buttons(panel, "reviewing", [
        ("undo", "take a decision away", on.marked, {"decision": "none"}),
        ("sample", "random sample of hits", on.sample, {}),
        (
            "corrected", "figures on labels as they are" if corrected else "figures on corrected labels",
            on.corrected, {},
        ),
    ])  # fmt: skip
    panel.md(decided.how_to(folder), name="how_to")


def _written(dataset: Any, shown: Shown) -> str | None:
    """The operating point of what the dataset holds, where the panel shows another."""
    written = dataset.info[NAMESPACE].get("operating") or in_words(asked({}, shown.held), shown.held)
    return None if written == in_words(shown.asked, shown.held) else str(written)


def _note(shown: Shown, written: str | None) -> str:
    truth, now = shown.held.truth, shown.asked
    defects = int(truth.defects.counts.sum())
    text = (
        f"{wording.plural(len(truth.images), 'picture')}, {wording.plural(defects, 'defect')} of {truth.split}. "
        "In brackets: 95 % intervals, this threshold staying."
    )
    if sheets.seeded(shown):
        text += (
            " **Rates are means over a detector's seeds. What is counted, and what a click opens, are the "
            "defects that most of its seeds miss** (more than half of them)."
        )
    if now.corrected:
        text += " **Labels as the marks correct them.**"
    if written is not None:
        text += f" Colours, saved views and evaluations are those at {written}."
    return text + "".join(f"\n\n**{name}:** {reason}" for name, reason in shown.why.items())
