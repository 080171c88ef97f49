"""Our matching as an evaluation method of FiftyOne: `dataset.evaluate_detections(..., method="defect_detect")`.

`service.connect` makes the name known, and FiftyOne loads this module by it; so this one imports FiftyOne at its top.

The pairs are those of `evaluation.matching`, with FiftyOne's fields filled as its own methods fill them: `<key>` is
`tp`, `fp` or `fn`, `<key>_id` the partner, `<key>_iou` the overlap. It differs where FiftyOne's matcher counts
otherwise (fiftyone#7423, fiftyone#6363): crowds and ignored ground truth are neither hits nor misses, what they absorb
is no false alarm, and with a `threshold` predictions under it are no false alarms either. These have no `<key>`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fiftyone.core import fields
from fiftyone.utils.eval.coco import COCODetectionResults
from fiftyone.utils.eval.detection import DetectionEvaluation, DetectionEvaluationConfig

from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.explore.fates import ON_PREDICTIONS, ON_TRUTH, Told, judge_read, tell
from defect_detect.explore.names import METHOD, NAMESPACE
from defect_detect.explore.pr_curves import Curves, curves
from defect_detect.explore.readback import Asked, Read, read
from defect_detect.tables import Floats

_NUMBERS = ("_found_at", "_candidate_score", "_candidate_iou")


class MissEvaluationConfig(DetectionEvaluationConfig):  # type: ignore[misc]  # FiftyOne has no types
    """How to match.

    Args:
        pred_field: field of the predictions, `Detections`.
        gt_field: field of the ground truth, `Detections`.
        iou: the IoU from which a prediction finds a defect.
        classwise: whether it must say the defect's class. If not, a pair of two classes is kept as one, which FiftyOne
            counts as a miss and a false alarm.
        iscrowd: attribute of ground truth: it absorbs any number of predictions.
        ignore: attribute of ground truth: it absorbs one prediction.
        use_masks: whether to compare masks.
        threshold: the score that a prediction must reach, or one for each class. None: all count.
        unit: field of samples that says to which part a picture belongs; escape and overkill rate go by it.
        stored: where the run comes from, for those that `store` writes: folder, detector, seed.
    """

    def __init__(  # noqa: PLR0917 - FiftyOne's signature
        self,
        pred_field: str,
        gt_field: str,
        iou: float | None = None,
        classwise: bool | None = None,  # noqa: FBT001
        iscrowd: str = "iscrowd",
        ignore: str = "ignore",
        use_masks: bool = False,  # noqa: FBT001, FBT002
        threshold: float | Mapping[str, float | None] | None = None,
        unit: str = "",
        stored: Mapping[str, Any] | None = None,
        custom_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("use_boxes", None)  # it is for polylines, which aren't evaluated
        super().__init__(
            pred_field,
            gt_field,
            iou=0.5 if iou is None else iou,
            classwise=classwise is not False,
            custom_metrics=custom_metrics,
            **kwargs,
        )
        if isinstance(threshold, Mapping) and not self.classwise:
            raise ValueError("a threshold for each class needs classwise=True")
        self.iscrowd = iscrowd
        self.ignore = ignore
        self.use_masks = use_masks
        self.threshold = dict(threshold) if isinstance(threshold, Mapping) else threshold
        self.unit = unit
        self.stored = None if stored is None else dict(stored)

    @property
    def method(self) -> str:
        """The name."""
        return NAMESPACE

    @property
    def rule(self) -> Rule:
        """The same as the evaluator's rule."""
        return Rule(iou=self.iou, class_aware=self.classwise, geometry="mask" if self.use_masks else "box")

    @property
    def asked(self) -> Asked:
        """Where the labels are."""
        return Asked(
            truth=self.gt_field, predictions=self.pred_field, crowd=self.iscrowd, ignore=self.ignore, unit=self.unit,
            masks=self.use_masks,
        )  # fmt: skip

    def vector(self, names: Sequence[str]) -> Floats:
        """(K,) the threshold of each class; inf for one that has None, and -inf where there is no threshold."""
        if isinstance(self.threshold, dict):
            given = [self.threshold.get(name) for name in names]
            return np.array([math.inf if value is None else value for value in given], np.float64)
        return np.full(len(names), -math.inf if self.threshold is None else self.threshold)

    def judged(self, found: Read) -> Judged:
        """The fates of all labels read from the config's fields.

        Raises:
            ConfigError: the rule can't be followed.
        """
        threshold = self.vector([category.name for category in found.truth.categories])
        return judge_read(self.pred_field, found, self.rule, threshold)


