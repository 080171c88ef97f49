"""COCO's precision-recall curves, in the shape that FiftyOne draws.

Source: `pycocotools.cocoeval` (accumulate): 101 recalls, at each the best precision there or beyond, by class and IoU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.average_precision import RECALLS
from defect_detect.evaluation.coco_fates import IOUS, Fates, fates
from defect_detect.tables import Bools, Dataset, Floats, Ints, Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Curves at T IoUs of K classes; -1 throughout for a class without a defect that counts.

    iou        (T,)
    recall     (101,)
    precision  (T, K, 101), 0 where the recall isn't reached
    threshold  (T, K, 101), the score at which it is reached, 0 where it isn't
    reached    (T, K), the highest recall
    """

    iou: Floats
    recall: Floats
    precision: Floats
    threshold: Floats
    reached: Floats


def curves(truth: Dataset, predictions: Predictions, shape: str = "box") -> Curves:
    """The curves over all areas, of the 100 best predictions of each class in a picture.

    >>> from defect_detect.evaluation import example
    >>> found = curves(example.truth(), example.said())
    >>> round(float(found.precision[0].mean()), 3)
    0.752

    Raises:
        PredictionsError: `shape` is `mask`, and one side has no masks.
    """
    judged, classes = fates(truth, predictions, shape), len(truth.categories)
    precision = np.full((len(IOUS), classes, len(RECALLS)), -1.0)
    threshold, reached = precision.copy(), np.full((len(IOUS), classes), -1.0)
    order = np.lexsort((np.arange(len(judged.score)), -judged.score, judged.label))
    edges = np.searchsorted(judged.label[order], np.arange(classes + 1))
    for k in np.flatnonzero(judged.counted[0]).tolist():
        rows = order[edges[k] : edges[k + 1]]
        for t in range(len(IOUS)):
            hit, score = _counting(judged, rows, t)
            found = np.cumsum(hit)
            recall = found / judged.counted[0, k]
            best = np.maximum.accumulate((found / np.arange(1, len(hit) + 1))[::-1])[::-1]
            at = np.searchsorted(recall, RECALLS, side="left")
            precision[t, k] = np.append(best, 0.0)[at]
            threshold[t, k] = np.append(score, 0.0)[at]
            reached[t, k] = recall.max(initial=0)
    return Curves(iou=IOUS, recall=RECALLS, precision=precision, threshold=threshold, reached=reached)


def _counting(judged: Fates, rows: Ints, t: int) -> tuple[Bools, Floats]:
    """Hits and scores of the rows that aren't ignored at an IoU; the first range of areas is all of them."""
    bit = np.uint64(1 << t)
    counts = (judged.ignored[rows] & bit) == 0
    return (judged.hit[rows][counts] & bit) != 0, judged.score[rows][counts]
