"""Our pictures and truth in mmdet's own dataset and pipeline: the same arrays that every detector sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS, TRANSFORMS

from defect_detect import geometry
from defect_detect.data import pixels
from defect_detect.tables import Dataset, Rle


@TRANSFORMS.register_module()
class LoadDefectPicture(BaseTransform):  # type: ignore[misc]  # mmcv is untyped
    """Stands for `LoadImageFromFile`: the one decode policy, as BGR like mmcv's own."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img` (H, W, 3) uint8 BGR and its shapes."""
        picture = np.ascontiguousarray(pixels.read(Path(results["img_path"]))[:, :, ::-1])
        results["img"] = picture
        results["img_shape"] = results["ori_shape"] = picture.shape[:2]
        return results


@DATASETS.register_module()
class DefectPictures(BaseDetDataset):  # type: ignore[misc]  # mmdet is untyped
    """The pictures of a `Dataset` as mmdet wants them, the defect-free and the small ones kept.

    Crowds and ignored defects go in as `ignore_flag` 1: mmdet hands them to its assigners as ignored.
    `masks`: `regions`, or `boxes` for box-shaped masks where the dataset has none, or `none`.
    """

    def __init__(self, *, data: Dataset, masks: str, pipeline: list[Any], test_mode: bool = False) -> None:
        self._data, self._masks = data, masks
        names = tuple(category.name for category in data.categories)
        super().__init__(
            metainfo={"classes": names}, pipeline=pipeline, test_mode=test_mode, serialize_data=False, filter_cfg=None
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dict for each picture; boxes x0 y0 x1 y1 px."""
        data = self._data
        found: list[dict[str, Any]] = []
        for row, name in enumerate(data.images.file):
            width, height = (int(side) for side in data.images.size[row])
            found.append(
                {"img_path": str(data.root / name), "img_id": row, "width": width, "height": height, "instances": []}
            )
        defects = data.defects
        for at in range(len(defects)):
            picture = found[int(defects.image[at])]
            instance = {
                "bbox": defects.box[at].tolist(), "bbox_label": int(defects.label[at]),
                "ignore_flag": int(not defects.counts[at]),
            }  # fmt: skip
            if self._masks != "none":
                instance["mask"] = self._mask(at, picture["width"], picture["height"])
            picture["instances"].append(instance)
        return found

    def _mask(self, at: int, width: int, height: int) -> Any:
        region = None if self._data.defects.region is None else self._data.defects.region[at]
        if region is None:
            x0, y0, x1, y1 = self._data.defects.box[at].tolist()
            return [[x0, y0, x1, y0, x1, y1, x0, y1]]
        rle: Rle = geometry.to_rle(region, width, height)
        return {"size": [rle.height, rle.width], "counts": rle.counts.decode("ascii")}
