"""How far polygons reach and how long their outlines are, for all regions of a file at once."""

from __future__ import annotations

import numpy as np

from defect_detect import native
from defect_detect.tables import Floats, Ints


def extents(corners: Floats, end: Ints, first: Ints, rings: Ints) -> tuple[Floats, Floats]:
    """(M, 4) float64 x0 y0 x1 y1 around each region, and (M,) its outline: each edge by the longer of its extents; px.

    `corners` (C, 2) of all rings, `end` (R,) int64 where each one's corners end. A region has `rings` of them, (M,)
    int64, at least one, from `first` on, (M,) int64. Regions follow each other.
    """
    around, outline = np.empty((len(first), 4)), np.empty(len(first))
    if native.compiled is not None:
        columns = (np.ascontiguousarray(column) for column in (corners, end, first, rings))
        native.compiled.extents(*columns, around, outline)
        return around, outline
    before = np.concatenate([[0], end])
    after = np.roll(corners, -1, axis=0)
    filled = end > before[:-1]
    after[end[filled] - 1] = corners[before[:-1][filled]]
    step = np.abs(after - corners).max(axis=1)
    # What lies between two starts is one region's.
    edges = np.stack([before[first], before[first + rings]], axis=1).ravel()
    padded = np.concatenate([corners, corners[-1:]])
    around[:, :2] = np.minimum.reduceat(padded, edges)[::2]
    around[:, 2:] = np.maximum.reduceat(padded, edges)[::2]
    outline[:] = np.add.reduceat(np.append(step, 0.0), edges)[::2]
    return around, outline
