"""The Missed defects panel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
import numpy as np
from fiftyone.operators import types
from fiftyone.operators.categories import Categories

from defect_detect.errors import DefectDetectError
from defect_detect.evaluation.review import DECISIONS
from defect_detect.explore import columns, selected
from defect_detect.explore.names import NAMESPACE
from defect_detect.explore.plugin import decided, layout, opening, sheets
from defect_detect.explore.plugin.asked import STORED, asked
from defect_detect.explore.plugin.labels import chosen
from defect_detect.explore.plugin.sheets import Click
from defect_detect.explore.plugin.shown import Shown, show
from defect_detect.report import wording
from defect_detect.tables import Bools

NAME = "missed_defects"
PAGE = 20


class MissedDefects(foo.Panel):  # type: ignore[misc]  # FiftyOne has no types
    """What each detector misses at an operating point, and which defects these are."""

    @property
    def config(self) -> Any:
        """Its name and where it may open."""
        return foo.PanelConfig(
            name=NAME, label="Missed defects", icon="troubleshoot", surfaces="grid", category=Categories.ANALYZE,
            help_markdown="Drag the threshold, click on a number: the defects behind it open as patches.",
        )  # fmt: skip

    def on_load(self, ctx: Any) -> None:
        """Start with the comparison's own operating point; bring marks back into a dataset that was written anew."""
        folder = folder_of(ctx)
        if folder is not None:
            try:
                decided.restore(ctx.dataset, folder)
            except DefectDetectError as error:
                ctx.ops.notify(str(error), variant="error")
        if ctx.panel.get_state("tab") is None:
            ctx.panel.set_state("tab", "agreement")

    def on_change_dataset(self, ctx: Any) -> None:
        """Forget what was set for another comparison."""
        ctx.panel.state.clear()

    def changed(self, ctx: Any) -> None:
        """A setting was changed."""
        path, value = ctx.params.get("path"), ctx.params.get("value")
        if path:
            ctx.panel.set_state(str(path).removeprefix("state."), value)
        ctx.panel.set_state("page", 0)

    def clicked_figures(self, ctx: Any) -> None:
        """Open what a detector misses."""
        self._open(ctx, "figures")

    def clicked_agreement(self, ctx: Any) -> None:
        """Open the defects that exactly these detectors miss."""
        self._open(ctx, "agreement")

    def clicked_parts(self, ctx: Any) -> None:
        """Open what is missed of a class, size or attribute."""
        self._open(ctx, "parts")

    def clicked_reasons(self, ctx: Any) -> None:
        """Open what is missed for a reason."""
        self._open(ctx, "reasons")

    def clicked_miss(self, ctx: Any) -> None:
        """Open one miss, or sort by the heading that was clicked."""
        shown, row = self._shown(ctx), int(ctx.params["row"])
        if shown is None:
            return
        if row < 0:
            order = ("class+", "size-", "score-")[min(int(ctx.params.get("column", 0)), 2)]
            before = ctx.panel.get_state("listing.order")
            flipped = {"size-": "size+", "score-": "score+"}.get(order, order)
            ctx.panel.set_state("listing.order", flipped if order == before else order)
            return
        _, _, ids = self._page(ctx, shown)
        if row < len(ids):
            ctx.ops.set_view(opening.patches(ctx.dataset, [ids[row]]))

    def open_listed(self, ctx: Any) -> None:
        """Open all defects of the list."""
        shown = self._shown(ctx)
        if shown is not None:
            which = str(ctx.panel.get_state("listing.which") or "any")
            self._show(ctx, shown, Click(title=_kinds(shown)[which], where=_where(shown, which)))

    def turned(self, ctx: Any) -> None:
        """Another page of the list."""
        page = int(ctx.panel.get_state("page") or 0)
        ctx.panel.set_state("page", max(page + int(ctx.params["by"]), 0))

    def all_pictures(self, ctx: Any) -> None:
        """Back to all pictures."""
        ctx.ops.clear_view()

    def marked(self, ctx: Any) -> None:
        """Give the selected labels a decision."""
        folder = folder_of(ctx)
        if folder is None:
            return
        labels = chosen(ctx)
        if not labels:
            ctx.ops.notify(
                "Select labels first: a patch by its corner, or a box in an open picture.", variant="warning"
            )
            return
        word = str(ctx.params["decision"])
        try:
            told = decided.decide(ctx.dataset, folder, labels, word if word in DECISIONS else None)
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return
        ctx.ops.notify(told, variant="success")
        ctx.ops.clear_selected_labels()
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_dataset()

    def sample(self, ctx: Any) -> None:
        """Open a random sample of the hits, so that not only misses are looked at."""
        folder = folder_of(ctx)
        if folder is not None:
            ctx.ops.set_view(opening.patches(ctx.dataset, decided.sample(folder)))

    def corrected(self, ctx: Any) -> None:
        """Take the labels as the marks correct them, or as they are."""
        ctx.panel.set_state("corrected", not ctx.panel.get_state("corrected"))

    def render(self, ctx: Any) -> Any:
        """The panel as its state says."""
        panel = types.Object()
        folder = folder_of(ctx)
        if folder is None:
            panel.md("This dataset is no comparison. `python tools/explore.py COMPARISON` opens one.", name="none")
            return types.Property(panel)
        try:
            held = columns.load(folder)
            wanted = asked(_state(ctx), held)
        except DefectDetectError as error:
            panel.md(f"**The comparison can't be read.**\n\n{error}", name="broken")
            return types.Property(panel)
        layout.settings(panel, held, wanted, self.changed)
        try:
            shown = show(folder, wanted)
        except DefectDetectError as error:
            panel.md(f"**This can't be had.**\n\n{error}", name="broken")
            return types.Property(panel)
        self._sheet(ctx, panel, "figures", sheets.figures(shown), self.clicked_figures)
        panel.md(_note(shown), name="note")
        tab = str(ctx.panel.get_state("tab") or "agreement")
        layout.tabs(panel, tab, self.changed)
        if tab == "agreement":
            self._sheet(ctx, panel, "agreement", sheets.agreement(shown), self.clicked_agreement)
        elif tab == "parts":
            self._sheet(ctx, panel, "parts", sheets.by_part(shown), self.clicked_parts, cell=True)
        elif tab == "reasons":
            self._sheet(ctx, panel, "reasons", sheets.by_reason(shown), self.clicked_reasons, cell=True)
        elif tab == "misses":
            self._list(ctx, panel, shown)
        else:
            self._review(ctx, panel, folder)
        view = types.GridView(orientation="vertical", gap=1, componentsProps={"container": {"sx": {"p": 2}}})
        return types.Property(panel, view=view)

    def _sheet(self, ctx: Any, panel: Any, name: str, sheet: sheets.Sheet, clicked: Any, *, cell: bool = False) -> None:
        layout.table(panel, name, sheet, clicked, cell=cell)
        ctx.panel.set_data(name, layout.data(sheet))

    def _list(self, ctx: Any, panel: Any, shown: Shown) -> None:
        which, order = str(_state(ctx).get("which") or "any"), str(_state(ctx).get("order") or "size-")
        layout.listing(panel, _kinds(shown), which, order, self.changed)
        sheet, total, _ = self._page(ctx, shown)
        self._sheet(ctx, panel, "misses", sheet, self.clicked_miss, cell=True)
        first = int(ctx.panel.get_state("page") or 0) * PAGE
        panel.md(f"{min(first + 1, total):,} to {min(first + PAGE, total):,} of {total:,}", name="where")
        layout.buttons(panel, "pages", [
            ("before", "before", self.turned, {"by": -1}),
            ("next", "next", self.turned, {"by": 1 if first + PAGE < total else 0}),
            ("open_all", f"open all {total:,}", self.open_listed, {}),
        ])  # fmt: skip

    def _page(self, ctx: Any, shown: Shown) -> tuple[sheets.Sheet, int, list[str]]:
        state = _state(ctx)
        order = str(state.get("order") or "size-")
        where = _where(shown, str(state.get("which") or "any"))
        start = int(ctx.panel.get_state("page") or 0) * PAGE
        sheet, ids = sheets.misses(shown, where, by=order[:-1], descending=order[-1] == "-", start=start, most=PAGE)
        return sheet, int(where.sum()), ids

    def _review(self, ctx: Any, panel: Any, folder: Path) -> None:
        words = decided.words(ctx.dataset)
        panel.md(
            "Select labels in the pictures (or patches), then say what they are. Decisions are kept at once, in "
            f"`{decided.FILE}` beside the comparison.\n\n" + (words or "Nothing is decided yet."),
            name="decided",
        )
        layout.decisions(panel, self.marked)
        on = bool(ctx.panel.get_state("corrected"))
        layout.buttons(panel, "reviewing", [
            ("undo", "take a decision away", self.marked, {"decision": "none"}),
            ("sample", "random sample of hits", self.sample, {}),
            ("corrected", "figures on labels as they are" if on else "figures on corrected labels", self.corrected, {}),
        ])  # fmt: skip
        panel.md(decided.how_to(folder), name="how_to")

    def _shown(self, ctx: Any) -> Shown | None:
        folder = folder_of(ctx)
        if folder is None:
            return None
        try:
            return show(folder, asked(_state(ctx), columns.load(folder)))
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return None

    def _open(self, ctx: Any, name: str) -> None:
        shown, row = self._shown(ctx), int(ctx.params["row"])
        if shown is None or row < 0:
            return
        sheet = {"figures": sheets.figures, "agreement": sheets.agreement, "parts": sheets.by_part,
                 "reasons": sheets.by_reason}[name](shown)  # fmt: skip
        click = sheet.clicked(row, int(ctx.params.get("column", 0)))
        if click is not None:
            self._show(ctx, shown, click)

    def _show(self, ctx: Any, shown: Shown, click: Click) -> None:
        ids = selected.label_ids(shown.held, click.where)
        if not ids:
            ctx.ops.notify(f"No defect: {click.title}.", variant="info")
            return
        ctx.ops.set_view(opening.patches(ctx.dataset, ids))
        ctx.ops.notify(f"{wording.plural(len(ids), 'defect')}: {click.title}", variant="info")


