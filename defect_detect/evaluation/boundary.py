"""Boundary IoU: how well two masks agree near their outlines (Cheng et al. 2021)."""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.tables import Bools, Rle

RATIO = 0.02
"""Width of the boundary over the picture's diagonal, the authors' own for COCO."""


def width_of(height: int, width: int) -> int:
    """The width of the boundary in a picture of that size, px: at least 1."""
    return max(round(RATIO * float(np.hypot(height, width))), 1)


def boundary_iou(a: Rle, b: Rle) -> float:
    """IoU of the parts of `a` and of `b`, of one picture, that lie within the boundary's width of their own outlines.

    The picture's edge is an outline too. 0 where both are empty.
    """
    reach = width_of(a.height, a.width)
    boxes = np.stack([geometry.region_box(a), geometry.region_box(b)])
    if (np.min(boxes[:, 2:] - boxes[:, :2], axis=1) <= 2 * reach).all():
        # Thinner than two boundaries, a mask is all boundary.
        return float(geometry.mask_iou([a], [b])[0, 0])
    x0, y0 = boxes[:, :2].min(axis=0).astype(int)
    x1, y1 = boxes[:, 2:].max(axis=0).astype(int)
    ours, theirs = (
        _boundary(geometry.to_mask(region, region.width, region.height)[y0:y1, x0:x1], reach) for region in (a, b)
    )
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 0.0


def _boundary(pixels: Bools, reach: int) -> Bools:
    """The pixels that `reach` erosions by 3 x 3 take away: chessboard distance to the outside is what they count."""
    from scipy import ndimage

    depth = ndimage.distance_transform_cdt(np.pad(pixels, 1), metric="chessboard")[1:-1, 1:-1]
    found: Bools = pixels & (depth <= reach)
    return found
