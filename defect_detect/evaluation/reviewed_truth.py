"""The ground truth as a review corrects it: the same for all detectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from defect_detect import geometry
from defect_detect.errors import DatasetError, Fault, did_you_mean
from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.judged import Contender
from defect_detect.evaluation.review import Entry, Review, named
from defect_detect.tables import Column, Dataset, Defects, Floats, Polygons, Predictions, Region

SAME_PLACE = 0.5
_NEAR = 0.01
"""Boxes of one prediction differ by less px between a file and what was read from it."""


def corrected(truth: Dataset, review: Review, contenders: Sequence[Contender]) -> Dataset:
    """`truth` without label errors, borderline defects ignored, unlabelled defects among the others.

    Unlabelled defects of one class at IoU >= 0.5 are one defect, with the box that comes first. Where the dataset has
    masks it has the mask that was predicted there, else its box as a mask.

    >>> from msgspec.structs import replace as decided
    >>> from defect_detect.evaluation import example
    >>> from defect_detect.evaluation.review_template import template
    >>> asked = template([example.judged()])
    >>> said = decided(asked, entries=[decided(asked.entries[0], decision=reviews.LABEL_ERROR)])
    >>> len(corrected(example.truth(), said, [example.contender("a")]).defects)
    2

    Raises:
        DatasetError: decisions about another dataset, about what isn't there, or that contradict each other; all of
            them at once.
    """
    check_header(truth, review)
    faults = [*_defects(truth, review), *_places(truth, review, contenders)]
    if faults:
        raise DatasetError(*(replace(one, where=f"--review: {one.where}") for one in faults))
    of_defects = {e.annotation: e.decision for e in review.decided if e.annotation is not None}
    fate = np.array([of_defects.get(int(one), "") for one in truth.defects.id], np.str_)
    kept = replace(truth.defects, ignore=truth.defects.ignore | (fate == reviews.BORDERLINE))
    kept = kept.take(fate != reviews.LABEL_ERROR)
    added = [_Place.of(truth, entry) for entry in _once(truth, review)]
    changed = [[i, d] for i, d in sorted(of_defects.items()) if d in (reviews.LABEL_ERROR, reviews.BORDERLINE)]
    if not (changed or added):
        return truth
    new = [[one.image, one.label, one.box.tolist(), one.ignore] for one in added]
    digest = hashlib.sha256(msgspec.json.encode([truth.fingerprint, changed, new]))
    return replace(truth, defects=_with(truth, kept, added, contenders), fingerprint=digest.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A defect that nobody labelled."""

    image: int
    label: int
    box: Floats
    ignore: bool

    @classmethod
    def of(cls, truth: Dataset, entry: Entry) -> _Place:
        names = [category.name for category in truth.categories]
        image = truth.images.file.index(entry.image)
        width, height = truth.images.size[image].tolist()
        box = np.array([entry.true_box or entry.box], np.float64)
        return cls(
            image=image,
            label=names.index(entry.true_category or entry.category),
            # A prediction may reach past the edge; a defect can't.
            box=geometry.clip(box, width, height)[0],
            ignore=entry.decision == reviews.BORDERLINE,
        )


def check_header(truth: Dataset, review: Review) -> None:
    """Refuse a review of other data.

    Raises:
        DatasetError: it names another split, or other labels or pictures.
    """
    header = review.header
    if header.dataset != truth.fingerprint or header.split != truth.split:
        raise DatasetError(
            Fault(where="--review", expected=f"decisions about this {truth.split} split ({truth.fingerprint[:12]})",
                  found=f"decisions about a {header.split} split ({header.dataset[:12]})",
                  fix="Its labels or pictures have changed since, or it is another dataset: review again.")
        )  # fmt: skip


