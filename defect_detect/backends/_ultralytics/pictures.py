"""Our dataset as ultralytics' dataset: labels from the tables, pictures by our one decode policy.

Nothing is staged: no label files (where `a.jpg` and `a.png` would share one), no caches beside the
pictures, no check that rewrites JPEGs it thinks corrupt. Crowd and ignored ground truth isn't taught.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defect_detect.data import pixels
from defect_detect.data.single_ring import outline
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset


def paths(data: Dataset) -> list[str]:
    """The picture files in the order of `data.images`."""
    return [str(data.root / name) for name in data.images.file]


def labels(data: Dataset, *, masks: bool) -> list[dict[str, Any]]:
    """One record an image as `YOLODataset.get_labels` returns them.

    `cls` (n, 1) float32; `bboxes` (n, 4) float32, centre and size as shares of the image; `segments`
    n arrays (K, 2) float32, shares of the image, where `masks`.
    """
    defects = data.defects
    taught = np.flatnonzero(defects.counts)
    rows_of = [taught[defects.image[taught] == image] for image in range(len(data.images))]
    records = []
    for file, (width, height), rows in zip(paths(data), data.images.size.tolist(), rows_of, strict=True):
        size = np.array([width, height], float)
        segments: list[NDArray[np.float32]] = []
        if masks and defects.region is not None:
            rings = [outline(defects.region[row], width, height) for row in rows]
            rows = rows[[len(ring) > 0 for ring in rings]]  # noqa: PLW2901  defects without a pixel teach nothing
            segments = [(ring / size).astype(np.float32) for ring in rings if len(ring)]
        low, high = defects.box[rows, :2] / size, defects.box[rows, 2:] / size
        records.append({
            "im_file": file, "shape": (height, width), "cls": defects.label[rows, None].astype(np.float32),
            "bboxes": np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32),
            "segments": segments, "keypoints": None, "normalized": True, "bbox_format": "xywh",
        })  # fmt: skip
    return records


def dataset_class(data: Dataset, *, masks: bool) -> Any:
    """A subclass of `ultralytics.data.dataset.YOLODataset` that holds `data`."""
    import cv2
    from ultralytics.data.dataset import YOLODataset

    class Pictures(YOLODataset):  # type: ignore[misc]  # ultralytics carries no types
        """`data`, as ultralytics wants it."""

        def get_img_files(self, img_path: Any) -> list[str]:
            del img_path
            return paths(data)

        def get_labels(self) -> list[dict[str, Any]]:
            return labels(data, masks=masks)

        def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> Any:  # noqa: FBT001, FBT002  theirs
            """(H, W, 3) uint8 BGR scaled to `imgsz`, its height and width before and after."""
            del rect_mode, resize_short  # of classification and depth only
            if self.ims[i] is None:
                picture = _read(Path(self.im_files[i]), self.labels[i].get("shape"))
                before = picture.shape[:2]
                scale = self.imgsz / max(before)
                after = tuple(min(math.ceil(side * scale), self.imgsz) for side in before)
                if after != before:
                    picture = cv2.resize(picture, after[::-1], interpolation=cv2.INTER_LINEAR)
                if not self.augment or self.cache == "ram":
                    return picture, before, after
                self.ims[i], self.im_hw0[i], self.im_hw[i] = picture, before, after
                self.buffer.append(i)  # mosaic draws its other pictures from the buffer
                if len(self.buffer) >= max(self.max_buffer_length, 2):
                    last = self.buffer.pop(0)
                    self.ims[last] = None
                return picture, before, after
            return self.ims[i], self.im_hw0[i], self.im_hw[i]

    return Pictures


def _read(path: Path, shape: tuple[int, int] | None) -> NDArray[np.uint8]:
    rgb = pixels.read(path)
    if shape is not None and rgb.shape[:2] != tuple(shape):
        found = f"{rgb.shape[1]} x {rgb.shape[0]} px"
        raise DatasetError(Fault(where=str(path), expected=f"{shape[1]} x {shape[0]} px", found=found))
    return np.ascontiguousarray(rgb[:, :, ::-1])
