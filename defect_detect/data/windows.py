"""Where the tiles of a picture lie."""

from __future__ import annotations

import numpy as np

from defect_detect.job import Tiling
from defect_detect.tables import Ints


def windows(width: int, height: int, tiling: Tiling) -> Ints:
    """(T, 4) int64 x0 y0 x1 y1 px: tiles that cover a picture of `width` x `height` px, row by row.

    As few as reach from edge to edge, spread evenly: neighbours overlap by `tiling.overlap` of a tile's side
    or more. All are alike in size; where the picture is smaller than a tile, they end with it.

    >>> from defect_detect.job import Tiling
    >>> windows(250, 90, Tiling(size=100, overlap=0.2)).tolist()
    [[0, 0, 100, 90], [75, 0, 175, 90], [150, 0, 250, 90]]
    """
    across, down = _starts(width, tiling), _starts(height, tiling)
    x0, y0 = np.tile(across, len(down)), np.repeat(down, len(across))
    return np.stack([x0, y0, np.minimum(x0 + tiling.size, width), np.minimum(y0 + tiling.size, height)], axis=1)


def _starts(length: int, tiling: Tiling) -> Ints:
    """Where tiles begin along a side of `length` px."""
    room = length - tiling.size
    if room <= 0:
        return np.zeros(1, np.int64)
    step = max(1, tiling.size - int(np.ceil(tiling.overlap * tiling.size)))
    count = -(-room // step)
    # Whole numbers, so no two steps differ by more than 1 px, and none is longer than `step`.
    return np.arange(count + 1, dtype=np.int64) * room // count
