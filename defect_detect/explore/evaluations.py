"""Our matching as FiftyOne evaluation runs, so that its panel, patches and reports work on it.

FiftyOne's own matcher isn't run: it counts crowds as hits and misses (fiftyone#7423) and has no
threshold of its own (fiftyone#6363). The run says by which rule and threshold it was made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.missed import rates, scored
from defect_detect.explore.names import NAMESPACE, TRUTH
from defect_detect.explore.rows import Told, matches


def register(dataset: Any, told: Told) -> None:
    """Register the run under its key, with its results; the objects carry theirs already."""
    from fiftyone.utils.eval.coco import COCOEvaluationConfig
    from fiftyone.utils.eval.detection import DetectionResults

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
        dataset,
        config,
        told.key.key,
        matches(told),
        classes=labels,
        missing=_missing(labels),
        custom_metrics=_figures(judged),
        backend=method,
    )
    method.save_run_results(dataset, told.key.key, results)


_TITLES = {
    "fn_rate": "FN rate",
    "fn_rate_any_class": "FN rate, any class",
    "escape_rate": "Escape rate",
    "overkill_rate": "Overkill rate",
    "fppi": "FPPI",
}


def _figures(judged: Judged) -> dict[str, dict[str, Any]]:
    """Our figures, as FiftyOne keeps custom metrics; one without a denominator isn't said."""
    found = rates(scored(judged.evaluation), judged.threshold)
    return {
        f"{NAMESPACE}/{name}": {"key": name, "value": value, "label": title, "lower_is_better": True}
        for name, title in _TITLES.items()
        if (value := found[name].value) is not None
    }


def _missing(labels: list[str]) -> str:
    """What stands for 'no partner'; no category may be called so."""
    name = "(none)"
    while name in labels:
        name = f"({name})"
    return name
