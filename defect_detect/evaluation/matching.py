"""Which prediction found which defect: COCO's assignment, exactly.

Source: Lin et al. 2014; the reference is `pycocotools.COCOeval.evaluateImg`. In each picture, by
descending score, a prediction takes the free defect of highest overlap >= t. It prefers defects that
count to those that don't. A crowd stays free and overlaps by intersection over the prediction's area.

Since assignment goes by descending score, the predictions scoring >= s alone would be given exactly
this assignment restricted to them: one matching answers every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect import geometry
from defect_detect.data.predictions import canonical_order
from defect_detect.errors import ConfigError, Fault, PredictionsError
from defect_detect.evaluation.judged import Evaluation, Matching, Rule
from defect_detect.tables import Bools, Dataset, Defects, Floats, Ints, Predictions

# COCOeval compares with min(t, 1 - 1e-10), so that t = 1 accepts a perfect box despite rounding.
_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Every prediction and defect of one picture that overlap, as M rows.

    prediction  (M,) int64, row in the predictions, ascending
    defect      (M,) int64, row in the defects
    overlap     (M,) float64 > 0, IoU; with a crowd the intersection over the prediction's area
    """

    prediction: Ints
    defect: Ints
    overlap: Floats

    def take(self, where: Bools) -> Pairs:
        """The pairs that the mask picks."""
        return Pairs(prediction=self.prediction[where], defect=self.defect[where], overlap=self.overlap[where])


def match(truth: Dataset, predictions: Predictions, rule: Rule) -> Matching:
    """Give each prediction the defect it found.

    Ties in score or overlap break by content (box, then label), never by the order of rows.

    Raises:
        ConfigError: `rule` asks for what there is not.
        PredictionsError: masks are to be matched and one side has none.
    """
    check(rule)
    return assign(truth.defects, predictions, overlapping(truth, predictions, rule.geometry), rule)


def evaluate(truth: Dataset, predictions: Predictions, rule: Rule | None = None) -> Evaluation:
    """Bring predictions into canonical order and match them both ways, by label and in any class.

    Raises:
        ConfigError: `rule` asks for what there is not.
        PredictionsError: masks are to be matched and one side has none.
    """
    rule = rule or Rule()
    check(rule)
    ordered = canonical_order(predictions)
    pairs, order = overlapping(truth, ordered, rule.geometry), content_order(truth.defects, ordered)
    any_class = Rule(iou=rule.iou, class_aware=False, geometry=rule.geometry)
    by_class = Rule(iou=rule.iou, class_aware=True, geometry=rule.geometry)
    return Evaluation(
        truth=truth,
        predictions=ordered,
        matching=assign(truth.defects, ordered, pairs, by_class, order),
        any_class=assign(truth.defects, ordered, pairs, any_class, order),
    )


def check(rule: Rule) -> None:
    """Refuse a rule that can't be followed.

    Raises:
        ConfigError: the IoU is not in (0, 1], or the geometry is unknown.
    """
    faults = []
    if not 0 < rule.iou <= 1:
        faults.append(Fault(where="iou", expected="a number over 0 and up to 1", found=repr(rule.iou)))
    if rule.geometry not in ("box", "mask"):
        faults.append(Fault(where="geometry", expected="box | mask", found=repr(rule.geometry)))
    if faults:
        raise ConfigError(*faults)


def overlapping(truth: Dataset, predictions: Predictions, shape: str = "box") -> Pairs:
    """All pairs of a prediction and a defect in one picture that share area; `shape` is `box` or `mask`.

    Raises:
        PredictionsError: `mask`, and one side has no regions.
    """
    pairs = _candidates(truth.defects, predictions)
    overlap = _box_overlap if shape == "box" else _mask_overlap
    return overlap(truth, predictions, pairs)


def assign(
    defects: Defects, predictions: Predictions, pairs: Pairs, rule: Rule, order: tuple[Ints, Ints] | None = None
) -> Matching:
    """The assignment over `pairs`, which must hold every pair of overlap >= `rule.iou`.

    `order` is `content_order` of the same tables, for those who assign often.
    """
    prediction_turn, defect_place = order or content_order(defects, predictions)
    keep = pairs.overlap >= min(rule.iou, _ALMOST_ONE)
    if rule.class_aware:
        keep &= predictions.label[pairs.prediction] == defects.label[pairs.defect]
    near = pairs.take(keep)
    turn = prediction_turn[near.prediction]
    # evaluateImg walks the defects in order and takes `ious >= best`, so the last of equals wins.
    last = -defect_place[near.defect]
    rows = np.lexsort((last, -near.overlap, ~defects.counts[near.defect], turn))

    free = [True] * len(defects)
    crowd = defects.crowd.tolist()
    busy = [False] * len(predictions)
    chosen = []
    for row, prediction, defect in zip(
        rows.tolist(), near.prediction[rows].tolist(), near.defect[rows].tolist(), strict=True
    ):
        if not busy[prediction] and free[defect]:
            busy[prediction] = True
            free[defect] = crowd[defect]
            chosen.append(row)
    return _tabulate(defects, predictions, near.take(np.array(chosen, np.int64)), rule)


