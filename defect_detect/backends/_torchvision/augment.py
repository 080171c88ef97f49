"""Variations of a training picture: flips, quarter turns, zoom, light."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from defect_detect.backends._torchvision.options import Augment

Target = dict[str, Any]
_VISIBLE = 0.3


def vary(image: Any, target: Target, how: Augment, rng: np.random.Generator) -> tuple[Any, Target]:
    """The picture as (3, H, W) float32 in [0, 1], varied, and its target along with it.

    Args:
        image: (3, H, W) uint8.
        target: boxes (n, 4) float32 px, labels (n,), perhaps masks (n, H, W) uint8.
        how: what may vary, and by how much.
        rng: the only source of chance.
    """
    image, target = image.float() / 255, dict(target)
    if how.zoom != (1.0, 1.0):
        image, target = _zoomed(image, target, how, rng)
    if how.flip:
        for axis in (2, 1):
            if rng.random() < 0.5:  # noqa: PLR2004  half of the pictures
                image, target = _flipped(image, target, axis)
    if how.turn and rng.random() < 0.5:  # noqa: PLR2004  half of the pictures
        image, target = _turned(image, target)
    if how.light:
        contrast, brightness = rng.uniform(-how.light, how.light, 2)
        mean = image.mean()
        image = ((image - mean) * (1 + contrast) + mean + brightness / 2).clamp(0, 1)
    return image, target


def _flipped(image: Any, target: Target, axis: int) -> tuple[Any, Target]:
    """Mirrored along axis 2 (left-right) or 1 (up-down)."""
    low, high = (0, 2) if axis == 2 else (1, 3)  # noqa: PLR2004  the axis of x
    boxes = target["boxes"].clone()
    boxes[:, low] = image.shape[axis] - target["boxes"][:, high]
    boxes[:, high] = image.shape[axis] - target["boxes"][:, low]
    moved = {**target, "boxes": boxes}
    if "masks" in target:
        moved["masks"] = target["masks"].flip(axis)
    return image.flip(axis), moved


def _turned(image: Any, target: Target) -> tuple[Any, Target]:
    """Mirrored along the diagonal, which with flips makes all quarter turns."""
    moved = {**target, "boxes": target["boxes"][:, [1, 0, 3, 2]]}
    if "masks" in target:
        moved["masks"] = target["masks"].transpose(1, 2)
    return image.transpose(1, 2), moved


def _zoomed(image: Any, target: Target, how: Augment, rng: np.random.Generator) -> tuple[Any, Target]:
    """A random window scaled back to the picture's size; beyond the edge it is the mean colour.

    Defects of which less than a third remains in the window are no longer asked for.
    """
    height, width = image.shape[1:]
    factor = float(np.exp(rng.uniform(*np.log(how.zoom))))
    x0 = rng.uniform(*sorted((0.0, width - width / factor)))
    y0 = rng.uniform(*sorted((0.0, height - height / factor)))
    grid = _window(x0 / width, y0 / height, 1 / factor, (height, width))
    mean = image.mean(dim=(1, 2), keepdim=True)
    image = functional.grid_sample((image - mean)[None], grid, mode="bilinear", align_corners=False)[0] + mean
    boxes = (target["boxes"] - torch.tensor([x0, y0, x0, y0], dtype=torch.float32)) * factor
    cut = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height], dtype=torch.float32))
    keep = (_area(cut) >= _VISIBLE * _area(boxes)) & (cut[:, 2:] - cut[:, :2] >= 1).all(dim=1)
    moved = {"boxes": cut[keep], "labels": target["labels"][keep]}
    if "masks" in target:
        masks = target["masks"][keep].float()[None]
        moved["masks"] = (functional.grid_sample(masks, grid, align_corners=False)[0] >= 0.5).to(torch.uint8)  # noqa: PLR2004  mostly inside
    return image, moved


def _window(x0: float, y0: float, share: float, shape: tuple[int, int]) -> Any:
    """Sampling grid of the window at (x0, y0) that spans `share` of both sides, all in [0, 1]."""
    affine = torch.tensor([[share, 0, 2 * x0 + share - 1], [0, share, 2 * y0 + share - 1]], dtype=torch.float32)
    return functional.affine_grid(affine[None], [1, 3, *shape], align_corners=False)


def _area(boxes: Any) -> Any:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
