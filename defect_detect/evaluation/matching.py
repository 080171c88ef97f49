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

from defect_detect import native
from defect_detect.data.predictions import canonical_order
from defect_detect.errors import ConfigError, Fault, PredictionsError
from defect_detect.evaluation.judged import Evaluation, Matching, Rule
from defect_detect.evaluation.kernels import Spans, assigned, candidates, greedy, near, near_alike
from defect_detect.masks import Masks, overlaps
from defect_detect.ranking import ranked
from defect_detect.tables import Bools, Column, Dataset, Defects, Floats, Ints, Predictions

# COCOeval compares with min(t, 1 - 1e-10), so that t = 1 accepts a perfect box despite rounding.
_ALMOST_ONE = 1 - 1e-10
_TABLE = 8
"""A table of all keys is quicker than a search while it is at most so many times as long as the rows."""


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

    def take(self, where: Ints | Bools) -> Pairs:
        """The pairs that `where` picks, by index or by mask."""
        return Pairs(prediction=self.prediction[where], defect=self.defect[where], overlap=self.overlap[where])


def match(truth: Dataset, predictions: Predictions, rule: Rule) -> Matching:
    """Give each prediction the defect it found.

    Ties in score or overlap break by content (box, then label), never by the order of rows.

    >>> from defect_detect.evaluation import example
    >>> match(example.truth(), example.said(), Rule()).found_at.tolist()
    [0.9, 0.6, -inf]

    Raises:
        ConfigError: `rule` asks for what there is not.
        PredictionsError: masks are to be matched and one side has none.
    """
    check(rule)
    return assign(truth.defects, predictions, _close(truth, predictions, rule), rule)


def evaluate(truth: Dataset, predictions: Predictions, rule: Rule | None = None) -> Evaluation:
    """Bring predictions into canonical order and match them both ways, by label and in any class.

    >>> from defect_detect.evaluation import example
    >>> evaluated = evaluate(example.truth(), example.said())
    >>> evaluated.matching.prediction_of.tolist(), evaluated.any_class.prediction_of.tolist()
    ([0, 1, -1], [0, 1, 2])

    Raises:
        ConfigError: `rule` asks for what there is not.
        PredictionsError: masks are to be matched and one side has none.
    """
    rule = rule or Rule()
    check(rule)
    ordered = canonical_order(predictions)
    any_class = Rule(iou=rule.iou, class_aware=False, geometry=rule.geometry)
    by_class = Rule(iou=rule.iou, class_aware=True, geometry=rule.geometry)
    pairs = _close(truth, ordered, any_class)
    return Evaluation(
        truth=truth,
        predictions=ordered,
        matching=assign(truth.defects, ordered, pairs, by_class),
        any_class=assign(truth.defects, ordered, pairs, any_class),
    )


def check(rule: Rule) -> None:
    """Refuse a rule that can't be followed.

    Raises:
        ConfigError: the IoU is not in (0, 1], or the geometry is unknown.
    """
    faults = []
    if not 0 < rule.iou <= 1:
        faults.append(Fault(where="--iou", expected="a number over 0 and up to 1", found=repr(rule.iou)))
    if rule.geometry not in ("box", "mask"):
        faults.append(Fault(where="--geometry", expected="box | mask", found=repr(rule.geometry)))
    if faults:
        raise ConfigError(*faults)


def overlapping(
    truth: Dataset, predictions: Predictions, shape: str = "box", *, least: float = 0.0, ours: Masks | None = None
) -> Pairs:  # fmt: skip
    """All pairs of a prediction and a defect in one picture that share area; `shape` is `box` or `mask`.

    `least` leaves out those that overlap less. `ours`: the predictions' masks, for those who use them again.

    Raises:
        PredictionsError: `mask`, and one side has no regions.
    """
    spans = _spans(truth.defects.image, predictions.image, len(truth.images))
    if shape == "mask":
        return _mask_overlap(truth, predictions, spans, least, ours)
    return _box_overlap(truth.defects, predictions, spans, least)


