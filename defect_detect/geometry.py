"""Boxes, regions and how much they overlap. Pure; conventions of `tables`.

Masks follow COCO's rasterization (pycocotools): a pixel belongs to a polygon by COCO's own rule, so
areas and mask IoU equal those of the COCO tools. Regions must have been checked before they come
here (`data.regions`): malformed run lengths crash pycocotools' process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from defect_detect.tables import Bools, Floats, Polygons, Region, Rle


def area(box: Floats) -> Floats:
    """(N,) px^2 of (N, 4) boxes."""
    result: Floats = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return result


def paired_intersection(a: Floats, b: Floats) -> Floats:
    """(N,) px^2 that row i of `a` and row i of `b` share, both (N, 4)."""
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    shared: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    return shared


def paired_iou(a: Floats, b: Floats) -> Floats:
    """(N,) IoU of row i of `a` with row i of `b`, both (N, 4); 0 where both are empty."""
    shared = paired_intersection(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def iou(a: Floats, b: Floats) -> Floats:
    """(N, M) IoU of every box of `a` (N, 4) with every box of `b` (M, 4)."""
    n, m = len(a), len(b)
    return paired_iou(np.repeat(a, m, axis=0), np.tile(b, (n, 1))).reshape(n, m)


def clip(box: Floats, width: float, height: float) -> Floats:
    """(N, 4) boxes cut to [0, width] x [0, height]."""
    return np.clip(box, 0, np.array([width, height, width, height], float))


def to_rle(region: Region, width: int, height: int) -> Rle:
    """The region as run lengths over a picture of `width` x `height` px."""
    if isinstance(region, Rle):
        return region
    from pycocotools import mask

    parts = mask.frPyObjects([ring.reshape(-1).tolist() for ring in region.rings], height, width)
    merged = mask.merge(parts)
    return Rle(height=height, width=width, counts=merged["counts"])


def from_mask(pixels: Bools) -> Rle:
    """(H, W) bool as run lengths."""
    from pycocotools import mask

    coded = mask.encode(np.asfortranarray(pixels, np.uint8))
    return Rle(height=pixels.shape[0], width=pixels.shape[1], counts=coded["counts"])


def to_mask(region: Region, width: int, height: int) -> Bools:
    """The region as (H, W) bool over a picture of `width` x `height` px."""
    from pycocotools import mask

    pixels: Bools = mask.decode(_coco(to_rle(region, width, height))).astype(np.bool_)
    return pixels


def merged(regions: Sequence[Rle], *, intersect: bool = False) -> Rle:
    """What at least one of the regions of a picture holds, or with `intersect` what all of them hold."""
    from pycocotools import mask

    counts = mask.merge([_coco(region) for region in regions], intersect=intersect)["counts"]
    return Rle(height=regions[0].height, width=regions[0].width, counts=counts)


def region_area(region: Rle) -> float:
    """px^2."""
    from pycocotools import mask

    return float(mask.area(_coco(region)))


def region_box(region: Region) -> Floats:
    """(4,) the smallest x0 y0 x1 y1 around the region."""
    if isinstance(region, Polygons):
        points = np.concatenate(region.rings)
        return np.concatenate([points.min(axis=0), points.max(axis=0)])
    from pycocotools import mask

    x, y, width, height = mask.toBbox(_coco(region))
    return np.array([x, y, x + width, y + height])


def mask_iou(a: Sequence[Rle], b: Sequence[Rle], crowd: Sequence[bool] | None = None) -> Floats:
    """(N, M) IoU of regions of one picture; against a crowd of `b`, intersection over `a`'s area."""
    from pycocotools import mask

    if not a or not b:
        return np.zeros((len(a), len(b)))
    flags = [int(flag) for flag in crowd] if crowd is not None else [0] * len(b)
    table: Floats = mask.iou([_coco(r) for r in a], [_coco(r) for r in b], flags)
    return table


def _coco(region: Rle) -> dict[str, Any]:
    return {"size": [region.height, region.width], "counts": region.counts}