def _defects(truth: Dataset, review: Review) -> list[Fault]:
    row_of = {int(one): row for row, one in enumerate(truth.defects.id)}
    faults: list[Fault] = []
    said: dict[int, str] = {}
    for entry in review.decided:
        if entry.annotation is None:
            continue
        if (wrong := reviews.unknown_word(entry)) is not None:
            faults.append(wrong)
            continue
        row = row_of.get(entry.annotation)
        if row is None or truth.images.file[truth.defects.image[row]] != entry.image:
            where = "no such annotation" if row is None else truth.images.file[truth.defects.image[row]]
            faults.append(Fault(where=named(entry), expected="an annotation of this picture", found=where,
                                fix="Give the annotation's id in the normalized dataset."))  # fmt: skip
        elif not truth.defects.counts[row]:
            faults.append(Fault(where=named(entry), expected="a defect that counts", found="a crowd or ignored one",
                                fix="Leave it out: it is never counted."))  # fmt: skip
        elif _meant(said.setdefault(entry.annotation, entry.decision)) != _meant(entry.decision):
            faults.append(Fault(where=named(entry), expected="one decision",
                                found=f"{said[entry.annotation]!r} and {entry.decision!r}",
                                fix="Agree on one."))  # fmt: skip
    return faults


def _meant(decision: str) -> str:
    """Whether a right label was missed or found depends on the detector."""
    return reviews.TRUE_MISS if decision == reviews.TRUE_HIT else decision


def _places(truth: Dataset, review: Review, contenders: Sequence[Contender]) -> list[Fault]:
    faults: list[Fault] = []
    sound: list[tuple[Entry, _Place]] = []
    names = [category.name for category in truth.categories]
    files = set(truth.images.file)
    for entry in review.decided:
        if entry.annotation is not None:
            continue
        category = entry.true_category or entry.category
        box = entry.true_box or entry.box
        if (wrong := reviews.unknown_word(entry)) is not None:
            faults.append(wrong)
        elif entry.image not in files:
            faults.append(Fault(where=named(entry), expected="a picture of this split", found=repr(entry.image),
                                fix="Name it as the normalized dataset does."))  # fmt: skip
        elif category not in names:
            faults.append(Fault(where=named(entry), expected=" | ".join(names), found=repr(category),
                                fix=did_you_mean(category, names) or "Name one of the classes."))  # fmt: skip
        elif not (box[0] < box[2] and box[1] < box[3] and _has_area(_Place.of(truth, entry))):
            faults.append(Fault(where=named(entry), expected="a box with an area in the picture", found=str(list(box)),
                                fix="x0 y0 x1 y1 in px."))  # fmt: skip
        elif not _was_said(entry, truth, contenders):
            faults.append(Fault(where=named(entry), expected=f"a prediction of {entry.detector}", found="none there",
                                fix="Leave out its detector if the place itself is meant."))  # fmt: skip
        else:
            sound.append((entry, _Place.of(truth, entry)))
    return [*faults, *_contradictions(sound), *_labelled(truth, review, sound)]


def _has_area(place: _Place) -> bool:
    x0, y0, x1, y1 = place.box.tolist()
    return bool(x0 < x1 and y0 < y1)


def _was_said(entry: Entry, truth: Dataset, contenders: Sequence[Contender]) -> bool:
    """Whether the detector, if it is here, said anything at the entry's box."""
    runs = [
        run for contender in contenders if contender.name == entry.detector
        for run in contender.runs if entry.seed is None or run.seed == entry.seed
    ]  # fmt: skip
    here = any(contender.name == entry.detector for contender in contenders)
    return not here or any(_said_at(run.test.predictions, truth, entry) is not None for run in runs)


def _said_at(said: Predictions, truth: Dataset, entry: Entry) -> int | None:
    """The row of the prediction with the entry's box."""
    rows = np.flatnonzero(said.image == truth.images.file.index(entry.image))
    near = np.abs(said.box[rows] - np.array(entry.box)).max(axis=1, initial=0) < _NEAR
    return int(rows[near][0]) if near.any() else None


def _same(a: _Place, b: _Place) -> bool:
    if (a.image, a.label) != (b.image, b.label):
        return False
    return bool(geometry.paired_iou(a.box[None], b.box[None])[0] >= SAME_PLACE)


