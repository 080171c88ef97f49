"""Operators that open defects: by who misses them, and what two detectors make of the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fiftyone.operators import types

from defect_detect.evaluation.reasons import REASONS
from defect_detect.evaluation.slices import parts as all_parts
from defect_detect.explore import selected
from defect_detect.explore.plugin import opening, sheets
from defect_detect.explore.plugin.asked import in_words
from defect_detect.explore.plugin.context import from_panel, wanted
from defect_detect.explore.plugin.operator import Operator, pick
from defect_detect.explore.plugin.shown import Shown, show
from defect_detect.report import wording
from defect_detect.tables import Bools

ANY = "any"
PAIRS = {
    "hit-hit": "both find it", "hit-miss": "the first finds it, the second misses it",
    "miss-hit": "the first misses it, the second finds it", "miss-miss": "both miss it",
}  # fmt: skip


class ShowMisses(Operator):
    """The defects that a detector misses, of a class, size or attribute, for a reason."""

    name_of, label = "show_misses", "Show misses of ..."
    says = "Opens what a detector misses as patches."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """Detector, part, reason."""
        shown, missed = _shown(ctx, folder)
        held, names = shown.held, list(missed)
        form.md(_at(ctx, shown), name="at")
        pick(form, "detector", "Missed by", [*names, "all", ANY], names[0])
        found = all_parts(held.truth, held.comparison.protocol.sizes)
        pick(form, "part", "Of", [ANY, *(f"{part.by}: {part.value}" for part in found)], ANY)
        pick(form, "reason", "Because", [ANY, *REASONS], ANY)

    def do(self, ctx: Any, folder: Path) -> str:
        """Open them."""
        shown, missed = _shown(ctx, folder)
        name, part, reason = (str(ctx.params.get(key) or ANY) for key in ("detector", "part", "reason"))
        where = missed[name] if name in missed else _over(list(missed.values()), every=name == "all")
        if part != ANY:
            by, _, value = part.partition(": ")
            where = where & selected.in_part(shown.held, by, value)
        if reason != ANY:
            picked = [one for one in shown.entrants if name in (one.name, "all", ANY)]
            where = where & _over([selected.for_reason(one, reason) for one in picked], every=False)
        return _open(ctx, shown, where, f"missed by {name}")


class CompareTwo(Operator):
    """What two detectors find and miss of the same defects."""

    name_of, label = "compare_two", "Compare two detectors"
    says = "Opens the defects that both find, only one finds, or both miss."

    def ask(self, ctx: Any, form: Any, folder: Path) -> None:
        """The two, and which defects; with the counts of all four."""
        shown, missed = _shown(ctx, folder)
        names = list(missed)
        form.md(_at(ctx, shown), name="at")
        first, second, _ = _two(ctx, names)
        pick(form, "first", "First", names, names[0])
        pick(form, "second", "Second", names, names[-1])
        view = types.RadioGroup(label="Defects")
        for kind, text in PAIRS.items():
            count = int(_pair(shown, missed[first], missed[second], kind).sum())
            view.add_choice(kind, label=f"{kind}: {text} ({count:,})")
        form.enum("kind", view.values(), view=view, default="miss-hit")

    def do(self, ctx: Any, folder: Path) -> str:
        """Open them."""
        shown, missed = _shown(ctx, folder)
        first, second, kind = _two(ctx, list(missed))
        where = _pair(shown, missed[first], missed[second], kind)
        return _open(ctx, shown, where, f"{first} {kind.split('-')[0]}, {second} {kind.split('-')[1]}")


OPERATORS = (ShowMisses, CompareTwo)


def _shown(ctx: Any, folder: Path) -> tuple[Shown, dict[str, Bools]]:
    """All detectors as the panel has them that the operator was called from, else at the comparison's threshold."""
    shown = show(folder, wanted(ctx, folder, every=True))
    return shown, dict(selected.missed(shown.entrants))


def _at(ctx: Any, shown: Shown) -> str:
    """Whose operating point it is, and which."""
    whose = "As the panel has it" if from_panel(ctx) else "As compared"
    text = f"{whose}: {in_words(shown.asked, shown.held)}."
    if shown.asked.corrected:
        text += " Labels as the marks correct them."
    if sheets.seeded(shown):
        text += " A detector misses what most of its seeds miss."
    return text


def _two(ctx: Any, names: list[str]) -> tuple[str, str, str]:
    """The two detectors, and which of their defects; the first, the last and what only the second finds by default."""
    known = {"first": names[0], "second": names[-1], "kind": "miss-hit"}
    first, second, kind = (str(ctx.params.get(key) or otherwise) for key, otherwise in known.items())
    return first, second, kind


def _pair(shown: Shown, first: Bools, second: Bools, kind: str) -> Bools:
    sides = [
        {"hit": ~missed, "miss": missed}[word] for missed, word in zip((first, second), kind.split("-"), strict=True)
    ]
    return shown.held.truth.defects.counts & sides[0] & sides[1]


def _over(masks: Sequence[Bools], *, every: bool) -> Bools:
    return np.asarray(np.all(masks, axis=0) if every else np.any(masks, axis=0))


def _open(ctx: Any, shown: Shown, where: Bools, title: str) -> str:
    ids = selected.label_ids(shown.held, where)
    if not ids:
        return f"No defect: {title}."
    ctx.ops.set_view(opening.patches(ctx.dataset, ids))
    return f"{wording.plural(len(ids), 'defect')}: {title}"
