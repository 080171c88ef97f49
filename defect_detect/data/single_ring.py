"""A region as the single closed polygon that YOLO holds for an object."""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.tables import Floats, Polygons, Region

_ZOOM = 4
"""Contours run through pixel centres: at this zoom they miss the pixels' edges by 1/8 px."""


def outline(region: Region, width: int, height: int) -> Floats:
    """(K, 2) x y px, K >= 3, or (0, 2) where the region has no pixel in a picture of `width` x `height`.

    One ring is taken as it is. Several rings, or run lengths, are traced from the pixels and their
    parts and holes joined by bridges of no width, there and back, so that an even-odd fill gives the
    region again; what is lost is at most the pixels under a bridge where a fill draws the edge too.
    """
    if isinstance(region, Polygons) and len(region.rings) == 1:
        return region.rings[0]
    import cv2

    mask = geometry.to_mask(region, width, height).astype(np.uint8)
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.zeros((0, 2))
    top, left = int(rows.min()), int(columns.min())
    part = mask[top : rows.max() + 1, left : columns.max() + 1]
    zoomed = np.kron(part, np.ones((_ZOOM, _ZOOM), np.uint8))
    found, _ = cv2.findContours(zoomed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [(contour[:, 0].astype(float) + 0.5) / _ZOOM + (left, top) for contour in found]
    return _joined(sorted(rings, key=len, reverse=True))


def _joined(rings: list[Floats]) -> Floats:
    path = np.concatenate([rings[0], rings[0][:1]])
    for ring in rings[1:]:
        distance = ((path[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(distance.argmin(), distance.shape)
        detour = np.roll(ring, -int(there), axis=0)
        path = np.concatenate([path[: here + 1], detour, detour[:1], path[here:]])
    return path
