"""What a window of a picture shows of a region, and how a part of it stands in the whole picture again."""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.data.runlengths import decode_counts
from defect_detect.tables import Bools, Floats, Ints, Polygons, Region, Rle

Window = tuple[int, int, int, int]
"""x0 y0 x1 y1 in whole px."""


def frame_of(region: Region, width: int, height: int) -> Window:
    """The smallest window, at least 1 px wide and high, that holds the pixels of a picture's region.

    `width` and `height` of the picture in px.
    """
    x0, y0, x1, y1 = geometry.region_box(region).tolist()
    left, top = min(int(x0), width - 1), min(int(y0), height - 1)
    return left, top, min(max(int(np.ceil(x1)), left + 1), width), min(max(int(np.ceil(y1)), top + 1), height)


def pixels(region: Region, frame: Window) -> Bools:
    """(h, w) the region's pixels in `frame`, which holds all of it (`frame_of`): as in the whole picture's raster.

    Costs what the frame takes, not what the picture does.
    """
    x0, y0, x1, y1 = frame
    if isinstance(region, Polygons):
        # Not moved to the frame's corner: pycocotools rounds points halfway between pixels by where they lie.
        region = geometry.to_rle(region, x1, y1)
    begin, end = _stretches(region)
    size = (x1 - x0) * region.height
    begin = np.clip(begin - x0 * region.height, 0, size)
    end = np.clip(end - x0 * region.height, 0, size)
    steps = np.zeros(size + 1, np.int64)
    np.add.at(steps, begin, 1)
    np.add.at(steps, end, -1)
    inside: Bools = np.cumsum(steps[:-1]).reshape(x1 - x0, region.height).T > 0
    return inside[y0:y1]


def placed(part: Bools, x: int, y: int, width: int, height: int) -> Rle:
    """The pixels `part` (h, w), whose top left one is (x, y), as a region of a picture of `width` x `height` px.

    The picture is never filled: one of 300 million pixels costs no more than a small one.
    """
    columns = np.zeros((part.shape[1], part.shape[0] + 2), np.int8)
    columns[:, 1:-1] = part.T
    steps = np.diff(columns, axis=1)
    (across, begin), (_, end) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    first: Ints = (across + x) * height + y
    runs = np.stack([first + begin, first + end], axis=1).reshape(-1)
    # A stretch that ends where the next one begins, at the picture's lower edge, goes on in the next column.
    apart = np.flatnonzero(runs[1:-1:2] != runs[2::2]) if len(runs) else np.zeros(0, np.int64)
    kept = np.concatenate([runs[:1], np.stack([runs[1:-1:2], runs[2::2]], axis=1)[apart].reshape(-1), runs[-1:]])
    counts = np.diff(np.concatenate([[0], kept, [width * height]]))
    return _compressed(counts if counts[-1] else counts[:-1], width, height)


def bounds(part: Bools) -> Floats:
    """(4,) the smallest x0 y0 x1 y1 around the pixels of `part`, of which there is at least one."""
    x, y = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
    return np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], np.float64)


def _stretches(region: Rle) -> tuple[Ints, Ints]:
    """First pixels of the stretches of foreground, and those after their last, counted down the columns."""
    ends = np.cumsum(np.array(decode_counts(region.counts), np.int64))
    return ends[: len(ends) // 2 * 2 : 2], ends[1::2]


def _compressed(counts: Ints, width: int, height: int) -> Rle:
    from pycocotools import mask

    coded = mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return Rle(height=height, width=width, counts=coded["counts"])
