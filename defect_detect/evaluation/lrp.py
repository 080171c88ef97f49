"""Localization recall precision: misses, false alarms and loose boxes in one error (Oksuz et al. 2021).

LRP(s) = (sum over hits of (1 - IoU) / (1 - t) + false alarms + misses) / (hits + false alarms + misses), by class; oLRP
is its least value over all s. 0 is perfect, 1 the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Lrp
from defect_detect.evaluation.judged import Evaluation, Judged
from defect_detect.tables import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """One class at one threshold.

    lrp             the error
    localization    mean of 1 - IoU over the hits, None without hits
    false_positive  false alarms / (hits + false alarms), None without either
    false_negative  misses / defects
    threshold       the score, None where no prediction counts
    """

    lrp: float
    localization: float | None
    false_positive: float | None
    false_negative: float
    threshold: float | None


def lrp(judged: Sequence[Judged], *, measured: bool = True) -> Lrp | None:
    """The mean over classes with defects of each one's own, then the mean over seeds; None without defects.

    A class's parts are left out of their mean where it has none: no hits, say. Thresholds are means over seeds too.
    `measured`: whether there is an operating point.

    >>> from defect_detect.evaluation import example
    >>> told = lrp([example.judged()])
    >>> round(told.at_operating_point, 3), round(told.olrp, 3)
    (0.66, 0.41)
    """
    labels = np.unique(_counted(judged[0].evaluation))
    if len(labels) == 0:
        return None
    names = [judged[0].evaluation.truth.categories[label].name for label in labels.tolist()]
    best = [[optimum(one.evaluation, label) for label in labels] for one in judged]
    chosen = [[at_threshold(one.evaluation, label, one.threshold[label]).lrp for label in labels] for one in judged]
    return Lrp(
        at_operating_point=float(np.mean(chosen)) if measured else None,
        olrp=float(np.mean([[one.lrp for one in seed] for seed in best])),
        olrp_localization=_mean([[one.localization for one in seed] for seed in best]),
        olrp_false_positive=_mean([[one.false_positive for one in seed] for seed in best]),
        olrp_false_negative=_mean([[one.false_negative for one in seed] for seed in best]),
        optimal_thresholds={
            name: _mean([[seed[place].threshold] for seed in best]) for place, name in enumerate(names)
        },
    )


def optimum(evaluation: Evaluation, label: int) -> Optimum:
    """Where the class's LRP is least; the highest such score. A class that is never predicted has 1, at none."""
    said = evaluation.predictions
    scores = np.unique(said.score[(said.label == label) & ~evaluation.matching.absorbed])[::-1]
    return _least(evaluation, label, np.concatenate([[np.inf], scores]))


def at_threshold(evaluation: Evaluation, label: int, threshold: float) -> Optimum:
    """The class's LRP with predictions scoring at least `threshold`."""
    return _least(evaluation, label, np.array([threshold]))


def _least(evaluation: Evaluation, label: int, scores: Floats) -> Optimum:
    """The least of those at each of the descending scores."""
    said, matching = evaluation.predictions, evaluation.matching
    defects = int((_counted(evaluation) == label).sum())
    counting = np.flatnonzero((said.label == label) & ~matching.absorbed)
    order = counting[np.argsort(-said.score[counting], kind="stable")]
    ends = np.searchsorted(-said.score[order], -scores, side="right")
    found = matching.defect_of[order]
    hit = found >= 0
    loose = np.zeros(len(order))
    loose[hit] = 1 - matching.iou[found[hit]]
    hits, far = (np.concatenate([[0], np.cumsum(one)])[ends] for one in (hit, loose))
    false = ends - hits
    room = 1 - matching.rule.iou
    # At t = 1 every hit is perfect.
    placed = far / room if room > 0 else np.zeros(len(far))
    error = (placed + false + defects - hits) / np.maximum(defects + false, 1)
    k = int(error.argmin())
    return Optimum(
        lrp=float(error[k]),
        localization=float(far[k] / hits[k]) if hits[k] else None,
        false_positive=float(false[k] / ends[k]) if ends[k] else None,
        false_negative=float(1 - hits[k] / defects) if defects else 0.0,
        threshold=float(scores[k]) if np.isfinite(scores[k]) else None,
    )


def _counted(evaluation: Evaluation) -> Ints:
    defects = evaluation.truth.defects
    return defects.label[defects.counts]


def _mean(values: Sequence[Sequence[float | None]]) -> float | None:
    """The mean over seeds of the means over classes, of what there is."""
    known = [[value for value in seed if value is not None] for seed in values]
    means = [float(np.mean(seed)) for seed in known if seed]
    return float(np.mean(means)) if means else None