def _tabulate(defects: Defects, predictions: Predictions, chosen: Pairs, rule: Rule) -> Matching:
    hit = defects.counts[chosen.defect]
    hits = chosen.take(hit)
    prediction_of = np.full(len(defects), -1, np.int64)
    defect_of = np.full(len(predictions), -1, np.int64)
    absorbed = np.zeros(len(predictions), np.bool_)
    overlap = np.zeros(len(defects))
    found_at = np.full(len(defects), -np.inf)
    prediction_of[hits.defect] = hits.prediction
    defect_of[hits.prediction] = hits.defect
    absorbed[chosen.prediction[~hit]] = True
    overlap[hits.defect] = hits.overlap
    found_at[hits.defect] = predictions.score[hits.prediction]
    return Matching(
        rule=rule, prediction_of=prediction_of, defect_of=defect_of, absorbed=absorbed, iou=overlap, found_at=found_at
    )


def _candidates(defects: Defects, predictions: Predictions) -> Pairs:
    """Every pair within one picture; the overlap is yet to be filled in."""
    by_image = np.argsort(defects.image, kind="stable")
    image = defects.image[by_image]
    first = np.searchsorted(image, predictions.image, side="left")
    count = np.searchsorted(image, predictions.image, side="right") - first
    prediction = np.repeat(np.arange(len(predictions)), count)
    within = np.arange(len(prediction)) - np.repeat(np.cumsum(count) - count, count)
    defect = by_image[np.repeat(first, count) + within]
    return Pairs(prediction=prediction, defect=defect, overlap=np.zeros(len(prediction)))


def _box_overlap(truth: Dataset, predictions: Predictions, pairs: Pairs) -> Pairs:
    theirs, ours = truth.defects.box, predictions.box
    shared = geometry.paired_intersection(ours[pairs.prediction], theirs[pairs.defect])
    near = pairs.take(shared > 0)
    shared = shared[shared > 0]
    area = geometry.area(ours)[near.prediction]
    union = area + geometry.area(theirs)[near.defect] - shared
    crowd = truth.defects.crowd[near.defect]
    return Pairs(prediction=near.prediction, defect=near.defect, overlap=shared / np.where(crowd, area, union))


def _mask_overlap(truth: Dataset, predictions: Predictions, pairs: Pairs) -> Pairs:
    if truth.defects.region is None or predictions.region is None:
        side = "dataset" if truth.defects.region is None else "predictions"
        raise PredictionsError(
            Fault(where=side, expected="a region for every row", found="boxes only", fix="Match boxes instead.")
        )
    overlap = np.zeros(len(pairs.prediction))
    image = predictions.image[pairs.prediction]
    order = np.argsort(image, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(image[order])) + 1):
        if len(rows) == 0:
            continue
        width, height = truth.images.size[image[rows[0]]].tolist()
        mine, my_row = np.unique(pairs.prediction[rows], return_inverse=True)
        other, other_row = np.unique(pairs.defect[rows], return_inverse=True)
        table = geometry.mask_iou(
            [geometry.to_rle(predictions.region[row], width, height) for row in mine],
            [geometry.to_rle(truth.defects.region[row], width, height) for row in other],
            truth.defects.crowd[other].tolist(),
        )
        overlap[rows] = table[my_row, other_row]
    filled = Pairs(prediction=pairs.prediction, defect=pairs.defect, overlap=overlap)
    return filled.take(overlap > 0)


def content_order(defects: Defects, predictions: Predictions) -> tuple[Ints, Ints]:
    """(P,) the turn of each prediction, by descending score, box, label; (G,) the place of each defect, by box."""
    turn = np.lexsort((predictions.label, *predictions.box.T[::-1], -predictions.score))
    place = np.lexsort((defects.label, *defects.box.T[::-1]))
    return _inverse(turn), _inverse(place)


def _inverse(order: Ints) -> Ints:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place
