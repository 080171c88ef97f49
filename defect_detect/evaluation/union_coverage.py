"""Union coverage, the hit rule for long defects: one long crack covered by five boxes is one catch.

A defect is found at `s` if the predictions of its label scoring at least `s` that share area with it
together cover half of it or more, and less than half of their union lies outside of it and its
neighbours, which are the other annotations of its label in the picture.

Areas are those of boxes or of masks.
"""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.matching import Pairs, overlapping
from defect_detect.tables import Bools, Dataset, Floats, Ints, Predictions

HALF = 0.5
_ROUNDING = 1e-9


def covered(one: Judged, *, masks: bool = False) -> Bools:
    """(G,) bool: the defects found by this rule at the thresholds in use; False where a defect doesn't count.

    `masks`: areas are those of the masks, which both sides then must have.

    >>> from defect_detect.evaluation import example
    >>> covered(example.judged()).tolist()
    [True, True, False]
    """
    truth, said = one.evaluation.truth, one.evaluation.predictions
    defects = truth.defects
    counting = said.take(said.score >= one.threshold[said.label])
    pairs = _of_one_label(truth, counting)
    pairs = pairs.take(defects.counts[pairs.defect])
    found = np.zeros(len(defects), np.bool_)
    if len(pairs.defect) == 0:
        return found
    area = _areas(truth) if masks else geometry.area(defects.box)
    inside = _inside(truth, counting, pairs, masks=masks)
    # What all cover together is at most what each covers alone, summed.
    enough = np.bincount(pairs.defect, weights=inside, minlength=len(defects)) >= HALF * area
    edges = np.searchsorted(pairs.defect, np.arange(len(defects) + 1))
    if not masks:
        found |= _plainly_covered(counting, pairs, inside, area)
    undecided = np.flatnonzero(enough & (np.diff(edges) > 0) & ~found).tolist()
    neighbours = _neighbours(truth) if undecided else []
    for defect in undecided:
        rows = pairs.prediction[edges[defect] : edges[defect + 1]]
        measure = _by_masks if masks else _by_boxes
        within, outside, whole = measure(truth, counting, defect, rows, neighbours[defect])
        found[defect] = within >= HALF * area[defect] and outside < HALF * whole
    return found


def _plainly_covered(said: Predictions, pairs: Pairs, inside: Floats, area: Floats) -> Bools:
    """(G,) bool: what covers a defect most is enough, and all of them together can't lie too far outside.

    The union is at least its largest part and lies outside by no more than its parts do, summed; so whoever is
    found here is found by the areas of the unions too, with room for rounding. Most are, without any union.
    """
    ours = geometry.area(said.box[pairs.prediction])
    most, largest = np.zeros(len(area)), np.zeros(len(area))
    np.maximum.at(most, pairs.defect, inside)
    np.maximum.at(largest, pairs.defect, ours)
    outside = np.bincount(pairs.defect, weights=ours - inside, minlength=len(area))
    plainly: Bools = (most > (HALF + _ROUNDING) * area) & (outside < (HALF - _ROUNDING) * largest)
    return plainly


def _of_one_label(truth: Dataset, said: Predictions) -> Pairs:
    """Pairs of one label whose boxes share area, by defect."""
    pairs = overlapping(truth, said)
    pairs = pairs.take(said.label[pairs.prediction] == truth.defects.label[pairs.defect])
    order = np.argsort(pairs.defect, kind="stable")
    return Pairs(prediction=pairs.prediction[order], defect=pairs.defect[order], overlap=pairs.overlap[order])


def _inside(truth: Dataset, said: Predictions, pairs: Pairs, *, masks: bool) -> Floats:
    """(M,) at least as much area as the two of a pair share."""
    if masks:
        return _areas(truth)[pairs.defect]
    return geometry.paired_intersection(said.box[pairs.prediction], truth.defects.box[pairs.defect])


def _areas(truth: Dataset) -> Floats:
    """(G,) px^2 of each defect's mask."""
    regions, size = truth.defects.region or (), truth.images.size[truth.defects.image].tolist()
    return np.array(
        [geometry.region_area(geometry.to_rle(one, *wide_high)) for one, wide_high in zip(regions, size, strict=True)],
        np.float64,
    )


def _neighbours(truth: Dataset) -> list[Ints]:
    """For each defect, the rows of all annotations of its label in its picture, itself among them."""
    defects = truth.defects
    _, which = np.unique(np.stack([defects.image, defects.label], axis=1), axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
    return [groups[group] for group in which]


def _by_boxes(
    truth: Dataset, said: Predictions, defect: int, rows: Ints, neighbours: Ints
) -> tuple[float, float, float]:
    """Area of the union of the predictions inside the defect, outside of all neighbours, and whole."""
    ours, true = said.box[rows], truth.defects.box
    if len(rows) == 1 and len(neighbours) == 1:
        shared = float(geometry.paired_intersection(ours, true[[defect]])[0])
        whole = float(geometry.area(ours)[0])
        return shared, whole - shared, whole
    near = true[neighbours]
    x, y = (np.unique(np.concatenate([ours[:, axes].ravel(), near[:, axes].ravel()])) for axes in ([0, 2], [1, 3]))
    cells = np.diff(y)[:, None] * np.diff(x)[None, :]
    union, kept, own = (_cells(box, x, y) for box in (ours, near, true[[defect]]))
    return float(cells[union & own].sum()), float(cells[union & ~kept].sum()), float(cells[union].sum())


def _cells(box: Floats, x: Floats, y: Floats) -> Bools:
    """(len(y) - 1, len(x) - 1) bool: the cells of the grid that the boxes (N, 4) fill together."""
    middle_x, middle_y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    across = (box[:, 0, None] < middle_x) & (middle_x < box[:, 2, None])
    down = (box[:, 1, None] < middle_y) & (middle_y < box[:, 3, None])
    return np.asarray((down[:, :, None] & across[:, None, :]).any(axis=0))


def _by_masks(
    truth: Dataset, said: Predictions, defect: int, rows: Ints, neighbours: Ints
) -> tuple[float, float, float]:
    theirs, ours = truth.defects.region, said.region
    if theirs is None or ours is None:  # pragma: no cover - checked by the caller
        raise ValueError("regions are missing")
    width, height = truth.images.size[truth.defects.image[defect]].tolist()
    union = geometry.merged([geometry.to_rle(ours[row], width, height) for row in rows])
    own = geometry.to_rle(theirs[defect], width, height)
    kept = geometry.merged([geometry.to_rle(theirs[row], width, height) for row in neighbours])
    whole = geometry.region_area(union)
    within = geometry.region_area(geometry.merged([union, own], intersect=True))
    return within, whole - geometry.region_area(geometry.merged([union, kept], intersect=True)), whole
