"""COCO's polygons, checked in Python and cut to the picture before any native code sees them.

pycocotools 2.0.11 dies on NaN and on huge coordinates (cocoapi#380), and takes seconds and gigabytes
for outlines that are merely endless.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from defect_detect.data.runlengths import MalformedError
from defect_detect.tables import Floats, Polygons

MAX_POINTS = 50_000
"""In one region."""
MAX_OUTLINE = 2_000_000.0
"""px around one region. pycocotools takes 5 steps a px, and some 100 bytes for each."""
_VALUES_OF_A_TRIANGLE = 6


def read(segmentation: list[Any], width: int, height: int, repairs: list[str]) -> Polygons:
    """The rings inside the picture of `width` x `height` px; what was done to them goes to `repairs`.

    Raises:
        MalformedError: they have no unique meaning.
    """
    rings: list[Floats] = []
    points = 0
    outline = 0.0
    # An outline longer than the picture has pixels was never traced on it.
    longest = min(MAX_OUTLINE, width * height + 2.0 * (width + height))
    for ring in segmentation:
        values = _ring(ring, repairs)
        points += len(values) // 2
        if points > MAX_POINTS:
            raise MalformedError("a polygon of too many points", f"more than {MAX_POINTS:,}")
        if len(values) < _VALUES_OF_A_TRIANGLE:
            if len(segmentation) == 1:
                raise MalformedError("a polygon of fewer than 3 points", str(len(values) // 2))
            repairs.append("polygon part of fewer than 3 points left out")
            continue
        corners = _inside(values, width, height, repairs)
        if len(corners):
            outline += float(
                np.abs(np.diff(corners, axis=0)).max(axis=1).sum() + np.abs(corners[0] - corners[-1]).max()
            )
            if outline > longest:
                raise MalformedError("a polygon with an endless outline", f"more than {longest:,.0f} px")
            rings.append(corners)
    if not rings:
        raise MalformedError("a polygon wholly outside the picture")
    return Polygons(rings=tuple(rings))


def _inside(values: list[float], width: int, height: int, repairs: list[str]) -> Floats:
    """(K, 2) the ring cut to the picture; K is 0 where nothing is left."""
    if not all(map(math.isfinite, values)):
        raise MalformedError("a polygon with coordinates that are not finite")
    corners = np.array(values, np.float64).reshape(-1, 2)
    least, most = min(values), max(values)
    if least < -max(width, height) or most > 2 * max(width, height):
        raise MalformedError("a polygon far outside the picture")
    # Most polygons lie inside, which the extremes often tell without a look at each point.
    if least >= 0 and most <= min(width, height):
        return corners
    inside = _clip(corners, width, height)
    if inside is not corners:
        repairs.append("polygon past the edge")
    return inside


def is_number(value: Any) -> bool:
    """Whether it is a number in JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ring(ring: Any, repairs: list[str]) -> list[float]:
    if isinstance(ring, list) and ring and all(isinstance(point, list) for point in ring):
        if any(len(point) != 2 for point in ring):  # noqa: PLR2004 - x and y
            raise MalformedError("a polygon whose points are not pairs")
        ring = [value for point in ring for value in point]
        repairs.append("polygon of point pairs")
    if not isinstance(ring, list) or not all(map(is_number, ring)):
        raise MalformedError("a polygon that is not a list of numbers")
    if len(ring) % 2:
        raise MalformedError("a polygon with an odd number of values", str(len(ring)))
    # A whole number beyond the range of floats would raise here, not in the check for finiteness.
    return [float(value) if isinstance(value, float) or abs(value) < 2**53 else math.inf for value in ring]


def _clip(corners: Floats, width: float, height: float) -> Floats:
    """The ring cut to the picture (Sutherland-Hodgman, one edge at a time); itself if it is inside."""
    ring: list[tuple[float, float]] = [(x, y) for x, y in corners.tolist()]
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
