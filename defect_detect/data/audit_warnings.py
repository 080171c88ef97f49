"""What an audit found that should be known before training, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from defect_detect.data import audit_labels, audit_losses
from defect_detect.data.audited import Alike, ClassCounts, Loss, Precision, Shown, SplitCounts, Suspect

_WITHOUT = {"train": "it can't be learned", "val": "thresholds are chosen without it", "test": "its FN rate is n/a"}
_NOTABLE = 0.01
"""Share of the defects."""
_TINY = "4"
_SAID = {
    audit_labels.OTHER_CLASS: "two boxes of different classes on one place",
    audit_labels.SAME_CLASS: "two boxes of one class on one place",
    audit_labels.WHOLE: "a box around almost the whole picture",
    audit_labels.SPECK: "a box under 2 px",
    audit_labels.UNUSUAL: "a size unusual for the class",
}


def warnings(
    *,
    splits: Sequence[SplitCounts],
    classes: Sequence[ClassCounts],
    shown: Sequence[Shown],
    losses: Sequence[Loss],
    precision: Sequence[Precision],
    suspects: Sequence[Suspect],
    alike: Sequence[Alike] | None,
) -> list[str]:
    """The gravest first; empty where nothing was found."""
    return [
        *_leaks(alike),
        *_missing(splits, classes),
        *_imprecise(precision),
        *(_tiny(one) for one in shown if one.under[_TINY] > _NOTABLE * one.defects),
        *(_lost(one) for one in losses if one.here == audit_losses.LOST and one.count and one.detector),
        *_second_looks(suspects),
    ]


def _leaks(alike: Sequence[Alike] | None) -> Iterator[str]:
    if alike:
        pictures = sum(len(files) for one in alike for files in one.files.values())
        yield (
            f"{pictures:,} pictures in {_plural(len(alike), 'group')} look nearly the same and lie in several splits: "
            "if they show the same part, the test split is not new to the detectors (normalize with --group-similar)"
        )


def _missing(splits: Sequence[SplitCounts], classes: Sequence[ClassCounts]) -> Iterator[str]:
    for split in splits:
        gone = [one.name for one in classes for there in one.splits if there.split == split.split and not there.defects]
        if gone and split.split in _WITHOUT:
            yield f"{split.split} has no {_listed(gone)}: {_WITHOUT[split.split]}"
        if not split.defect_free and split.split in ("train", "test"):
            why = {"train": "detectors never see a good part", "test": "overkill can't be measured"}[split.split]
            yield f"{split.split} has no defect-free images: {why}"


def _imprecise(precision: Sequence[Precision]) -> Iterator[str]:
    few = [one for one in precision if one.verdict == "too few" and one.defects]
    if few:
        said = ", ".join(f"{one.category} ({one.defects:,})" for one in few)
        yield (
            f"too few defects in test for an FN rate within 10 points either way: {said}; "
            f"at worst (an FN rate of 50 %) it takes {few[0].needed:,}"
        )


def _tiny(one: Shown) -> str:
    count = one.under[_TINY]
    return (
        f"{count:,} of {one.defects:,} defects are under {_TINY} px wide or high for {one.detector} ({one.resizing})"
        + (f"; its finest stride is {one.stride:g} px" if one.stride else "")
    )


def _lost(one: Loss) -> str:
    return f"{one.detector} is not taught {one.count:,} of {one.of:,} annotations: {one.rule}; {one.note}"


def _second_looks(suspects: Sequence[Suspect]) -> Iterator[str]:
    counts = Counter(one.kind for one in suspects)
    if counts:
        said = ", ".join(f"{_SAID[kind]} ({counts[kind]:,})" for kind in audit_labels.KINDS if counts[kind])
        yield f"labels worth a second look: {said}"


def _plural(count: int, one: str) -> str:
    return f"{count:,} {one}" + ("" if count == 1 else "s")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
