"""Marks: what somebody decided in the App about labels, kept as tags of the labels and as a review file.

The file is the evaluator's (docs/review.md), beside the comparison: it outlives the dataset, and `evaluate --review`
reads it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect import folder as comparisons
from defect_detect.data.files import atomic_write
from defect_detect.errors import DatasetError, Fault
from defect_detect.evaluation import review as reviews
from defect_detect.evaluation import review_template
from defect_detect.evaluation.judged import Contender, Judged
from defect_detect.evaluation.review import DECISIONS, OF_DEFECTS, OF_PLACES, Entry, Review
from defect_detect.explore import columns, reviewed, rows
from defect_detect.explore.names import NAMESPACE, TRUTH
from defect_detect.report import wording

FILE = "marks.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreviewed:
    """A comparison as labelled, whatever a review said of it since: what marks speak of.

    earlier  the review that the comparison was made with
    """

    contenders: tuple[Contender, ...]
    judged: tuple[Judged, ...]
    earlier: Review | None


def unreviewed(folder: Path) -> Unreviewed:
    """The comparison in `folder`, judged at its own thresholds.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    request, comparison = comparisons.read(folder)
    earlier = comparisons.review(folder, request)
    # Without a review, what the panel holds in memory is just that.
    contenders = columns.load(folder).contenders if earlier is None else comparisons.contenders(folder, request)
    return Unreviewed(contenders=contenders, judged=comparisons.judged(contenders, comparison), earlier=earlier)


def fields(dataset: Any) -> list[str]:
    """The label fields of a comparison's dataset that marks may be on."""
    runs = dataset.info[NAMESPACE]["runs"]
    return [TRUTH, *(run[field] for run in runs for field in ("key", "below"))]


def tagged(dataset: Any) -> dict[str, list[str]]:
    """Id of each marked label -> its tags."""
    from fiftyone import ViewField

    found: dict[str, list[str]] = {}
    for field in fields(dataset):
        view = dataset.filter_labels(field, ViewField("tags").contains(list(DECISIONS)))
        ids, tags = view.values([f"{field}.detections.id", f"{field}.detections.tags"])
        for on_ids, on_tags in zip(ids, tags, strict=True):
            found.update(zip(on_ids or (), on_tags or (), strict=True))
    return found


def mark(dataset: Any, labels: Mapping[str, Sequence[str]], decision: str | None) -> int:
    """Give these labels (field -> ids) the decision and no other; None takes it away. Returns how many."""
    for field, ids in labels.items():
        dataset.select_labels(ids=list(ids), fields=field).untag_labels(list(DECISIONS), label_fields=field)
        if decision is not None:
            dataset.select_labels(ids=list(ids), fields=field).tag_labels(decision, label_fields=field)
    return sum(map(len, labels.values()))


def keep(dataset: Any, folder: Path) -> Review:
    """Write all marks as the review file in the comparison's folder, and return it.

    Raises:
        DatasetError: a label has two decisions, or was added by the review itself.
    """
    known = unreviewed(folder)
    said = reviewed.decisions(tagged(dataset), known.judged)
    before = known.earlier.decided if known.earlier else []
    whole = review_template.template(
        known.judged,
        seed=columns.load(folder).comparison.protocol.seed,
        earlier=Review(header=said.header, entries=[*before, *said.entries]),
    )
    # Undecided, only the sample is worth keeping: all else is found again.
    found = Review(header=whole.header, entries=[entry for entry in whole.entries if entry.decision or entry.sampled])
    atomic_write(folder / FILE, reviews.encode(found))
    return found


def sample(folder: Path) -> list[str]:
    """Ids of the labels of the random sample of hits, the one that `--review-template` draws."""
    known = unreviewed(folder)
    whole = review_template.template(known.judged, seed=columns.load(folder).comparison.protocol.seed)
    asked = {entry.annotation for entry in whole.entries if entry.sampled}
    truth = known.judged[0].evaluation.truth
    return [rows.defect_id(truth, row) for row in range(len(truth.defects)) if int(truth.defects.id[row]) in asked]


