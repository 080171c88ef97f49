"""Pictures and what is to be found in them, as the networks want them.

Scaling happens here, once, with antialiasing, and its result is kept: the models' own transforms
would scale the full picture anew in every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from defect_detect import geometry
from defect_detect.backends._torchvision import augment
from defect_detect.backends._torchvision.options import Augment
from defect_detect.data import pixels
from defect_detect.tables import Dataset, Floats

CACHE_BYTES, VAL_CACHE_BYTES = 1_000_000_000, 250_000_000
Target = dict[str, Any]
Sample = tuple[int, Any, Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How pictures are brought to the network's size.

    side     px: the long side, or both sides where `stretch`
    stretch  to a square, as SSD wants it; else the aspect ratio stays
    """

    side: int
    stretch: bool

    def size(self, width: float, height: float) -> tuple[int, int]:
        """Width and height in px after scaling."""
        if self.stretch:
            return self.side, self.side
        factor = self.side / max(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))


def picture(data: Dataset, row: int, fit: Fit) -> Any:
    """(3, H, W) uint8 tensor: the picture in `row`, scaled."""
    whole = torch.from_numpy(pixels.read(data.root / data.images.file[row])).permute(2, 0, 1)
    height, width = whole.shape[1:]
    wide, high = fit.size(width, height)
    if (wide, high) == (width, height):
        return whole.contiguous()
    scaled = functional.interpolate(
        whole[None].float(), size=(high, wide), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


class Scaled:
    """Pictures of a dataset by their row, scaled; those that fit into `cache` bytes are read once."""

    def __init__(self, data: Dataset, fit: Fit, *, cache: int = 0) -> None:
        self.data, self._fit, self._room = data, fit, cache
        self._kept: dict[int, Any] = {}

    def __getitem__(self, row: int) -> Any:
        if row in self._kept:
            return self._kept[row]
        image = picture(self.data, row, self._fit)
        if image.numel() <= self._room:
            self._room -= image.numel()
            self._kept[row] = image
        return image


def factors(data: Dataset, row: int, fit: Fit) -> Floats:
    """(4,) what boxes of the picture are multiplied by when it is scaled."""
    width, height = data.images.size[row]
    wide, high = fit.size(width, height)
    return np.array([wide / width, high / height] * 2)


class TrainingPictures(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is untyped here
    """Item (epoch, row): that picture, scaled, varied by (seed, epoch, row) alone.

    Target: boxes (n, 4) float32 px at the network's input, labels (n,) int64 from 1 (0 is
    background), and where `masks`, masks (n, H, W) uint8: the defects' regions, or their boxes where
    the dataset has none. Crowds and ignored defects are left out: what they cover counts as background.
    """

    def __init__(self, data: Dataset, *, fit: Fit, masks: bool, vary: Augment, seed: int, cache: int) -> None:
        self.data, self.fit, self.masks, self.vary, self.seed = data, fit, masks, vary, seed
        self._room = cache
        self._kept: dict[int, tuple[Any, Target]] = {}
        self._defects: list[list[int]] = [[] for _ in range(len(data.images))]
        for index in np.flatnonzero(data.defects.counts):
            self._defects[data.defects.image[index]].append(int(index))

    def __len__(self) -> int:
        return len(self.data.images)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        epoch, row = item
        image, target = self._kept.get(row) or self._load(row)
        rng = np.random.default_rng([self.seed, epoch, row])
        image, target = augment.vary(image, target, self.vary, rng)
        return row, image, target

    def _load(self, row: int) -> tuple[Any, Target]:
        image = picture(self.data, row, self.fit)
        indices = self._defects[row]
        boxes = self.data.defects.box[indices].reshape(-1, 4) * factors(self.data, row, self.fit)
        target: Target = {
            "boxes": torch.from_numpy(boxes.astype(np.float32)),
            "labels": torch.from_numpy(self.data.defects.label[indices] + 1),
        }
        if self.masks:
            target["masks"] = self._masks(row, indices, boxes, (image.shape[1], image.shape[2]))
        size = sum(tensor.numel() * tensor.element_size() for tensor in (image, *target.values()))
        if size <= self._room:
            self._room -= size
            self._kept[row] = image, target
        return image, target

    def _masks(self, row: int, indices: list[int], boxes: Floats, shape: tuple[int, int]) -> Any:
        masks = torch.zeros((len(indices), *shape), dtype=torch.uint8)
        width, height = (int(side) for side in self.data.images.size[row])
        for k, index in enumerate(indices):
            region = None if self.data.defects.region is None else self.data.defects.region[index]
            if region is None:
                x0, y0, x1, y1 = np.round(boxes[k]).astype(int)
                masks[k, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = 1
                continue
            whole = torch.from_numpy(geometry.to_mask(region, width, height).astype(np.float32))
            scaled = functional.interpolate(
                whole[None, None], size=shape, mode="bilinear", antialias=True, align_corners=False
            )[0, 0]
            masks[k] = (scaled >= min(0.5, float(scaled.max()))).to(torch.uint8)
        return masks


class Batches:
    """Batches of (epoch, row): all rows in an order drawn anew in each epoch.

    Sizes differ by one at most, so no batch is left with fewer than `least` pictures (batch norm over
    a 1 x 1 feature map needs two).
    """

    def __init__(self, rows: int, batch: int, *, least: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 1
        self.count = max(1, min(-(-rows // batch), rows // least))
        self.least = least

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order: NDArray[np.int64] = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        order = np.resize(order, max(self.rows, self.least))
        for rows in np.array_split(order, self.count):
            yield [(self.epoch, int(row)) for row in rows]
