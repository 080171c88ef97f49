"""Our pictures and truth as detectron2's networks want them: by its augmentations, as its `Instances`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as changes
from detectron2.data.dataset_mapper import DatasetMapper
from detectron2.structures import BoxMode

from defect_detect import geometry
from defect_detect.backends._detectron2.environment import drawing
from defect_detect.data import pixels
from defect_detect.tables import Dataset


def read(data: Dataset, row: int, channels: str) -> Any:
    """(H, W, 3) uint8: the picture in `row`, its channels in the order `BGR` or `RGB`."""
    picture = pixels.read(data.root / data.images.file[row])
    return np.ascontiguousarray(picture[:, :, ::-1]) if channels == "BGR" else picture


class TrainingPictures(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is untyped here
    """Item (epoch, row): that picture as detectron2's `DatasetMapper` gives it, varied by (seed, epoch, row) alone.

    Beside `image` and `instances`, `row` and `ignored`: (n, 4) float32 px of crowds and ignored defects.
    """

    def __init__(self, data: Dataset, cfg: Any, *, masks: bool, seed: int) -> None:
        self._data, self._masks, self._seed, self._channels = data, masks, seed, cfg.INPUT.FORMAT
        self._mapper = DatasetMapper(cfg, is_train=True)
        self._defects: list[list[int]] = [[] for _ in range(len(data.images))]
        for index, image in enumerate(data.defects.image.tolist()):
            self._defects[image].append(index)

    def __len__(self) -> int:
        return len(self._data.images)

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        epoch, row = item
        shown = changes.AugInput(read(self._data, row, self._channels))
        with drawing([self._seed, epoch, row]):
            done = self._mapper.augmentations(shown)
        shape = shown.image.shape[:2]
        counts = self._data.defects.counts
        wanted = [self._annotation(index, done, shape) for index in self._defects[row] if counts[index]]
        # Of masks in one picture either all are there or none; a crop may have cut off whole defects.
        instances = detection_utils.annotations_to_instances(wanted, shape, mask_format="bitmask")
        if self._mapper.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        left_out = [index for index in self._defects[row] if not counts[index]]
        ignored = done.apply_box(self._data.defects.box[left_out].reshape(-1, 4)) if left_out else np.zeros((0, 4))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(shown.image.transpose(2, 0, 1))), "row": row,
            "instances": detection_utils.filter_empty_instances(instances),
            "ignored": torch.from_numpy(ignored.astype(np.float32)),
        }  # fmt: skip

    def _annotation(self, index: int, done: Any, shape: tuple[int, int]) -> dict[str, Any]:
        defects = self._data.defects
        raw: dict[str, Any] = {
            "bbox": defects.box[index].copy(), "bbox_mode": BoxMode.XYXY_ABS, "category_id": int(defects.label[index]),
        }  # fmt: skip
        region = defects.region[index] if self._masks and defects.region is not None else None
        if region is not None:
            width, height = (int(side) for side in self._data.images.size[defects.image[index]])
            rle = geometry.to_rle(region, width, height)
            raw["segmentation"] = {"size": [rle.height, rle.width], "counts": rle.counts}
        made: dict[str, Any] = detection_utils.transform_instance_annotations(raw, done, shape)
        mask = made.get("segmentation")
        if mask is not None and not mask.any() and not self._mapper.recompute_boxes:
            # Scaled by the nearest pixel, a thin region can vanish, and the defect with it.
            height, width = shape
            x0, y0, x1, y1 = np.round(made["bbox"]).astype(int)
            x0, y0 = min(x0, width - 1), min(y0, height - 1)
            made["segmentation"] = np.zeros_like(mask)
            made["segmentation"][y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = 1
        return made


class Order(torch.utils.data.Sampler):  # type: ignore[misc]  # torch is untyped here
    """(epoch, row) of every picture, in an order drawn anew from seed and epoch."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 1

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        return iter([(self.epoch, int(row)) for row in order])
