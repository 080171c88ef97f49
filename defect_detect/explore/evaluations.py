"""Our matching as FiftyOne evaluation runs, so that its panel, patches and reports work on it.

The objects of a stored comparison carry their results already; what is left is to register the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect.evaluation.comparison import Comparison
from defect_detect.explore import figures, strays
from defect_detect.explore.names import TRUTH
from defect_detect.explore.operating import measurable
from defect_detect.explore.pr_curves import curves
from defect_detect.explore.rows import Told, defect_id, matches, prediction_id


def register(dataset: Any, comparison: Comparison, runs: Sequence[Told], folder: Path) -> None:
    """Register the runs of the comparison in `folder` under their keys, with their results."""
    unmeasured = {one.name for one in comparison.detectors} - measurable(comparison)
    for told in runs:
        _register(dataset, told, folder, measured=told.key.detector not in unmeasured)


def _register(dataset: Any, told: Told, folder: Path, *, measured: bool) -> None:
    from defect_detect.explore import method

    judged = told.judged
    truth, said, rule = judged.evaluation.truth, judged.evaluation.predictions, judged.evaluation.matching.rule
    names = [category.name for category in truth.categories]
    scores = [float(score) if np.isfinite(score) else None for score in judged.threshold]
    config = method.MissEvaluationConfig(
        told.key.key,
        TRUTH,
        iou=rule.iou,
        classwise=rule.class_aware,
        use_masks=rule.geometry == "mask",
        threshold=dict(zip(names, scores, strict=True)),
        unit="group",
        stored={"folder": str(folder.resolve()), "detector": judged.name, "seed": judged.seed},
        custom_metrics=[figures.uri(name) for name in figures.TITLES] if measured else None,
    )
    run = config.build()
    # An interrupted export may have registered it: its fields are those that the objects carry.
    run.register_run(dataset, told.key.key, cleanup=False)
    defects = [defect_id(truth, row) for row in range(len(truth.defects))]
    ids = [prediction_id(told.number, row) for row in range(len(said))]
    results = method.results(
        dataset,
        config,
        told.key.key,
        [one for _, one in matches(judged, defects, ids)],
        found=curves(truth, said, rule.geometry),
        names=names,
        missing=_missing(names),
        custom_metrics=figures.told(judged) if measured else None,
        backend=run,
    )
    run.save_run_results(dataset, told.key.key, results)
    strays.drop_results(dataset, told.key.key)


def _missing(labels: list[str]) -> str:
    """What stands for 'no partner'; no category may be called so."""
    name = "(none)"
    while name in labels:
        name = f"({name})"
    return name
