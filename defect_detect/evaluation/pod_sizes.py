"""How large a defect is: area, sides of the box, Feret diameters of the region."""

from __future__ import annotations

import numpy as np

from defect_detect import geometry
from defect_detect.errors import ConfigError, Fault
from defect_detect.tables import Bools, Dataset, Floats, Polygons, Region

MEASURES = ("area", "long side", "short side", "maximum Feret", "minimum Feret")
_FERET = ("maximum Feret", "minimum Feret")
_PLANE = 2


def check(measure: str, truth: Dataset) -> None:
    """Refuse a measure that there isn't, or that needs regions where there are none.

    Raises:
        ConfigError: it can't be measured.
    """
    if measure not in MEASURES:
        raise ConfigError(Fault(where="size measure", expected=" | ".join(MEASURES), found=repr(measure)))
    if measure in _FERET and truth.defects.region is None:
        raise ConfigError(
            Fault(where=f"size measure {measure!r}", expected="a region for every defect", found="boxes only",
                  fix="Measure the long or the short side of the box.")
        )  # fmt: skip


def sizes(truth: Dataset, measure: str) -> Floats:
    """(G,) the size of each defect, in px or in the dataset's unit (squared for an area).

    `area` is the annotation's own, as COCO's size bins use it; the sides are the box's. A Feret diameter is the
    distance of two parallel lines that touch the region: the longest, and the shortest, over all directions. A
    pixel is a square, so a region of one pixel has 1.41 and 1.

    Raises:
        ConfigError: the measure is unknown, or needs regions.
    """
    check(measure, truth)
    scale = truth.scale or 1.0
    defects = truth.defects
    if measure == "area":
        return defects.area / scale**2
    if measure in _FERET and defects.region is not None:
        which = 0 if measure == "maximum Feret" else 1
        found: Floats = np.array([feret(region)[which] for region in defects.region], np.float64)
        return found / scale
    sides = defects.box[:, 2:] - defects.box[:, :2]
    chosen: Floats = sides.max(axis=1) if measure == "long side" else sides.min(axis=1)
    return chosen / scale


def unit_of(truth: Dataset, measure: str) -> str:
    """The unit that `sizes` are in."""
    unit = truth.unit if truth.scale else "px"
    return f"{unit}²" if measure == "area" else unit


def feret(region: Region) -> tuple[float, float]:
    """The longest and the shortest Feret diameter, px.

    >>> square = Polygons(rings=(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]]),))
    >>> feret(square)
    (5.0, 3.0)
    """
    points = _corners(region)
    if len(points) == 0:
        return 0.0, 0.0
    hull = _hull(points)
    longest = float(np.hypot(*(hull[:, None] - hull[None]).T).max())
    edge = np.roll(hull, -1, axis=0) - hull
    length = np.hypot(*edge.T)
    if len(hull) <= _PLANE:
        return longest, 0.0
    # The shortest distance of two touching lines has one of them along an edge of the hull.
    normal = np.stack([-edge[:, 1], edge[:, 0]], axis=1) / length[:, None]
    across = normal @ hull.T
    return longest, float((across.max(axis=1) - across.min(axis=1)).min())


def _corners(region: Region) -> Floats:
    """(K, 2) points that span the region: its rings' corners, or the corners of its outermost pixels."""
    if isinstance(region, Polygons):
        return np.concatenate(region.rings)
    pixels = geometry.to_mask(region, region.width, region.height)
    return _outermost(pixels)


def _outermost(pixels: Bools) -> Floats:
    """Corners of the first and the last pixel of each column."""
    column = np.flatnonzero(pixels.any(axis=0))
    first = pixels[:, column].argmax(axis=0)
    last = pixels.shape[0] - pixels[::-1, column].argmax(axis=0)
    x = np.concatenate([column, column + 1, column, column + 1])
    y = np.concatenate([first, first, last, last])
    return np.stack([x, y], axis=1).astype(np.float64)


def _hull(points: Floats) -> Floats:
    """(H, 2) corners of the convex hull, in order; the two ends where all points lie on a line."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        along = points[np.lexsort(points.T)]
        return along[[0, -1]]
