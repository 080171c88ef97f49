"""A review to be filled in: all misses, the places of all false alarms, and a random sample of the hits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from defect_detect import geometry
from defect_detect.evaluation.agreement import false_alarms
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.review import VERSION, Entry, Header, Review, Sample
from defect_detect.evaluation.reviewed_truth import SAME_PLACE
from defect_detect.tables import Floats

HITS = 50
"""So many hits are drawn; of as many right ones, less than 6 % of all hits are wrong with 95 % confidence."""


def template(judged: Sequence[Judged], *, seed: int = 0, hits: int = HITS, earlier: Review | None = None) -> Review:
    """Entries to decide, by picture; those of an `earlier` review keep their decisions.

    Misses are the defects that some run missed. Hits are drawn from those that all runs found, so every defect is
    asked about or stands a known chance to be. False alarms of one class at IoU >= 0.5 are one place, that of the
    highest score.

    >>> from defect_detect.evaluation import example
    >>> [(one.annotation, one.sampled, one.image) for one in template([example.judged()]).entries]
    [(3, False, 'b.png'), (1, True, 'a.png'), (2, True, 'a.png'), (None, False, 'b.png')]
    """
    truth = judged[0].evaluation.truth
    rows = np.flatnonzero(truth.defects.counts)
    found = np.all([one.found[rows] for one in judged], axis=0)
    # By content, so that the same hits are drawn whatever the order of a file.
    order = np.lexsort((*truth.defects.box[rows[found]].T, truth.defects.image[rows[found]]))
    from_ = rows[found][order]
    drawn = np.random.default_rng(seed).permutation(len(from_))[:hits]
    entries = [
        *(_defect(judged, int(row)) for row in rows[~found]),
        *(_defect(judged, int(row), sampled=True) for row in from_[np.sort(drawn)]),
        *_places(judged),
    ]
    return Review(
        header=Header(
            review=VERSION, dataset=truth.fingerprint, split=truth.split,
            sample=Sample(drawn=len(drawn), of=len(from_), seed=seed),
        ),
        entries=sorted(_kept(entries, earlier), key=lambda e: (e.annotation is None, e.sampled, e.image, e.box)),
    )  # fmt: skip


def _kept(entries: Sequence[Entry], earlier: Review | None) -> list[Entry]:
    """The entries with what was decided before, and the decisions that none of them asks for any more."""
    before = {_key(entry): entry for entry in (earlier.decided if earlier else ())}
    asked = {_key(entry) for entry in entries}
    kept = [entry for key, entry in before.items() if key not in asked]
    for entry in entries:
        old = before.get(_key(entry))
        same = ("decision", "true_category", "true_box", "note")
        kept.append(entry if old is None else replace(entry, **{name: getattr(old, name) for name in same}))
    return kept


def _key(entry: Entry) -> tuple[object, ...]:
    if entry.annotation is not None:
        return (entry.annotation,)
    # A spreadsheet keeps some ten digits.
    corners = tuple(round(value, 2) for value in entry.box)
    return (entry.image, entry.category, corners, entry.detector, entry.seed)


def _defect(judged: Sequence[Judged], row: int, *, sampled: bool = False) -> Entry:
    truth = judged[0].evaluation.truth
    defects = truth.defects
    x0, y0, x1, y1 = defects.box[row].tolist()
    return Entry(
        decision="", image=truth.images.file[defects.image[row]], category=truth.categories[defects.label[row]].name,
        box=(x0, y0, x1, y1), annotation=int(defects.id[row]), sampled=sampled,
        missed_by=list(dict.fromkeys(one.name for one in judged if not one.found[row])),
    )  # fmt: skip


def _places(judged: Sequence[Judged]) -> list[Entry]:
    truth = judged[0].evaluation.truth
    alarms: list[tuple[Judged, int]] = [(one, int(row)) for one in judged for row in false_alarms(one)]

    def turn(alarm: tuple[Judged, int]) -> tuple[object, ...]:
        one, row = alarm
        said = one.evaluation.predictions
        return int(said.image[row]), -float(said.score[row]), said.box[row].tolist(), one.name, one.seed

    entries: list[Entry] = []
    taken: dict[tuple[int, int], list[Floats]] = {}
    for one, row in sorted(alarms, key=turn):
        said = one.evaluation.predictions
        box, at = said.box[row], (int(said.image[row]), int(said.label[row]))
        there = taken.setdefault(at, [])
        if there and geometry.iou(box[None], np.array(there)).max() >= SAME_PLACE:
            continue
        there.append(box)
        x0, y0, x1, y1 = box.tolist()
        entries.append(Entry(
            decision="", image=truth.images.file[at[0]], category=truth.categories[at[1]].name, box=(x0, y0, x1, y1),
            detector=one.name, seed=one.seed, score=float(said.score[row]),
        ))  # fmt: skip
    return entries
