"""Operators that write something: decisions, files, and the dataset at another operating point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defect_detect.evaluation.review import DECISIONS
from defect_detect.explore import columns
from defect_detect.explore.plugin import decided, exported, opening, recomputed
from defect_detect.explore.plugin.asked import SCORE, STORED, asked, offered
from defect_detect.explore.plugin.labels import chosen
from defect_detect.explore.plugin.operator import Operator, pick
from defect_detect.explore.plugin.shown import show
from defect_detect.report import wording


class Mark(Operator):
    """A decision on the selected labels."""

    name_of, label = "mark", "Mark selected labels as ..."
    says = "True miss, label error, borderline, unlabelled defect, true false alarm. Kept at once."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:  # noqa: ARG002 - as the base class has it
        """The decision."""
        count = sum(map(len, chosen(ctx).values()))
        form.md(f"{wording.plural(count, 'label')} selected")
        pick(form, "decision", "They are", [*DECISIONS, "not decided"], DECISIONS[0])

    def do(self, ctx: Any, folder: Path) -> str:
        """Mark them."""
        word = str(ctx.params.get("decision") or DECISIONS[0])
        labels = chosen(ctx)
        if not labels:
            return "No label is selected."
        said = decided.decide(ctx.dataset, folder, labels, word if word in DECISIONS else None)
        ctx.ops.reload_dataset()
        return said


class SampleOfHits(Operator):
    """A random sample of hits, to be looked at like the misses."""

    name_of, label = "sample_of_hits", "Review a random sample of hits"
    says = "Who looks at misses only finds only the label errors that help. Opens the sample as patches."

    def do(self, ctx: Any, folder: Path) -> str:
        """Open it."""
        ids = decided.sample(folder)
        ctx.ops.set_view(opening.patches(ctx.dataset, ids))
        return wording.plural(len(ids), "hit")


class ExportReview(Operator):
    """The decisions as the evaluator's review file."""

    name_of, label = "export_review", "Write the review file"
    says = "All decisions, as evaluate.py --review reads them, beside the comparison."

    def do(self, ctx: Any, folder: Path) -> str:
        """Write it."""
        found = decided.keep(ctx.dataset, folder)
        return f"{wording.plural(len(found.decided), 'decision')} in {folder / decided.FILE}"


class ExportCoco(Operator):
    """The pictures of the view with their labels, as COCO."""

    name_of, label = "export_coco", "Export this view as COCO"
    says = "The pictures of this view with all their labels, as the marks correct them: to relabel or to train with."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:  # noqa: ARG002 - as the base class has it
        """Where to."""
        form.md("Ground truth as the marks correct it: no threshold changes it.", name="at")
        form.str("out", label="File", default=str(exported.free(folder)), required=True)

    def do(self, ctx: Any, folder: Path) -> str:
        """Write it."""
        return exported.export(ctx.view, folder, ctx.params.get("out"))


class Recompute(Operator):
    """Write the fates at another operating point into the dataset."""

    name_of, label = "recompute", "Recompute at this threshold"
    says = "Hits, misses and reasons in the dataset, its saved views and evaluations, at another operating point."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """The operating point."""
        held = columns.load(folder)
        pick(form, "operating", "Operating point", [STORED, SCORE, *offered(held)], SCORE)
        if ctx.params.get("operating", SCORE) == SCORE:
            form.float("score", label="Threshold of all detectors", default=0.5, min=0, max=1)

    def do(self, ctx: Any, folder: Path) -> str:
        """Write them."""
        wanted = asked({"operating": SCORE} | dict(ctx.params), columns.load(folder))
        said = recomputed.recompute(ctx.dataset, show(folder, wanted), lambda part: ctx.set_progress(progress=part))
        ctx.ops.reload_dataset()
        return said


OPERATORS = (Mark, SampleOfHits, ExportReview, ExportCoco, Recompute)
