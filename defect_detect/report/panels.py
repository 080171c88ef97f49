"""One card of the gallery: a defect cut from its picture, and what every detector made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.comparison import Place
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.slices import severity
from defect_detect.report import gallery
from defect_detect.report.palette import Identity
from defect_detect.tables import Dataset, Floats, Polygons


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A box on the cut-out, in its px. `identity` is None for ground truth."""

    x: float
    y: float
    width: float
    height: float
    identity: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What one detector made of the defect."""

    identity: Identity
    found: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A card: the picture (as a `data:` address), what lies on it, and its caption."""

    uri: str
    width: int
    height: int
    truth: Mark | None
    outline: str
    neighbours: tuple[Mark, ...]
    marks: tuple[Mark, ...]
    category: str
    size: str
    file: str
    where: str
    fates: tuple[Fate, ...]


Runs = Mapping[str, Sequence[Judged]]
"""By detector: its runs, the first of which is drawn."""


def defect_panel(truth: Dataset, row: int, runs: Runs, looks: Mapping[str, Identity]) -> Panel:
    """The card of ground-truth row `row`; of each detector the prediction that found it or came nearest.

    Args:
        truth: the split that was judged.
        row: row in `truth.defects`.
        runs: all runs of each detector; the first one's prediction is drawn.
        looks: how detectors are drawn.

    Raises:
        DatasetError: the picture can't be read.
    """
    defects = truth.defects
    image, box = int(defects.image[row]), defects.box[row]
    nearest = [(seeds[0], _nearest(seeds[0], row)) for seeds in runs.values()]
    boxes = [one.evaluation.predictions.box[p] for one, p in nearest if p is not None]
    crop = gallery.cut(truth, image, box, boxes)
    category = truth.categories[int(defects.label[row])]
    others = np.flatnonzero((defects.image == image) & (np.arange(len(defects)) != row))
    grade = str(severity(truth)[row])
    return Panel(
        uri=gallery.uri(crop),
        width=crop.width,
        height=crop.height,
        truth=_mark(box, crop),
        outline=_outline(truth, row, crop),
        neighbours=tuple(_mark(other, crop) for other in defects.box[others] if _inside(other, crop)),
        marks=tuple(
            _mark(one.evaluation.predictions.box[p], crop, looks[one.name]) for one, p in nearest if p is not None
        ),
        category=f"{category.name} ({grade})" if grade else category.name,
        size=size(truth, box),
        file=truth.images.file[image],
        where=f"annotation {defects.source_id[row]}, at x {box[0]:.0f}, y {box[1]:.0f}",
        fates=tuple(
            Fate(
                identity=looks[one.name],
                found=bool(one.found[row]),
                text=_seeds(runs[one.name], row) + _fate(one, row, p),
            )
            for one, p in nearest
        ),
    )


def place_panel(truth: Dataset, place: Place, runs: Runs, looks: Mapping[str, Identity]) -> Panel | None:
    """The card of a place without ground truth where all detectors see something; None if it isn't in `truth`.

    Raises:
        DatasetError: the picture can't be read.
    """
    if place.image not in truth.images.file:
        return None
    image, box = truth.images.file.index(place.image), np.array(place.box, float)
    tops = [(seeds[0], _best_at(seeds[0], image, box)) for seeds in runs.values()]
    boxes = [one.evaluation.predictions.box[p] for one, p in tops if p is not None]
    crop = gallery.cut(truth, image, box, boxes)
    return Panel(
        uri=gallery.uri(crop),
        width=crop.width,
        height=crop.height,
        truth=None,
        outline="",
        neighbours=tuple(
            _mark(other, crop) for other in truth.defects.box[truth.defects.image == image] if _inside(other, crop)
        ),
        marks=tuple(
            _mark(one.evaluation.predictions.box[p], crop, looks[one.name]) for one, p in tops if p is not None
        ),
        category=f"{place.category}?",
        size=size(truth, box),
        file=place.image,
        where=f"at x {box[0]:.0f}, y {box[1]:.0f}",
        fates=tuple(
            Fate(identity=looks[one.name], found=False, text=_said(one, p)) for one, p in tops if p is not None
        ),
    )