def _close(truth: Dataset, predictions: Predictions, rule: Rule) -> Pairs:
    """What `assign` needs of `overlapping`: boxes of another class need not be looked at."""
    least = min(rule.iou, _ALMOST_ONE)
    if rule.geometry == "mask" or not rule.class_aware:
        return overlapping(truth, predictions, rule.geometry, least=least)
    defects, classes = truth.defects, len(truth.categories)
    if native.compiled is not None:
        prediction, defect, overlap = near_alike(truth, predictions, least)
        return Pairs(prediction=prediction, defect=defect, overlap=overlap)
    spans = _spans(
        defects.image * classes + defects.label,
        predictions.image * classes + predictions.label,
        len(truth.images) * classes,
    )
    return _box_overlap(defects, predictions, spans, least)


def assign(
    defects: Defects, predictions: Predictions, pairs: Pairs, rule: Rule, turn: Ints | None = None
) -> Matching:  # fmt: skip
    """The assignment over `pairs`, which must hold every pair of overlap >= `rule.iou`.

    `turn` is `turns` of the predictions, for those who assign often.
    """
    least = min(rule.iou, _ALMOST_ONE)
    if native.compiled is not None and turn is None:
        ours = predictions.image, predictions.label, predictions.score, predictions.box
        theirs = defects.label, defects.box, defects.crowd, defects.counts
        pairs_ = pairs.prediction, pairs.defect, pairs.overlap
        return Matching(rule=rule, **assigned(pairs_, ours, theirs, least, by_label=rule.class_aware))
    keep = pairs.overlap >= least
    if rule.class_aware:
        keep &= predictions.label[pairs.prediction] == defects.label[pairs.defect]
    close = pairs.take(keep)
    turn = (turns(predictions) if turn is None else turn)[close.prediction]

    def preference(rows: Ints) -> list[Column]:
        defect = close.defect[rows]
        # evaluateImg walks the defects in order and takes `ious >= best`, so the last of equals wins.
        last = [-defects.box[defect, side] for side in range(4)]
        return [~defects.counts[defect], -close.overlap[rows], *last, -defects.label[defect], -defect]

    close = close.take(ranked([turn], preference))
    return _tabulate(defects, predictions, close.take(greedy(close.prediction, close.defect, defects.crowd)), rule)


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


def _spans(theirs: Ints, ours: Ints, size: int) -> Spans:
    """The candidates of each prediction: the defects of its own key, one of 0 ... `size` - 1."""
    by = np.argsort(theirs, kind="stable")
    if size <= _TABLE * (len(theirs) + len(ours)):
        edges = np.concatenate([[0], np.cumsum(np.bincount(theirs, minlength=size))])
        return edges[ours], edges[ours + 1] - edges[ours], by
    first = np.searchsorted(theirs[by], ours, side="left")
    return first, np.searchsorted(theirs[by], ours, side="right") - first, by


def _box_overlap(defects: Defects, predictions: Predictions, spans: Spans, least: float) -> Pairs:
    prediction, defect, overlap = near(predictions.box, defects.box, defects.crowd, spans, least)
    return Pairs(prediction=prediction, defect=defect, overlap=overlap)


def _mask_overlap(
    truth: Dataset, predictions: Predictions, spans: Spans, least: float, ours: Masks | None
) -> Pairs:  # fmt: skip
    if truth.defects.region is None or predictions.region is None:
        side = "dataset" if truth.defects.region is None else "predictions"
        raise PredictionsError(
            Fault(where=side, expected="a region for every row", found="boxes only", fix="Match boxes instead.")
        )
    first, count, by = spans
    prediction, place = candidates(np.arange(len(predictions)), first, count)
    defect, size = by[place], truth.images.size
    overlap = overlaps(
        ours or Masks(region=predictions.region, size=size[predictions.image]),
        Masks(region=truth.defects.region, size=size[truth.defects.image]),
        prediction, defect, truth.defects.crowd,
    )  # fmt: skip
    return Pairs(prediction=prediction, defect=defect, overlap=overlap).take((overlap > 0) & (overlap >= least))


def turns(predictions: Predictions) -> Ints:
    """(P,) the turn of each prediction: within its picture by descending score, then box, then label."""

    def content(rows: Ints) -> list[Column]:
        return [*predictions.box[rows].T, predictions.label[rows]]

    order = ranked([predictions.image, -predictions.score], content)
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order))
    return turn
