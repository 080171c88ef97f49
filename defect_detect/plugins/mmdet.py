"""For mmdet: a normalized dataset as `DefectDataset`, missed defects as `MissedDefectMetric`.

A config takes both by `custom_imports = dict(imports=["defect_detect.plugins.mmdet"])`; docs/backends.md has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("mmcv._ext") is None:  # mmcv-lite: torchvision's kernels stand in, before mmdet asks for mmcv's
    from defect_detect.backends._mmdet import operators

    operators.install()

from mmdet.registry import DATASETS, METRICS
from mmengine.evaluator import BaseMetric

from defect_detect.backends._mmdet import ssd  # noqa: F401  registers DefectSSDHead: mmdet's own can't predict
from defect_detect.backends._mmdet.pictures import DefectPictures
from defect_detect.data import coco
from defect_detect.plugins import counted
from defect_detect.tables import Predictions

_FILES = ("LoadImageFromFile", "mmdet.LoadImageFromFile")


@DATASETS.register_module()
class DefectDataset(DefectPictures):
    """A split of the normalized dataset at `data_root`: every picture, read as this package reads them.

    Defect-free and small pictures are kept, crowds and ignored defects are mmdet's ignored ones, classes are the
    dataset's. Where it has no regions, masks are box-shaped. Steps that load files are replaced by our own reader.
    """

    def __init__(
        self, *, data_root: str, split: str, pipeline: Sequence[dict[str, Any]], test_mode: bool = False
    ) -> None:
        steps = [{"type": "LoadDefectPicture"} if step["type"] in _FILES else dict(step) for step in pipeline]
        data = coco.load(Path(data_root), split)
        super().__init__(data=data, masks="regions" if data.has_masks else "boxes", pipeline=steps, test_mode=test_mode)


@METRICS.register_module()
class MissedDefectMetric(BaseMetric):  # type: ignore[misc]  # mmengine is untyped
    """What is missed on a split of the normalized dataset at `data_root`: `counted.Counter.figures`, as `defects/...`.

    `policy`: as `--policy` of compare. Unless it is `score=X`, the threshold is chosen on the pictures that are judged.
    """

    default_prefix = "defects"

    def __init__(
        self, *, data_root: str, split: str, policy: str = counted.POLICY, collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(collect_device=collect_device, prefix=prefix)
        self._counter = counted.counter(data_root, split, policy)
        self._rows = counted.by_path(self._counter.truth)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Take up what is said of some pictures."""
        del data_batch
        for sample in data_samples:
            row, said = counted.row_of(self._rows, sample["img_path"]), sample["pred_instances"]
            box, score, label = (said[name].cpu().numpy() for name in ("bboxes", "scores", "labels"))
            self.results.append((row, self._counter.table(row, box=box, score=score, label=label)))

    def compute_metrics(self, results: list[tuple[int, Predictions]]) -> dict[str, float]:
        """See `counted.Counter.figures`."""
        self._counter.check((self.dataset_meta or {}).get("classes", ()))
        return self._counter.figures(results)
