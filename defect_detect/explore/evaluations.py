"""Our matching as FiftyOne evaluation runs, so that its panel, patches and reports work on it.

FiftyOne's own matcher isn't run: it counts crowds as hits and misses (fiftyone#7423) and has no
threshold of its own (fiftyone#6363). The run says by which rule and threshold it was made.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from defect_detect.explore.names import NAMESPACE, TRUTH
from defect_detect.explore.rows import Told, matches


def register(fiftyone: ModuleType, dataset: Any, told: Told) -> None:
    """Register the run under its key, with its results; the objects carry theirs already."""
    from fiftyone.utils.eval.coco import COCOEvaluationConfig
    from fiftyone.utils.eval.detection import DetectionResults

    del fiftyone
    judged = told.judged
    truth, rule = judged.evaluation.truth, judged.evaluation.matching.rule
    labels = [category.name for category in truth.categories]
    config = COCOEvaluationConfig(
        told.key.key,
        TRUTH,
        iou=rule.iou,
        classwise=rule.class_aware,
        use_masks=rule.geometry == "mask",
        matched_by=NAMESPACE,
        detector=told.key.title,
        thresholds={
            name: float(score) if np.isfinite(score) else None
            for name, score in zip(labels, judged.threshold, strict=True)
        },
    )
    method = config.build()
    method.register_run(dataset, told.key.key)
    results = DetectionResults(
        dataset, config, told.key.key, matches(told), classes=labels, missing=_missing(labels), backend=method
    )
    method.save_run_results(dataset, told.key.key, results)


def _missing(labels: list[str]) -> str:
    """What stands for 'no partner'; no category may be called so."""
    name = "(none)"
    while name in labels:
        name = f"({name})"
    return name