def restore(dataset: Any, folder: Path) -> int:
    """Tag the labels that the review file speaks of, in a dataset that was written anew. Returns how many.

    Raises:
        DatasetError: the file isn't a review.
    """
    if not (folder / FILE).exists() or tagged(dataset):
        return 0
    known = unreviewed(folder)
    keys = _keys(dataset)
    by_decision: dict[tuple[str, str], list[str]] = {}
    for entry in reviews.read(folder / FILE).decided:
        for field, label in _labels(entry, known.judged, keys):
            by_decision.setdefault((field, entry.decision), []).append(label)
    for (field, decision), ids in by_decision.items():
        dataset.select_labels(ids=ids, fields=field).tag_labels(decision, label_fields=field)
    return sum(map(len, by_decision.values()))


def _keys(dataset: Any) -> list[tuple[str, str]]:
    """By run the fields of its predictions, from the operating point up and below it."""
    return [(run["key"], run["below"]) for run in dataset.info[NAMESPACE]["runs"]]


def _labels(entry: Entry, judged: Sequence[Judged], keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(field, id) of the labels that the entry speaks of."""
    truth = judged[0].evaluation.truth
    if entry.annotation is not None:
        return [
            (TRUTH, rows.defect_id(truth, int(row))) for row in np.flatnonzero(truth.defects.id == entry.annotation)
        ]
    found = []
    for number, (one, fields_of) in enumerate(zip(judged, keys, strict=True), 1):
        if (one.name, one.seed) != (entry.detector, entry.seed) or entry.image not in truth.images.file:
            continue
        said = one.evaluation.predictions
        here = np.flatnonzero(said.image == truth.images.file.index(entry.image))
        same = here[np.abs(said.box[here] - np.array(entry.box)).max(axis=1, initial=0) < _CLOSE]
        found += [(field, rows.prediction_id(number, int(row))) for row in same for field in fields_of]
    return found


_CLOSE = 1e-6
"""px; the file holds the box as it was said."""


def decide(dataset: Any, folder: Path, labels: Mapping[str, Sequence[str]], decision: str | None) -> str:
    """Mark labels and write the review file; what was done, in a sentence.

    Raises:
        DatasetError: the decision isn't one for these labels; nothing is marked.
    """
    if decision is not None:
        _check(labels, decision)
    count = mark(dataset, labels, decision)
    kept = keep(dataset, folder)
    if decision is not None:
        return f"{wording.plural(count, 'label')} marked as {decision}"
    said = f"{wording.plural(count, 'label')} without a decision of yours"
    # An earlier review is part of the comparison: what it says can be overruled here, not unsaid.
    ids = {label for told in labels.values() for label in told}
    known, keys = unreviewed(folder), _keys(dataset)
    left = sum(any(label in ids for _, label in _labels(entry, known.judged, keys)) for entry in kept.decided)
    return f"{said}; {left:,} decided by the review that the comparison was made with" if left else said


def words(dataset: Any) -> str:
    """How many labels have which decision."""
    found = Counter(tag for tags in tagged(dataset).values() for tag in tags if tag in DECISIONS)
    return ", ".join(f"{found[word]} {word}" for word in DECISIONS if found[word])


def how_to(folder: Path) -> str:
    """What to do with the review file."""
    return (
        "For a whole report on the corrected labels, give the file to the command that made the comparison:\n\n"
        f"`--review {shlex.quote(str(folder / FILE))}`"
    )


def _check(labels: Mapping[str, Sequence[str]], decision: str) -> None:
    faults: list[Fault | str] = []
    for field, ids in labels.items():
        allowed = OF_DEFECTS if field == TRUTH else OF_PLACES
        if ids and decision not in allowed:
            what = "ground truth" if field == TRUTH else "predictions"
            faults.append(
                Fault(where=f"labels of {field}", expected=f"for {what}: {', '.join(allowed)}", found=decision)
            )
    if faults:
        raise DatasetError(*faults)
