"""Recall against false alarms per image over all thresholds, and what is summed up from it.

FROC: step curve; beyond the last FPPI the last recall. Its score is the mean recall at
1/8, 1/4, 1/2, 1, 2, 4, 8 FPPI (LUNA16). LAMR: Dollar et al. 2012.
"""

from __future__ import annotations

import numpy as np

from defect_detect.errors import NotMeasurable
from defect_detect.evaluation.comparison import Curve, Froc
from defect_detect.evaluation.judged import Evaluation, Matching, Rule
from defect_detect.evaluation.matching import match
from defect_detect.tables import Bools, Dataset, Floats, Predictions

POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LAMR_POINTS: Floats = np.logspace(-2, 0, 9)


def froc(evaluation: Evaluation) -> Froc:
    """The class-aware curve with its score and LAMR; None where no defect counts.

    >>> from defect_detect.evaluation import example
    >>> curve = froc(example.evaluation()).curve
    >>> curve.fppi, [round(recall, 2) for recall in curve.recall]
    ([0.0, 0.0, 0.25, 0.5], [0.0, 0.33, 0.67, 0.67])
    """
    truth, matching = evaluation.truth, evaluation.matching
    labels = np.unique(truth.defects.label[truth.defects.counts])
    fppi, recall = curve(truth, evaluation.predictions, matching)
    if len(labels) == 0:
        none = Curve(fppi=[], recall=[])
        return Froc(curve=none, recall_at={}, score=None, score_interval=None, lamr=None)
    at = recall_at(fppi, recall, np.array(POINTS))
    by_class = [lamr_of(evaluation, truth.defects.label == k, evaluation.predictions.label == k) for k in labels]
    return Froc(
        curve=_corners(fppi, recall),
        recall_at={f"{point:g}": float(value) for point, value in zip(POINTS, at, strict=True)},
        score=float(at.mean()),
        score_interval=None,
        lamr=lamr_of(evaluation),
        lamr_class_mean=float(np.mean(by_class)),
    )


def curve(
    truth: Dataset,
    predictions: Predictions,
    matching: Matching,
    defect: Bools | None = None,
    prediction: Bools | None = None,
) -> tuple[Floats, Floats]:
    """FPPI and recall at every score that occurs, both rising, from (0, 0) at a threshold above all.

    `defect` (G,) and `prediction` (P,) bool restrict the curve to a class.
    """
    counts = truth.defects.counts if defect is None else truth.defects.counts & defect
    unmatched = (matching.defect_of < 0) & ~matching.absorbed
    false = unmatched if prediction is None else unmatched & prediction
    scores = np.unique(predictions.score)[::-1]
    alarms, hits = np.sort(predictions.score[false]), np.sort(matching.found_at[counts])
    fppi = (len(alarms) - np.searchsorted(alarms, scores, side="left")) / max(len(truth.images), 1)
    recall = (len(hits) - np.searchsorted(hits, scores, side="left")) / max(len(hits), 1)
    return np.concatenate([[0.0], fppi]), np.concatenate([[0.0], recall])


def recall_at(fppi: Floats, recall: Floats, points: Floats) -> Floats:
    """The recall of the lowest threshold whose FPPI is at most each of `points`."""
    result: Floats = recall[np.searchsorted(fppi, points, side="right") - 1]
    return result


def lamr_of(evaluation: Evaluation, defect: Bools | None = None, prediction: Bools | None = None) -> float:
    """Log-average miss rate: exp(mean of log miss rate at nine FPPI from 0.01 to 1); a silent detector: 1.

    Miss rates are clipped below at 1 / (2 x defects), so that a perfect detector has a logarithm.
    """
    truth = evaluation.truth
    counts = truth.defects.counts if defect is None else truth.defects.counts & defect
    fppi, recall = curve(truth, evaluation.predictions, evaluation.matching, defect, prediction)
    miss = np.maximum(1 - recall_at(fppi, recall, LAMR_POINTS), 1 / (2 * max(int(counts.sum()), 1)))
    return float(np.exp(np.log(miss).mean()))


def mean_froc_recall(truth: Dataset, predictions: Predictions) -> float:
    """The validation score of every training: mean recall at 1/8 ... 8 FPPI, IoU 0.5, class-aware.

    Steadier than a FN rate at one budget where validation is small.

    >>> from defect_detect.evaluation import example
    >>> round(mean_froc_recall(example.truth(), example.said()), 3)
    0.619

    Raises:
        NotMeasurable: `truth` has no defect that counts.
    """
    if not truth.defects.counts.any():
        raise NotMeasurable(f"the {truth.split} split has no defects, so recall can't be measured on it")
    fppi, recall = curve(truth, predictions, match(truth, predictions, Rule()))
    return float(recall_at(fppi, recall, np.array(POINTS)).mean())


def fn_rate_at_budget(evaluation: Evaluation, fppi: float = 0.1) -> float:
    """FN rate at the lowest threshold whose FPPI is at most `fppi`; 1 where even the top score exceeds it.

    >>> from defect_detect.evaluation import example
    >>> round(fn_rate_at_budget(example.evaluation(), 0.25), 3)
    0.333

    Raises:
        NotMeasurable: there is no defect that counts.
    """
    truth = evaluation.truth
    if not truth.defects.counts.any():
        raise NotMeasurable(f"the {truth.split} split has no defects, so a FN rate can't be measured on it")
    steps = curve(truth, evaluation.predictions, evaluation.matching)
    return 1 - float(recall_at(*steps, np.array([fppi]))[0])


def _corners(fppi: Floats, recall: Floats) -> Curve:
    """The step curve without the points that lie on a step: fewer numbers, the same curve."""
    rises = np.flatnonzero(np.diff(recall, prepend=-1.0) > 0)
    keep = np.union1d(rises, [len(fppi) - 1])
    return Curve(fppi=fppi[keep].tolist(), recall=recall[keep].tolist())
