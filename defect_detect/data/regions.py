"""COCO segmentations checked in Python before any native code sees them.

pycocotools 2.0.11 dies on polygons with NaN or huge coordinates, and returns uninitialised memory
for run lengths that are too short (FAULTS: cocoapi#380, #202). What leaves here is safe for it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from defect_detect.tables import Floats, Polygons, Region, Rle

MAX_POINTS = 50_000
"""In one region. pycocotools takes 9 s for 100,000."""
MAX_PIXELS = 300_000_000
_VALUES_OF_A_TRIANGLE = 6
_ASCII_START, _ASCII_END = 48, 48 + 64
_MAX_CHARACTERS = 13  # of one run length: 13 x 5 bits hold any 64-bit number


class MalformedError(ValueError):
    """A segmentation that is no region; says why."""


def parse(segmentation: Any, width: int, height: int, *, empty: bool = False) -> tuple[Region | None, list[str]]:
    """The region of a COCO `segmentation` over a picture of `width` x `height` px, and what was repaired.

    None where there is none (absent, null, []). Polygons come back inside the picture, run lengths
    compressed. `empty` allows run lengths without a pixel: a detector's mask may come out so.

    Raises:
        MalformedError: it has no unique meaning.
    """
    if segmentation is None or segmentation in ([], [[]], {}):
        return None, []
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, width, height, empty=empty), []
    if not isinstance(segmentation, list):
        raise MalformedError(f"a {type(segmentation).__name__}, neither polygons nor run lengths")
    repairs: list[str] = []
    if all(_is_number(value) for value in segmentation):
        segmentation = [segmentation]
        repairs.append("flat polygon list")
    return _polygons(segmentation, width, height, repairs), repairs


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


def decode_counts(counts: bytes) -> list[int]:
    """Run lengths of COCO's compressed form.

    Six bits a character from '0': five of data, low ones first, the sixth says that more follow. From
    the fourth run on, differences to the run two before (pycocotools' maskApi.c, rleFrString).

    Raises:
        MalformedError: a character that can't be, or a number that is cut off.
    """
    runs: list[int] = []
    at = 0
    while at < len(counts):
        value = shift = 0
        for _ in range(_MAX_CHARACTERS):
            if at == len(counts) or not _ASCII_START <= counts[at] < _ASCII_END:
                raise MalformedError(f"compressed run lengths that break off at character {at}")
            digit = counts[at] - _ASCII_START
            value |= (digit & 0x1F) << shift
            shift += 5
            at += 1
            if not digit & 0x20:
                if digit & 0x10:
                    value |= -1 << shift
                break
        else:
            raise MalformedError(f"a run length of more than {_MAX_CHARACTERS} characters")
        runs.append(value + runs[-2] if len(runs) > 2 else value)  # noqa: PLR2004 - maskApi.c counts from 0
    return runs


def encode_counts(runs: list[int]) -> bytes:
    """The compressed form of run lengths; the inverse of `decode_counts`."""
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run  # noqa: PLR2004 - maskApi.c counts from 0
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != -1 if digit & 0x10 else value != 0
            text.append(_ASCII_START + (digit | 0x20 if more else digit))
    return bytes(text)


def _run_lengths(segmentation: dict[str, Any], width: int, height: int, *, empty: bool) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise MalformedError(f"run lengths over {size}, but the picture is [{height}, {width}] (height, width)")
    if width * height > MAX_PIXELS:
        raise MalformedError("run lengths over a picture that is too large")
    if isinstance(counts, str):
        try:
            runs = decode_counts(counts.encode("ascii"))
        except UnicodeEncodeError:
            raise MalformedError("compressed run lengths with characters that are not ASCII") from None
    elif isinstance(counts, list) and all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        runs = counts
    else:
        raise MalformedError("run lengths that are neither a string nor a list of whole numbers")
    if any(run < 0 for run in runs):
        raise MalformedError("a negative run length")
    if sum(runs) != width * height:
        raise MalformedError(f"run lengths over {sum(runs)} pixels of {width * height}")
    if not empty and not sum(runs[1::2]):
        raise MalformedError("run lengths without a single pixel")
    return Rle(height=height, width=width, counts=encode_counts(_merged(runs)))


def _merged(runs: list[int]) -> list[int]:
    """The same mask without runs of 0 (other than the first), so equal masks have equal bytes."""
    if all(runs[1:]):
        return runs
    merged = [runs[0]]
    colour = 0
    for index, run in enumerate(runs[1:], start=1):
        if not run:
            continue
        if index % 2 == colour:
            merged[-1] += run
        else:
            merged.append(run)
            colour = index % 2
    return merged


def _polygons(segmentation: list[Any], width: int, height: int, repairs: list[str]) -> Polygons:
    rings: list[Floats] = []
    points = 0
    for ring in segmentation:
        values = _ring(ring, repairs)
        points += len(values) // 2
        if points > MAX_POINTS:
            raise MalformedError(f"a polygon of more than {MAX_POINTS:,} points")
        if len(values) < _VALUES_OF_A_TRIANGLE:
            if len(segmentation) == 1:
                raise MalformedError(f"a polygon of {len(values) // 2} points")
            repairs.append("polygon part of fewer than 3 points left out")
            continue
        if any(not math.isfinite(value) for value in values):
            raise MalformedError("a polygon with coordinates that are not finite")
        corners = np.array(values, np.float64).reshape(-1, 2)
        if np.any(corners < -max(width, height)) or np.any(corners > 2 * max(width, height)):
            raise MalformedError("a polygon far outside the picture")
        inside = _clip(corners, width, height)
        if inside is not corners:
            repairs.append("polygon past the edge")
        if len(inside):
            rings.append(inside)
    if not rings:
        raise MalformedError("a polygon wholly outside the picture")
    return Polygons(rings=tuple(rings))


def _ring(ring: Any, repairs: list[str]) -> list[float]:
    if isinstance(ring, list) and ring and all(isinstance(point, list) for point in ring):
        if any(len(point) != 2 for point in ring):  # noqa: PLR2004 - x and y
            raise MalformedError("a polygon whose points are not pairs")
        ring = [value for point in ring for value in point]
        repairs.append("polygon of point pairs")
    if not isinstance(ring, list) or not all(_is_number(value) for value in ring):
        raise MalformedError("a polygon that is not a list of numbers")
    if len(ring) % 2:
        raise MalformedError(f"a polygon with an odd number of values ({len(ring)})")
    # A whole number beyond the range of floats would raise here, not in the check for finiteness.
    return [float(value) if isinstance(value, float) or abs(value) < 2**53 else math.inf for value in ring]


def _clip(corners: Floats, width: float, height: float) -> Floats:
    """The ring cut to the picture (Sutherland-Hodgman, one edge at a time); itself if it is inside."""
    ring: list[tuple[float, float]] = [(float(x), float(y)) for x, y in corners]
    if all(0 <= x <= width and 0 <= y <= height for x, y in ring):
        return corners
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        cut: list[tuple[float, float]] = []
        for a, b in pairwise([*ring[-1:], *ring]):
            a_in, b_in = (sign * (point[axis] - limit) >= 0 for point in (a, b))
            if a_in != b_in:
                share = (limit - a[axis]) / (b[axis] - a[axis])
                other = a[1 - axis] + share * (b[1 - axis] - a[1 - axis])
                cut.append((limit, other) if axis == 0 else (other, limit))
            if b_in:
                cut.append(b)
        ring = cut
    if len(ring) < 3:  # noqa: PLR2004 - a triangle is the least polygon
        return np.zeros((0, 2))
    # Rounding in the cut along one axis may leave a point an ulp outside the other.
    inside: Floats = np.clip(np.array(ring), 0, np.array([width, height], float))
    return inside


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
