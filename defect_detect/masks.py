"""Areas and overlaps of many regions at once, equal to pycocotools' `area` and `iou`.

Regions are compared as stretches of pixels, columns first, which is what run lengths are: no raster is
ever filled. Compiled where `native` is; else pycocotools does it, picture by picture, for those pairs
whose boxes meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from defect_detect import geometry, native
from defect_detect.tables import Bools, Floats, Ints, Region, Rle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretches:
    """N regions as sorted stretches of pixels; those of region n are stretch[end[n - 1] : end[n]].

    stretch  (S,) uint64, the first pixel in the high half, the one after the last in the low half
    end      (N,) int64
    measure  (N, 5) int64, area and x0 y0 x1 y1 in px
    """

    stretch: np.ndarray[Any, np.dtype[np.uint64]]
    end: Ints
    measure: Ints


@dataclass(frozen=True, kw_only=True)
class Masks:
    """N regions and the pictures they lie in.

    region  N regions
    size    (N, 2) int64, the picture's width and height in px
    """

    region: Sequence[Region]
    size: Ints

    @cached_property
    def stretches(self) -> _Stretches | None:
        """What is compared; None where pycocotools has to do it."""
        if native.compiled is None:
            return None
        found = native.compiled.stretches(self.region, np.ascontiguousarray(self.size), Rle)
        if found is None:
            return None
        return _Stretches(
            stretch=np.frombuffer(found[0], np.uint64),
            end=np.frombuffer(found[1], np.int64),
            measure=np.frombuffer(found[2], np.int64).reshape(-1, 5),
        )

    def take(self, rows: Ints) -> Masks:
        """The rows of these indices."""
        return Masks(region=[self.region[row] for row in rows.tolist()], size=self.size[rows])


def overlaps(ours: Masks, theirs: Masks, row: Ints, other: Ints, crowd: Bools) -> Floats:
    """(M,) IoU of mask row[m] of `ours` with mask other[m] of `theirs`, both of one picture.

    Against a `crowd` (G,) of `theirs`: the intersection over our area, as COCO has it. 0 where nothing is
    shared.
    """
    a, b = ours.stretches, theirs.stretches
    if native.compiled is None or a is None or b is None or not np.array_equal(ours.size[row], theirs.size[other]):
        return _by_pycocotools(ours, theirs, row, other, crowd)
    shared = np.empty(len(row), np.int64)
    native.compiled.shared_pixels(a.stretch, a.end, a.measure, b.stretch, b.end, b.measure, row, other, shared)
    area, their_area = a.measure[row, 0], b.measure[other, 0]
    whole = np.where(crowd[other], area, area + their_area - shared)
    iou: Floats = np.divide(shared, whole, out=np.zeros(len(row)), where=shared > 0)
    return iou


def areas(masks: Masks) -> Floats:
    """(N,) px^2."""
    if masks.stretches is not None:
        return masks.stretches.measure[:, 0].astype(np.float64)
    return np.array([geometry.region_area(rle) for rle in _rles(masks)], np.float64)


def _rles(masks: Masks) -> list[Rle]:
    return [geometry.to_rle(region, w, h) for region, (w, h) in zip(masks.region, masks.size.tolist(), strict=True)]


def _by_pycocotools(ours: Masks, theirs: Masks, row: Ints, other: Ints, crowd: Bools) -> Floats:
    our_rows, row = np.unique(row, return_inverse=True)
    their_rows, other = np.unique(other, return_inverse=True)
    mine, yours, crowd = _rles(ours.take(our_rows)), _rles(theirs.take(their_rows)), crowd[their_rows]
    meets = np.flatnonzero(geometry.paired_intersection(_boxes(mine)[row], _boxes(yours)[other]) > 0)
    result = np.zeros(len(row))
    order = meets[np.argsort(row[meets], kind="stable")]
    for pairs in np.split(order, np.flatnonzero(np.diff(row[order])) + 1):
        if len(pairs):
            listed = other[pairs]
            flags = crowd[listed].tolist()
            result[pairs] = geometry.mask_iou([mine[row[pairs[0]]]], [yours[one] for one in listed], flags)[0]
    return result


def _boxes(rles: Sequence[Rle]) -> Floats:
    return np.array([geometry.region_box(rle) for rle in rles], np.float64).reshape(-1, 4)