def size(truth: Dataset, box: Floats) -> str:
    """Width and height in px, and in the dataset's unit where a scale is given."""
    width, height = (box[2:] - box[:2]).tolist()
    text = f"{width:.0f} \u00d7 {height:.0f} px"
    if truth.scale:
        text += f" ({width / truth.scale:.2g} \u00d7 {height / truth.scale:.2g} {truth.unit})"
    return text


def _nearest(one: Judged, row: int) -> int | None:
    """The prediction that found the defect or explains the miss, else the one that overlaps it most."""
    if one.candidate[row] >= 0:
        return int(one.candidate[row])
    defects = one.evaluation.truth.defects
    return _best_at(one, int(defects.image[row]), defects.box[row])


def _best_at(one: Judged, image: int, box: Floats) -> int | None:
    predictions = one.evaluation.predictions
    there = np.flatnonzero(predictions.image == image)
    if not len(there):
        return None
    overlap = geometry.iou(predictions.box[there], box[None])[:, 0]
    best = int(np.lexsort((-predictions.score[there], -overlap))[0])
    return int(there[best]) if overlap[best] > 0 else None


def _said(one: Judged, prediction: int) -> str:
    predictions = one.evaluation.predictions
    label = int(predictions.label[prediction])
    return f"{one.evaluation.truth.categories[label].name} {predictions.score[prediction]:.2f}"


def _seeds(runs: Sequence[Judged], row: int) -> str:
    if len(runs) == 1:
        return ""
    missed = sum(not run.found[row] for run in runs)
    return f"missed by {missed} of {len(runs)} seeds; seed {runs[0].seed}: "


def _fate(one: Judged, row: int, prediction: int | None) -> str:
    outcome = "found" if one.found[row] else str(one.reason[row]).replace("_", " ")
    if prediction is None:
        return f"{outcome}; nothing overlaps it at any score"
    predictions, truth = one.evaluation.predictions, one.evaluation.truth
    score, label = float(predictions.score[prediction]), int(predictions.label[prediction])
    limit = float(one.threshold[label])
    overlap = float(geometry.iou(predictions.box[prediction][None], truth.defects.box[row][None])[0, 0])
    said = "" if label == int(truth.defects.label[row]) else f"{truth.categories[label].name} "
    sign = "\u2265" if score >= limit else "<"
    bound = f"{sign} {limit:.2f}" if np.isfinite(limit) else "(no threshold)"
    joint = "; nearest: " if outcome == "unseen" else ": "
    return f"{outcome}{joint}{said}{score:.2f} {bound}, IoU {overlap:.2f}"


def _outline(truth: Dataset, row: int, crop: gallery.Crop) -> str:
    if truth.defects.region is None:
        return ""
    region = truth.defects.region[row]
    if isinstance(region, Polygons):
        rings = (" L".join(f"{x - crop.x:.1f} {y - crop.y:.1f}" for x, y in ring) for ring in region.rings)
        return "".join(f"M{ring}Z" for ring in rings)
    width, height = truth.images.size[int(truth.defects.image[row])].tolist()
    mask = geometry.to_mask(region, width, height)
    return gallery.outline(mask[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width])


def _mark(box: Floats, crop: gallery.Crop, identity: Identity | None = None) -> Mark:
    x, y = float(box[0]) - crop.x, float(box[1]) - crop.y
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    return Mark(x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1), identity=identity)


def _inside(box: Floats, crop: gallery.Crop) -> bool:
    across = box[0] < crop.x + crop.width and box[2] > crop.x
    return bool(across and box[1] < crop.y + crop.height and box[3] > crop.y)
