"""The Missed defects panel, and what happens when something in it is clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators.categories import Categories

from defect_detect.errors import DefectDetectError
from defect_detect.evaluation.review import DECISIONS
from defect_detect.explore import selected
from defect_detect.explore.names import PLUGIN
from defect_detect.explore.plugin import decided, drawing, listed, opening, recomputed, remembered, sheets
from defect_detect.explore.plugin.context import folder_of, wanted
from defect_detect.explore.plugin.labels import chosen
from defect_detect.explore.plugin.sheets import Click, Sheet
from defect_detect.explore.plugin.shown import Shown, show
from defect_detect.report import wording

NAME = "missed_defects"


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
        self._open(ctx, sheets.figures)

    def clicked_agreement(self, ctx: Any) -> None:
        """Open the defects that exactly these detectors miss."""
        self._open(ctx, sheets.agreement)

    def clicked_parts(self, ctx: Any) -> None:
        """Open what is missed of a class, size or attribute."""
        self._open(ctx, sheets.by_part)

    def clicked_reasons(self, ctx: Any) -> None:
        """Open what is missed for a reason."""
        self._open(ctx, sheets.by_reason)

    def clicked_miss(self, ctx: Any) -> None:
        """Open one miss, or sort by the heading that was clicked."""
        shown, row, state = self._shown(ctx), int(ctx.params["row"]), remembered.state(ctx)
        if shown is None:
            return
        if row < 0:
            remembered.put(ctx, "listing.order", listed.turned(int(ctx.params.get("column", 0)), state.get("order")))
            remembered.put(ctx, "page", 0)
            return
        ids = listed.page(shown, state).ids
        if row < len(ids):
            ctx.ops.set_view(opening.patches(ctx.dataset, [ids[row]]))

    def open_listed(self, ctx: Any) -> None:
        """Open all defects of the list."""
        shown = self._shown(ctx)
        if shown is not None:
            self._show(ctx, shown, listed.listed(shown, remembered.state(ctx)))

    def turned(self, ctx: Any) -> None:
        """Another page of the list."""
        remembered.put(ctx, "page", max(int(ctx.params["to"]), 0))

    def asked_more(self, ctx: Any) -> None:
        """Open an operator's form; FiftyOne hands it the panel's state."""
        ctx.prompt(f"{PLUGIN}/{ctx.params['question']}")

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
            drawn = drawing.draw(ctx, self)
            if remembered.state(ctx) == before:
                return drawn

    def _shown(self, ctx: Any) -> Shown | None:
        folder = folder_of(ctx)
        if folder is None:
            return None
        try:
            return show(folder, wanted(ctx, folder))
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return None

    def _open(self, ctx: Any, sheet: Callable[[Shown], Sheet]) -> None:
        shown, row = self._shown(ctx), int(ctx.params["row"])
        if shown is None or row < 0:
            return
        click = sheet(shown).clicked(row, int(ctx.params.get("column", 0)))
        if click is not None:
            self._show(ctx, shown, click)

    def _show(self, ctx: Any, shown: Shown, click: Click) -> None:
        ids = selected.label_ids(shown.held, click.where)
        if not ids:
            ctx.ops.notify(f"No defect: {click.title}.", variant="info")
            return
        ctx.ops.set_view(opening.patches(ctx.dataset, ids))
        ctx.ops.notify(f"{wording.plural(len(ids), 'defect')}: {click.title}", variant="info")
