"""Operators: the panel's questions and deeds, from FiftyOne's operator browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from defect_detect.errors import DefectDetectError
from defect_detect.evaluation.reasons import REASONS
from defect_detect.evaluation.review import DECISIONS
from defect_detect.evaluation.slices import parts as all_parts
from defect_detect.explore import columns, selected
from defect_detect.explore.plugin import decided, exported, opening, recomputed
from defect_detect.explore.plugin.asked import SCORE, STORED, asked, offered
from defect_detect.explore.plugin.labels import chosen
from defect_detect.explore.plugin.panel import folder_of
from defect_detect.explore.plugin.shown import Shown, show
from defect_detect.report import wording

ANY = "any"
PAIRS = {
    "hit-hit": "both find it", "hit-miss": "the first finds it, the second misses it",
    "miss-hit": "the first misses it, the second finds it", "miss-miss": "both miss it",
}  # fmt: skip


class _Operator(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """One that works on a comparison's dataset, and says its faults as a notice."""

    name_of = ""
    label = ""
    says = ""
    icon = "troubleshoot"

    @property
    def config(self) -> Any:
        """Its name and title."""
        return foo.OperatorConfig(
            name=self.name_of, label=self.label, description=self.says, icon=self.icon, dynamic=True, view_target=False
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Its form."""
        form = types.Object()
        folder = folder_of(ctx)
        if folder is None:
            form.view("none", types.Notice(label="This dataset is no comparison."))
        else:
            self.ask(ctx, form, folder)
        return types.Property(form, view=types.View(label=self.label, description=self.says))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """What it does; what came of it as `said`."""
        folder = folder_of(ctx)
        if folder is None:
            return {"said": "This dataset is no comparison."}
        try:
            said = self.do(ctx, folder)
        except DefectDetectError as error:
            ctx.ops.notify(str(error), variant="error")
            return {"said": str(error)}
        ctx.ops.notify(said, variant="success")
        return {"said": said}

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """Add what it asks for to the form."""

    def do(self, ctx: Any, folder: Path) -> str:
        """Do it, and say what was done."""
        raise NotImplementedError


class ShowMisses(_Operator):
    """The defects that a detector misses, of a class, size or attribute, for a reason."""

    name_of, label = "show_misses", "Show misses of ..."
    says = "Opens what a detector misses, at the comparison's operating point, as patches."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:  # noqa: ARG002 - as the base class has it
        """Detector, part, reason."""
        held = columns.load(folder)
        _pick(form, "detector", "Missed by", [*held.names, "all", ANY], held.names[0])
        found = all_parts(held.truth, held.comparison.protocol.sizes)
        _pick(form, "part", "Of", [ANY, *(f"{part.by}: {part.value}" for part in found)], ANY)
        _pick(form, "reason", "Because", [ANY, *REASONS], ANY)

    def do(self, ctx: Any, folder: Path) -> str:
        """Open them."""
        shown, missed = _stored(folder)
        name, part, reason = (str(ctx.params.get(key) or ANY) for key in ("detector", "part", "reason"))
        where = missed[name] if name in missed else _over(list(missed.values()), every=name == "all")
        if part != ANY:
            by, _, value = part.partition(": ")
            where = where & selected.in_part(shown.held, by, value)
        if reason != ANY:
            picked = [one for one in shown.entrants if name in (one.name, "all", ANY)]
            where = where & _over([selected.for_reason(one, reason) for one in picked], every=False)
        return _open(ctx, shown, where, f"missed by {name}")


class CompareTwo(_Operator):
    """What two detectors find and miss of the same defects."""

    name_of, label = "compare_two", "Compare two detectors"
    says = "Opens the defects that both find, one finds, or both miss, at the comparison's operating point."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """The two, and which defects; with the counts of all four."""
        shown, missed = _stored(folder)
        names = list(missed)
        first, second, _ = _two(ctx, names)
        _pick(form, "first", "First", names, names[0])
        _pick(form, "second", "Second", names, names[-1])
        view = types.RadioGroup(label="Defects")
        for kind, text in PAIRS.items():
            count = int(_pair(shown, missed[first], missed[second], kind).sum())
            view.add_choice(kind, label=f"{kind}: {text} ({count:,})")
        form.enum("kind", view.values(), view=view, default="miss-hit")

    def do(self, ctx: Any, folder: Path) -> str:
        """Open them."""
        shown, missed = _stored(folder)
        first, second, kind = _two(ctx, list(missed))
        where = _pair(shown, missed[first], missed[second], kind)
        return _open(ctx, shown, where, f"{first} {kind.split('-')[0]}, {second} {kind.split('-')[1]}")


class Mark(_Operator):
    """A decision on the selected labels."""

    name_of, label = "mark", "Mark selected labels as ..."
    says = "True miss, label error, borderline, unlabelled defect, true false alarm. Kept at once."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:  # noqa: ARG002 - as the base class has it
        """The decision."""
        count = sum(map(len, chosen(ctx).values()))
        form.md(f"{wording.plural(count, 'label')} selected")
        _pick(form, "decision", "They are", [*DECISIONS, "not decided"], DECISIONS[0])

    def do(self, ctx: Any, folder: Path) -> str:
        """Mark them."""
        word = str(ctx.params.get("decision") or DECISIONS[0])
        labels = chosen(ctx)
        if not labels:
            return "No label is selected."
        said = decided.decide(ctx.dataset, folder, labels, word if word in DECISIONS else None)
        ctx.ops.reload_dataset()
        return said


class SampleOfHits(_Operator):
    """A random sample of hits, to be looked at like the misses."""

    name_of, label = "sample_of_hits", "Review a random sample of hits"
    says = "Who looks at misses only finds only the label errors that help. Opens the sample as patches."

    def do(self, ctx: Any, folder: Path) -> str:
        """Open it."""
        ids = decided.sample(folder)
        ctx.ops.set_view(opening.patches(ctx.dataset, ids))
        return wording.plural(len(ids), "hit")


class ExportReview(_Operator):
    """The decisions as the evaluator's review file."""

    name_of, label = "export_review", "Write the review file"
    says = "All decisions, as evaluate.py --review reads them, beside the comparison."

    def do(self, ctx: Any, folder: Path) -> str:
        """Write it."""
        found = decided.keep(ctx.dataset, folder)
        return f"{wording.plural(len(found.decided), 'decision')} in {folder / decided.FILE}"


class ExportCoco(_Operator):
    """The pictures of the view with their labels, as COCO."""

    name_of, label = "export_coco", "Export this view as COCO"
    says = "The pictures of this view with all their labels, as the marks correct them: to relabel or to train with."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:  # noqa: ARG002 - as the base class has it
        """Where to."""
        form.str("out", label="File", default=str(exported.free(folder)), required=True)

    def do(self, ctx: Any, folder: Path) -> str:
        """Write it."""
        return exported.export(ctx.view, folder, ctx.params.get("out"))


class Recompute(_Operator):
    """Write the fates at another operating point into the dataset."""

    name_of, label = "recompute", "Recompute at this threshold"
    says = "Hits, misses and reasons in the dataset, its saved views and evaluations, at another operating point."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """The operating point."""
        held = columns.load(folder)
        _pick(form, "operating", "Operating point", [STORED, SCORE, *offered(held)], SCORE)
        if ctx.params.get("operating", SCORE) == SCORE:
            form.float("score", label="Threshold of all detectors", default=0.5, min=0, max=1)

    def do(self, ctx: Any, folder: Path) -> str:
        """Write them."""
        wanted = asked({"operating": SCORE} | dict(ctx.params), columns.load(folder))
        said = recomputed.recompute(ctx.dataset, show(folder, wanted), lambda part: ctx.set_progress(progress=part))
        ctx.ops.reload_dataset()
        return said


OPERATORS = (ShowMisses, CompareTwo, Mark, SampleOfHits, ExportReview, ExportCoco, Recompute)
"""What the plugin registers."""


def _stored(folder: Path) -> tuple[Shown, Any]:
    shown = show(folder, asked({}, columns.load(folder)))
    return shown, selected.missed(shown.entrants)


def _two(ctx: Any, names: list[str]) -> tuple[str, str, str]:
    """The two detectors, and which of their defects; the first, the last and what only the second finds by default."""
    known = {"first": names[0], "second": names[-1], "kind": "miss-hit"}
    first, second, kind = (str(ctx.params.get(key) or otherwise) for key, otherwise in known.items())
    return first, second, kind


def _pair(shown: Shown, first: Any, second: Any, kind: str) -> Any:
    wanted = [
        {"hit": ~missed, "miss": missed}[word] for missed, word in zip((first, second), kind.split("-"), strict=True)
    ]
    return shown.held.truth.defects.counts & wanted[0] & wanted[1]


def _over(masks: Any, *, every: bool) -> Any:
    whole = masks[0]
    for mask in masks[1:]:
        whole = whole & mask if every else whole | mask
    return whole


def _open(ctx: Any, shown: Shown, where: Any, title: str) -> str:
    ids = selected.label_ids(shown.held, where)
    if not ids:
        return f"No defect: {title}."
    ctx.ops.set_view(opening.patches(ctx.dataset, ids))
    return f"{wording.plural(len(ids), 'defect')}: {title}"


def _pick(form: Any, name: str, label: str, values: Any, default: str) -> None:
    view = types.DropdownView(label=label)
    for value in values:
        view.add_choice(value, label=value.replace("_", " "))
    form.enum(name, view.values(), view=view, default=default)
