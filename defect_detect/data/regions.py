"""COCO segmentations, polygons or run lengths: what leaves here is safe for pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np

from defect_detect.data import polygons, runlengths
from defect_detect.data.polygons import is_number
from defect_detect.data.runlengths import MalformedError, Span, decode_counts, encode_counts
from defect_detect.tables import Polygons, Region, Rle

__all__ = ["MalformedError", "decode_counts", "encode_counts", "from_coco", "parse", "to_coco"]


def parse(
    segmentation: Any, width: int, height: int, *, empty: bool = False, box: Span | None = None
) -> tuple[Region | None, list[str]]:  # fmt: skip
    """The region of a COCO `segmentation` over a picture of `width` x `height` px, and what was repaired.

    None where there is none (absent, null, []). Polygons come back inside the picture, run lengths
    compressed. `empty` allows run lengths without a pixel: a detector's mask may come out so. `box`, x0 y0
    x1 y1 px, tells which way run lengths run when nothing else does.

    Raises:
        MalformedError: it has no unique meaning.
    """
    if segmentation is None or segmentation in ([], [[]], {}):
        return None, []
    repairs: list[str] = []
    if isinstance(segmentation, dict):
        return runlengths.read(segmentation, width, height, repairs, empty=empty, box=box), repairs
    if not isinstance(segmentation, list):
        raise MalformedError(f"a {type(segmentation).__name__}, neither polygons nor run lengths")
    if len(segmentation) == 1 and isinstance(segmentation[0], dict):
        repairs.append("run lengths in a list")
        return runlengths.read(segmentation[0], width, height, repairs, empty=empty, box=box), repairs
    if all(map(is_number, segmentation)):
        segmentation = [segmentation]
        repairs.append("flat polygon list")
    return polygons.read(segmentation, width, height, repairs), repairs


def to_coco(region: Region) -> list[list[float]] | dict[str, Any]:
    """The region as COCO JSON has it."""
    if isinstance(region, Rle):
        return {"size": [region.height, region.width], "counts": region.counts.decode("ascii")}
    return [ring.reshape(-1).tolist() for ring in region.rings]


def from_coco(segmentation: Any) -> Region:
    """The region of a segmentation that `to_coco` wrote: trusted, nothing is checked."""
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        return Rle(height=height, width=width, counts=segmentation["counts"].encode("ascii"))
    return Polygons(rings=tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in segmentation))
