"""Why each defect was missed and what each false alarm was: exactly one reason, the first that applies.

After TIDE (Bolya et al. 2020), made per defect. Definitions: docs/metrics.md, 'Why a defect was missed'.
"""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.judged import Evaluation, Judged
from defect_detect.evaluation.matching import Pairs, overlapping
from defect_detect.evaluation.missed import found
from defect_detect.tables import Bools, Column, Floats, Ints

REASONS = (
    "below_threshold", "misclassified", "fragmented", "mislocalized", "merged", "low_overlap_and_label", "unseen",
)  # fmt: skip
FALSE_ALARMS = ("duplicate", "misclassified", "mislocalized", "background")
TOUCHED = 0.1
HALF = 0.5


def judge(name: str, seed: int, evaluation: Evaluation, threshold: Floats) -> Judged:
    """A fate for every defect and prediction at the thresholds (K,) by label; inf: the policy is unreachable.

    >>> from defect_detect.evaluation import example
    >>> one = judge("a", 0, example.evaluation(), np.full(2, 0.5))
    >>> one.reason.tolist(), one.outcome.tolist()
    (['', '', 'misclassified'], ['hit', 'hit', 'misclassified', 'below_threshold'])
    """
    truth, matching = evaluation.truth, evaluation.matching
    pairs = overlapping(truth, evaluation.predictions, matching.rule.geometry)
    pairs = pairs.take(truth.defects.counts[pairs.defect])
    seen = found(evaluation, threshold)
    reason, candidate = _misses(evaluation, threshold, seen, pairs)
    return Judged(
        name=name,
        seed=seed,
        evaluation=evaluation,
        threshold=threshold,
        found=seen,
        reason=reason,
        candidate=np.where(seen, matching.prediction_of, candidate),
        outcome=_outcomes(evaluation, threshold, seen, pairs),
    )


def _misses(evaluation: Evaluation, threshold: Floats, seen: Bools, pairs: Pairs) -> tuple[Column, Ints]:
    defects, predictions, matching = evaluation.truth.defects, evaluation.predictions, evaluation.matching
    missed = defects.counts & ~seen
    near = pairs.take(missed[pairs.defect] & (predictions.score >= threshold[predictions.label])[pairs.prediction])
    free = ((matching.defect_of < 0) & ~matching.absorbed)[near.prediction]
    hit = (matching.defect_of >= 0)[near.prediction]
    own = predictions.label[near.prediction] == defects.label[near.defect]
    over = near.overlap >= matching.rule.iou
    close = (near.overlap >= TOUCHED) & ~over
    covers = _shared(evaluation, near) >= HALF
    fragment = free & own & ~over
    fragment &= _fragmented(evaluation, near, fragment)[near.defect]

    reason = np.full(len(defects), "", dtype="<U21")
    candidate = np.full(len(defects), -1, np.int64)
    reason[missed] = "unseen"
    # From the last reason to the first, so that the first that applies stays.
    for name, applies in reversed([
        ("misclassified", free & ~own & over),
        ("fragmented", fragment),
        ("mislocalized", free & own & close),
        ("merged", hit & own & (over | covers)),
        ("low_overlap_and_label", free & ~own & close),
    ]):  # fmt: skip
        _set(near.take(applies), name, reason, candidate)
    below = missed & np.isfinite(matching.found_at)
    reason[below] = "below_threshold"
    candidate[below] = matching.prediction_of[below]
    return reason, candidate


def _set(pairs: Pairs, name: str, reason: Column, candidate: Ints) -> None:
    """Give the defects of `pairs` this reason, each with its nearest prediction."""
    # Ascending overlap, the earlier prediction last among equals: it is the one that stays.
    order = np.lexsort((-pairs.prediction, pairs.overlap))
    reason[pairs.defect] = name
    candidate[pairs.defect[order]] = pairs.prediction[order]


def _shared(evaluation: Evaluation, pairs: Pairs) -> Floats:
    """(M,) the share of the defect that the prediction covers."""
    defects, predictions = evaluation.truth.defects, evaluation.predictions
    if evaluation.matching.rule.geometry == "box":
        shared = geometry.paired_intersection(predictions.box[pairs.prediction], defects.box[pairs.defect])
        return shared / geometry.area(defects.box)[pairs.defect]
    return np.array([
        _masked(evaluation, defect, np.array([prediction]))
        for defect, prediction in zip(pairs.defect, pairs.prediction, strict=True)
    ], np.float64)  # fmt: skip


def _fragmented(evaluation: Evaluation, pairs: Pairs, fragment: Bools) -> Bools:
    """(G,) bool: at least two fragments that together cover half of the defect."""
    defects, predictions = evaluation.truth.defects, evaluation.predictions
    result = np.zeros(len(defects), np.bool_)
    parts = pairs.take(fragment)
    several = np.flatnonzero(np.bincount(parts.defect, minlength=len(defects)) > 1)
    for defect in several:
        rows = parts.prediction[parts.defect == defect]
        if evaluation.matching.rule.geometry == "box":
            covered = covered_share(defects.box[defect], predictions.box[rows])
        else:
            covered = _masked(evaluation, int(defect), rows)
        result[defect] = covered >= HALF
    return result


def covered_share(box: Floats, by: Floats) -> float:
    """The share of `box` (4,) that the boxes `by` (N, 4) cover together."""
    inside = np.clip(by, np.tile(box[:2], 2), np.tile(box[2:], 2))
    x, y = np.unique(inside[:, [0, 2]]), np.unique(inside[:, [1, 3]])
    middle_x, middle_y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    across = (inside[:, 0, None] < middle_x) & (middle_x < inside[:, 2, None])
    down = (inside[:, 1, None] < middle_y) & (middle_y < inside[:, 3, None])
    filled = (down[:, :, None] & across[:, None, :]).any(axis=0)
    cells = np.diff(y)[:, None] * np.diff(x)[None, :]
    return float(cells[filled].sum() / ((box[2] - box[0]) * (box[3] - box[1])))


def _masked(evaluation: Evaluation, defect: int, rows: Ints) -> float:
    """The share of the defect's mask that the predictions' masks cover together."""
    truth, said = evaluation.truth.defects.region, evaluation.predictions.region
    if truth is None or said is None:  # pragma: no cover - matching by masks has refused this already
        raise ValueError("regions are missing")
    width, height = evaluation.truth.images.size[evaluation.truth.defects.image[defect]].tolist()
    target = geometry.to_mask(truth[defect], width, height)
    cover = np.zeros_like(target)
    for row in rows:
        cover |= geometry.to_mask(said[row], width, height)
    return float((target & cover).sum() / max(int(target.sum()), 1))


def _outcomes(evaluation: Evaluation, threshold: Floats, seen: Bools, pairs: Pairs) -> Column:
    predictions, matching = evaluation.predictions, evaluation.matching
    own = predictions.label[pairs.prediction] == evaluation.truth.defects.label[pairs.defect]
    over = pairs.overlap >= matching.rule.iou
    touched = pairs.overlap >= TOUCHED
    outcome = np.full(len(predictions), "background", dtype="<U15")
    outcome[pairs.prediction[own & touched & ~over]] = "mislocalized"
    outcome[pairs.prediction[~own & over]] = "misclassified"
    outcome[pairs.prediction[own & over & seen[pairs.defect]]] = "duplicate"
    outcome[matching.absorbed] = "absorbed"
    outcome[matching.defect_of >= 0] = "hit"
    outcome[predictions.score < threshold[predictions.label]] = "below_threshold"
    return outcome