class MissEvaluation(DetectionEvaluation):  # type: ignore[misc]  # FiftyOne has no types
    """Matches all pictures at once when samples are registered; `evaluate` then hands out each picture's part."""

    def __init__(self, config: MissEvaluationConfig) -> None:
        super().__init__(config)
        self._read: Read | None = None
        self._told = Told(fields={}, matches={})

    def register_samples(self, samples: Any, eval_key: str | None, dynamic: bool = True) -> None:  # noqa: FBT001, FBT002
        """Declare the fields, and match.

        Raises:
            ConfigError: a field isn't one of detections, or the rule can't be followed.
            PredictionsError: a prediction has no confidence.
        """
        super().register_samples(samples, eval_key, dynamic=dynamic)
        if eval_key is not None and dynamic:
            for path, kind in self._own_paths(samples, eval_key).items():
                samples._dataset.add_sample_field(path, kind)  # noqa: SLF001 - as the base class does
        self._read = read(samples, self.config.asked)
        self._told = tell(self._read, self.config.judged(self._read))

    def evaluate(self, doc: Any, eval_key: str | None = None) -> list[tuple[Any, ...]]:
        """Write what became of the labels of one picture; returns FiftyOne's matches of it."""
        if eval_key is not None:
            for field in (self.gt_field, self.pred_field):
                labels = doc[field]
                for label in [] if labels is None else labels.detections:
                    for end, value in self._told.fields[label.id].items():
                        # FiftyOne deletes the fields of a run before it is made again: none is left to clear.
                        if value is not None:
                            label[f"{eval_key}{end}"] = value
        return self._told.matches.get(doc.id, [])

    def generate_results(  # noqa: PLR0917 - FiftyOne's signature
        self,
        samples: Any,
        matches: list[tuple[Any, ...]],
        eval_key: str | None = None,
        classes: Sequence[str] | None = None,
        missing: str | None = None,
        progress: Any = None,  # noqa: ARG002
    ) -> MissResults:
        """The results, with COCO's curves of all predictions whatever the threshold."""
        if self._read is None:
            raise ValueError("no samples were registered")
        truth, predictions = self._read.truth, self._read.predictions
        return results(
            samples, self.config, eval_key, matches, found=curves(truth, predictions, self.config.rule.geometry),
            names=[category.name for category in truth.categories], classes=classes, missing=missing, backend=self,
        )  # fmt: skip

    def get_fields(self, samples: Any, eval_key: str, include_custom_metrics: bool = True) -> list[str]:  # noqa: FBT001, FBT002
        """All fields of the run, FiftyOne's own first."""
        theirs = super().get_fields(samples, eval_key, include_custom_metrics=include_custom_metrics)
        return [*theirs, *self._own_paths(samples, eval_key)]

    def cleanup(self, samples: Any, eval_key: str) -> None:
        """Delete the run's fields."""
        super().cleanup(samples, eval_key)
        try:
            own = list(self._own_paths(samples._dataset, eval_key))  # noqa: SLF001 - as the base class does
        except ValueError:  # a label field is gone, and these with it
            return
        samples._dataset.delete_sample_fields(own, error_level=2)  # noqa: SLF001

    def _own_paths(self, samples: Any, eval_key: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field, ends in ((self.config.gt_field, ON_TRUTH), (self.config.pred_field, ON_PREDICTIONS)):
            root, _ = samples._get_label_field_root(field)  # noqa: SLF001
            found |= {
                f"{root}.{eval_key}{end}": fields.FloatField if end in _NUMBERS else fields.StringField for end in ends
            }
        return found


class MissResults(COCODetectionResults):  # type: ignore[misc]  # FiftyOne has no types
    """FiftyOne's results of detection, with COCO's mAP and curves."""


def register() -> None:
    """Make `method="defect_detect"` known to this process's FiftyOne; `service.connect` does."""
    import fiftyone

    fiftyone.evaluation_config.detection_backends[NAMESPACE] = {"config_cls": METHOD}


def results(
    samples: Any,
    config: MissEvaluationConfig,
    key: str | None,
    matches: list[tuple[Any, ...]],
    *,
    found: Curves,
    names: Sequence[str],
    **more: Any,
) -> MissResults:
    """FiftyOne's results from matches and curves, whose classes are `names`; `more`: what else it takes."""
    classes = list(more.pop("classes", None) or names)
    known = {name: place for place, name in enumerate(names)}
    place = [known.get(name, -1) for name in classes]

    def of(column: Floats) -> Floats:
        nothing = np.full((len(found.iou), 1, *column.shape[2:]), -1.0)
        return np.concatenate([column, nothing], axis=1)[:, place]

    return MissResults(
        samples,
        config,
        key,
        matches,
        of(found.precision),
        found.recall,
        found.iou,
        classes,
        recall_sweep=of(found.reached),
        thresholds=of(found.threshold),
        **more,
    )