def _contradictions(sound: Sequence[tuple[Entry, _Place]]) -> list[Fault]:
    faults: list[Fault] = []
    by_image: dict[int, list[tuple[Entry, _Place]]] = {}
    for entry, place in sound:
        for other, there in by_image.setdefault(place.image, []):
            if entry.decision != other.decision and _same(place, there):
                faults.append(Fault(where=named(entry), expected="one decision about one place",
                                    found=f"{other.decision!r} and {entry.decision!r}",
                                    fix="Agree on one."))  # fmt: skip
        by_image[place.image].append((entry, place))
    return faults


def _labelled(truth: Dataset, review: Review, sound: Sequence[tuple[Entry, _Place]]) -> list[Fault]:
    """Unlabelled defects where there is a label that stays."""
    gone = {e.annotation for e in review.decided if e.decision in (reviews.LABEL_ERROR, reviews.BORDERLINE)}
    faults: list[Fault] = []
    defects = truth.defects
    for entry, place in sound:
        if entry.decision != reviews.UNLABELLED:
            continue
        rows = np.flatnonzero((defects.image == place.image) & (defects.label == place.label) & defects.counts)
        near = geometry.iou(place.box[None], defects.box[rows])[0] >= SAME_PLACE
        labels = [int(one) for one in defects.id[rows[near]] if int(one) not in gone]
        if labels:
            faults.append(Fault(where=named(entry), expected="a place without a label",
                                found=f"annotation {labels[0]} of the same class there",
                                fix="Decide about that annotation instead."))  # fmt: skip
    return faults


def _once(truth: Dataset, review: Review) -> list[Entry]:
    """The entries that add a defect, one for each place."""
    words = (reviews.UNLABELLED, reviews.BORDERLINE)
    adding = [e for e in review.decided if e.annotation is None and e.decision in words]
    kept: list[tuple[Entry, _Place]] = []
    for entry in sorted(adding, key=lambda e: (e.image, e.true_box is None, e.true_box or e.box, e.category)):
        place = _Place.of(truth, entry)
        if not any(_same(place, there) for _, there in kept if there.image == place.image):
            kept.append((entry, place))
    return [entry for entry, _ in kept]


def _with(truth: Dataset, kept: Defects, added: Sequence[_Place], contenders: Sequence[Contender]) -> Defects:
    if not added:
        return kept
    count = len(added)
    box = np.stack([one.box for one in added])
    regions, area = kept.region, geometry.area(box)
    if regions is not None:
        size = truth.images.size[[one.image for one in added]].tolist()
        new = [geometry.to_rle(_region(one, contenders), *size[row]) for row, one in enumerate(added)]
        regions, area = (*regions, *new), np.array([geometry.region_area(one) for one in new])
    first = int(truth.defects.id.max(initial=0)) + 1
    return Defects(
        image=np.append(kept.image, [one.image for one in added]),
        label=np.append(kept.label, [one.label for one in added]),
        box=np.concatenate([kept.box, box]),
        area=np.append(kept.area, area),
        crowd=np.append(kept.crowd, np.zeros(count, np.bool_)),
        ignore=np.append(kept.ignore, [one.ignore for one in added]),
        region=regions,
        id=np.append(kept.id, np.arange(first, first + count)),
        source_id=(*kept.source_id, *(f"review {n}" for n in range(1, count + 1))),
        attribute={name: _unknown(column, count) for name, column in kept.attribute.items()},
    )


def _region(place: _Place, contenders: Sequence[Contender]) -> Region:
    """The mask that was predicted there, of the first detector that has one; else the box."""
    for run in [run for contender in contenders for run in contender.runs]:
        said = run.test.predictions
        if said.region is not None:
            rows = np.flatnonzero((said.image == place.image) & (said.label == place.label))
            near = np.abs(said.box[rows] - place.box).max(axis=1, initial=0) < _NEAR
            if near.any():
                return said.region[int(rows[near][0])]
    x0, y0, x1, y1 = place.box.tolist()
    return Polygons(rings=(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),))


def _unknown(column: Column, count: int) -> Column:
    """The column with so many rows more of which nothing is known."""
    if column.dtype.kind == "f":
        return np.append(column, np.full(count, np.nan))
    if column.dtype.kind == "U":
        return np.append(column, np.full(count, ""))
    return np.append(column.astype(np.object_), np.full(count, None, np.object_))
