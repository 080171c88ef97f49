"""Our figures as metrics that FiftyOne's Model Evaluation panel offers and computes: one operator each.

A plugin registers `OPERATORS`; like `method`, this module is for FiftyOne to load. The figures are those of the
evaluator at the run's threshold: of the labels in its fields, or, where the run is one of a stored comparison, of the
comparison's own files.
"""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo

from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.explore import figures
from defect_detect.explore.fates import judge_read
from defect_detect.explore.method import MissEvaluationConfig
from defect_detect.explore.readback import Asked, read


class _Metric(foo.EvaluationMetric):  # type: ignore[misc]  # FiftyOne has no types
    """One of `figures.TITLES`."""

    figure = ""

    @property
    def config(self) -> Any:
        """Name, title and what it says."""
        title, says = figures.TITLES[self.figure]
        return foo.EvaluationMetricConfig(
            name=self.figure,
            label=title,
            description=says,
            eval_types=["detection"],
            aggregate_key=self.figure,
            lower_is_better=True,
        )

    def compute(self, samples: Any, results: Any, **_: Any) -> float | None:
        """The figure of the run; None where there is nothing to count.

        Raises:
            InputError: the run is of a stored comparison whose folder is gone.
            ConfigError: the run's fields can't be read back.
        """
        return figures.value(_judged(samples, results.config), self.figure)


OPERATORS = tuple(type(f"Metric_{name}", (_Metric,), {"figure": name, "__doc__": says[1]})
                  for name, says in figures.TITLES.items())  # fmt: skip
"""What a plugin registers."""


def _judged(samples: Any, config: Any) -> Judged:
    if isinstance(config, MissEvaluationConfig):
        if config.stored is not None:
            return figures.of_stored(config.stored, config.vector)
        return config.judged(read(samples, config.asked))
    # Another method's run, COCO's say: its own rule, with every prediction counting.
    rule = Rule(iou=config.iou, class_aware=bool(config.classwise), geometry="mask" if config.use_masks else "box")
    asked = Asked(
        truth=config.gt_field,
        predictions=config.pred_field,
        crowd=getattr(config, "iscrowd", ""),
        ignore="",
        masks=bool(config.use_masks),
    )
    found = read(samples, asked)
    threshold = MissEvaluationConfig(config.pred_field, config.gt_field).vector(
        [category.name for category in found.truth.categories]
    )
    return judge_read(config.pred_field, found, rule, threshold)
