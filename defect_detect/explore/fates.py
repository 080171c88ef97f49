"""What becomes of every label of a dataset that was read back, as FiftyOne's evaluations tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from defect_detect.evaluation.judged import Evaluation, Judged, Rule
from defect_detect.evaluation.matching import match
from defect_detect.evaluation.reasons import judge
from defect_detect.explore import rows
from defect_detect.explore.readback import Read
from defect_detect.tables import Category, Dataset, Floats, Predictions

ON_TRUTH = ("_reason", "_found_at", "_candidate_id", "_candidate_score", "_candidate_iou")
"""What a key is extended by on ground truth, beside what FiftyOne's own methods fill."""
ON_PREDICTIONS = ("_outcome",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """fields: label id -> ending of the key -> value. matches: sample id -> FiftyOne's matches."""

    fields: Mapping[str, dict[str, Any]]
    matches: Mapping[str, list[tuple[Any, ...]]]


def judge_read(name: str, found: Read, rule: Rule, threshold: Floats) -> Judged:
    """The fates at the thresholds (K,); by a rule without classes, as if there were one class.

    Raises:
        ConfigError: the rule can't be followed.
    """
    truth, predictions = found.truth, found.predictions
    if not rule.class_aware:
        truth, predictions, threshold = _one_class(truth, predictions, threshold)
    evaluation = Evaluation(
        truth=truth,
        predictions=predictions,
        matching=match(truth, predictions, replace(rule, class_aware=True)),
        any_class=match(truth, predictions, replace(rule, class_aware=False)),
    )
    return judge(name, 0, evaluation, threshold)


def tell(found: Read, judged: Judged) -> Told:
    """Every label's fields, and the matches; `judged` is of `found`, by whatever rule."""
    names = [category.name for category in found.truth.categories]
    of = (
        [names[label] for label in found.truth.defects.label.tolist()],
        [names[label] for label in found.predictions.label.tolist()],
    )
    fields: dict[str, dict[str, Any]] = {}
    for label in found.defects:
        fields[label] = {"": None, "_id": "", "_iou": None} | dict.fromkeys(ON_TRUTH)
    for row, label in enumerate(found.said):
        fields[label] = {"": None, "_id": "", "_iou": None, "_outcome": str(judged.outcome[row])}
    by_sample: dict[str, list[tuple[Any, ...]]] = {}
    for image, one in rows.matches(judged, found.defects, found.said, of=of):
        by_sample.setdefault(found.samples[image], []).append(one)
        true, said, iou, _, defect, prediction = one
        right = true == said
        if defect is not None:
            fields[defect] |= {"": "tp" if right else "fn", "_id": prediction or "", "_iou": iou}
        if prediction is not None:
            fields[prediction] |= {"": "tp" if right else "fp", "_id": defect or "", "_iou": iou}
    overlap, score = rows.candidate_iou(judged), judged.evaluation.predictions.score
    for row in np.flatnonzero(judged.evaluation.truth.defects.counts).tolist():
        own, at = fields[found.defects[row]], float(judged.evaluation.matching.found_at[row])
        own["_found_at"] = at if math.isfinite(at) else None
        if own[""] == "fn":
            # A pair of two classes, which only a matching without classes makes.
            own["_reason"] = str(judged.reason[row]) or "misclassified"
            if (candidate := int(judged.candidate[row])) >= 0:
                own["_candidate_id"] = found.said[candidate]
                own["_candidate_score"] = float(score[candidate])
                own["_candidate_iou"] = float(overlap[row])
    return Told(fields=fields, matches=by_sample)


def _one_class(truth: Dataset, predictions: Predictions, threshold: Floats) -> tuple[Dataset, Predictions, Floats]:
    defects = replace(truth.defects, label=np.zeros_like(truth.defects.label))
    only = Category(id=1, name="defect", source_id=1)
    label = np.zeros_like(predictions.label)
    return replace(truth, categories=(only,), defects=defects), replace(predictions, label=label), threshold[:1]
