"""The Missed defects panel."""

from __future__ import annotations

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
from defect_detect.explore.plugin import decided, layout, opening, recomputed, remembered, sheets
from defect_detect.explore.plugin.asked import asked
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
        remembered.begin(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        """Forget what was set for another comparison."""
        ctx.panel.state.clear()

    def changed(self, ctx: Any) -> None:
        """A setting was changed."""
        path, value = ctx.params.get("path"), ctx.params.get("value")
        if path:
            remembered.put(ctx, str(path), value, told=True)
        if path != "tab":
            remembered.put(ctx, "page", 0)

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
            before = remembered.state(ctx).get("order")
            flipped = {"size-": "size+", "score-": "score+"}.get(order, order)
            remembered.put(ctx, "listing.order", flipped if order == before else order)
            return
        _, _, ids = self._page(ctx, shown)
        if row < len(ids):
            ctx.ops.set_view(opening.patches(ctx.dataset, [ids[row]]))

    def open_listed(self, ctx: Any) -> None:
        """Open all defects of the list."""
        shown = self._shown(ctx)
        if shown is not None:
            which = str(remembered.state(ctx).get("which") or "any")
            self._show(ctx, shown, Click(title=_kinds(shown)[which], where=_where(shown, which)))

    def turned(self, ctx: Any) -> None:
        """Another page of the list."""
        page = int(remembered.state(ctx).get("page") or 0)
        remembered.put(ctx, "page", max(page + int(ctx.params["by"]), 0))

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

    def recompute(self, ctx: Any) -> None:
        """Write the fates at this operating point into the dataset."""
        shown = self._shown(ctx)
        if shown is None:
            return
        try:
            ctx.ops.notify(recomputed.recompute(ctx.dataset, shown), variant="success")
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return
        ctx.ops.reload_dataset()

    def corrected(self, ctx: Any) -> None:
        """Take the labels as the marks correct them, or as they are."""
        remembered.put(ctx, "corrected", not remembered.state(ctx).get("corrected"))

    def render(self, ctx: Any) -> Any:
        """The panel as its state says; made again where something was set meanwhile."""
        while True:
            before = remembered.state(ctx)
            drawn = self._drawn(ctx)
            if remembered.state(ctx) == before:
                return drawn

    def _drawn(self, ctx: Any) -> Any:
        panel = types.Object()
        folder = folder_of(ctx)
        if folder is None:
            panel.md("This dataset is no comparison. `python tools/explore.py COMPARISON` opens one.", name="none")
            return types.Property(panel)
        try:
            held = columns.load(folder)
            wanted = asked(remembered.state(ctx), held)
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
        written = _written(ctx.dataset, shown)
        panel.md(_note(shown, written), name="note")
        if written is not None and len(shown.entrants) == len(held.names) and not wanted.corrected:
            layout.buttons(panel, "written", [
                ("recompute", "recompute the dataset at this threshold", self.recompute, {}),
            ])  # fmt: skip
        tab = str(remembered.state(ctx).get("tab") or "agreement")
        layout.tabs(panel, self.changed)
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
        # The App merges lists by place: under one name, rows of a longer table would stay below a shorter one.
        sized = f"{name}_{len(sheet.rows)}"
        layout.table(panel, sized, sheet, clicked, cell=cell)
        ctx.panel.set_data(sized, layout.data(sheet))

    def _list(self, ctx: Any, panel: Any, shown: Shown) -> None:
        layout.listing(panel, _kinds(shown), self.changed)
        sheet, total, _ = self._page(ctx, shown)
        self._sheet(ctx, panel, "misses", sheet, self.clicked_miss, cell=True)
        first = int(remembered.state(ctx).get("page") or 0) * PAGE
        panel.md(f"{min(first + 1, total):,} to {min(first + PAGE, total):,} of {total:,}", name="where")
        layout.buttons(panel, "pages", [
            ("before", "before", self.turned, {"by": -1}),
            ("next", "next", self.turned, {"by": 1 if first + PAGE < total else 0}),
            ("open_all", f"open all {total:,}", self.open_listed, {}),
        ])  # fmt: skip

    def _page(self, ctx: Any, shown: Shown) -> tuple[sheets.Sheet, int, list[str]]:
        state = remembered.state(ctx)
        order = str(state.get("order") or "size-")
        where = _where(shown, str(state.get("which") or "any"))
        start = int(remembered.state(ctx).get("page") or 0) * PAGE
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
        on = bool(remembered.state(ctx).get("corrected"))
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
            return show(folder, asked(remembered.state(ctx), columns.load(folder)))
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


def _written(dataset: Any, shown: Shown) -> str | None:
    """The operating point of what the dataset holds, where the panel shows another."""
    written = dataset.info[NAMESPACE].get("operating") or recomputed.said_of(asked({}, shown.held), shown.held)
    return None if written == recomputed.said_of(shown.asked, shown.held) else str(written)


def _note(shown: Shown, written: str | None) -> str:
    truth, wanted = shown.held.truth, shown.asked
    defects = int(truth.defects.counts.sum())
    text = (
        f"{wording.plural(len(truth.images), 'picture')}, {wording.plural(defects, 'defect')} of {truth.split}. "
        "In brackets: 95 % intervals, this threshold staying."
    )
    if wanted.corrected:
        text += " **Labels as the marks correct them.**"
    if written is not None:
        text += f" Colours, saved views and evaluations are those at {written}."
    return text + "".join(f"\n\n**{name}:** {reason}" for name, reason in shown.why.items())