def folder_of(ctx: Any) -> Path | None:
    """The comparison's folder, where the dataset is one of a comparison."""
    if ctx.dataset is None:
        return None
    info = ctx.dataset.info.get(NAMESPACE)
    return Path(info["folder"]) if isinstance(info, dict) and "folder" in info else None


def _state(ctx: Any) -> Mapping[str, Any]:
    """The panel's state, with the groups that the layout makes of it taken apart."""
    state = dict(ctx.panel_state or {})
    return state | dict(state.get("settings") or {}) | dict(state.get("listing") or {})


def _kinds(shown: Shown) -> dict[str, str]:
    names = [one.name for one in shown.entrants]
    known = {"any": "missed by some detector"}
    if len(names) > 1:
        known |= {"all": "missed by all", **{f"only {name}": f"missed only by {name}" for name in names}}
    return known | {f"by {name}": f"missed by {name}" for name in names}


def _where(shown: Shown, which: str) -> Bools:
    missed = selected.missed(shown.entrants)
    kind, _, name = which.partition(" ")
    if kind == "only" and name in missed:
        return selected.subset(shown.entrants, [name])
    if kind == "by" and name in missed:
        return missed[name]
    put = np.all if kind == "all" else np.any
    return np.asarray(put(list(missed.values()), axis=0))


def _note(shown: Shown) -> str:
    truth, wanted = shown.held.truth, shown.asked
    defects = int(truth.defects.counts.sum())
    text = (
        f"{wording.plural(len(truth.images), 'picture')}, {wording.plural(defects, 'defect')} of {truth.split}. "
        "In brackets: 95 % intervals, this threshold staying."
    )
    if wanted.corrected:
        text += " **Labels as the marks correct them.**"
    if wanted.operating != STORED:
        text += " The colours in the pictures stay those of the comparison's operating point."
    return text + "".join(f"\n\n**{name}:** {reason}" for name, reason in shown.why.items())
