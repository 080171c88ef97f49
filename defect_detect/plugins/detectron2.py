"""For detectron2: a normalized dataset in its catalogs, missed defects as `MissedDefectEvaluator`.

docs/backends.md has an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import BoxMode
from detectron2.utils import comm

from defect_detect import geometry
from defect_detect.data import coco
from defect_detect.errors import ConfigError, Fault
from defect_detect.plugins import counted
from defect_detect.tables import Dataset, Predictions


def register(name: str, folder: str | Path, split: str) -> None:
    """Offer a split of the normalized dataset at `folder` as `name`, with its classes.

    Crowds and ignored defects are marked `iscrowd`, which detectron2 doesn't train on. Pictures without defects are
    there; whether they are trained on is `DATALOADER.FILTER_EMPTY_ANNOTATIONS`, which should be False.

    Raises:
        ConfigError: the name is taken. DatasetError: there is no such split.
    """
    if name in DatasetCatalog.list():
        fix = "Choose another, or remove it from DatasetCatalog and MetadataCatalog."
        raise ConfigError(Fault(where=f"dataset {name!r}", expected="a new name", found="one that is taken", fix=fix))
    truth = coco.load(Path(folder), split)
    DatasetCatalog.register(name, lambda: dicts(truth))
    MetadataCatalog.get(name).set(
        thing_classes=[category.name for category in truth.categories], defect_folder=str(folder), defect_split=split
    )


def dicts(data: Dataset) -> list[dict[str, Any]]:
    """A split as detectron2's standard dataset dicts; regions as run lengths (`INPUT.MASK_FORMAT: bitmask`)."""
    found: list[dict[str, Any]] = [
        {"file_name": str(data.root / name), "image_id": row, "width": width, "height": height, "annotations": []}
        for row, (name, (width, height)) in enumerate(
            zip(data.images.file, data.images.size.tolist(), strict=True)
        )
    ]  # fmt: skip
    defects = data.defects
    for at, row in enumerate(defects.image.tolist()):
        picture = found[row]
        one = {
            "bbox": defects.box[at].tolist(), "bbox_mode": BoxMode.XYXY_ABS, "category_id": int(defects.label[at]),
            "iscrowd": int(not defects.counts[at]),
        }  # fmt: skip
        if defects.region is not None:
            rle = geometry.to_rle(defects.region[at], picture["width"], picture["height"])
            one["segmentation"] = {"size": [rle.height, rle.width], "counts": rle.counts}
        picture["annotations"].append(one)
    return found


class MissedDefectEvaluator(DatasetEvaluator):  # type: ignore[misc]  # detectron2 is untyped
    """What is missed on a registered split: `counted.Counter.figures`, as the task `defects`.

    `policy`: as `--policy` of compare. Unless it is `score=X`, the threshold is chosen on the pictures that are judged.
    """

    def __init__(self, name: str, policy: str = counted.POLICY) -> None:
        about = MetadataCatalog.get(name)
        if not hasattr(about, "defect_folder"):
            fix = "Offer it with defect_detect.plugins.detectron2.register."
            raise ConfigError(Fault(where=f"dataset {name!r}", expected="one of `register`", found="another", fix=fix))
        self._counter = counted.counter(about.defect_folder, about.defect_split, policy)
        self._rows = counted.by_path(self._counter.truth)
        self._said: list[tuple[int, Predictions]] = []

    def reset(self) -> None:
        """Begin anew."""
        self._said = []

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Take up what is said of some pictures."""
        for shown, output in zip(inputs, outputs, strict=True):
            row, said = counted.row_of(self._rows, shown["file_name"]), output["instances"].to("cpu")
            box, score, label = said.pred_boxes.tensor.numpy(), said.scores.numpy(), said.pred_classes.numpy()
            self._said.append((row, self._counter.table(row, box=box, score=score, label=label)))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """See `counted.Counter.figures`; nothing in processes other than the first."""
        parts = comm.gather(self._said, dst=0)
        if not comm.is_main_process():
            return {}
        return {"defects": self._counter.figures([one for part in parts for one in part])}
