"""One annotation at a time: a finite box inside its picture, a sound region, flags, area; or out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from defect_detect import geometry
from defect_detect.data.attributes import scalars
from defect_detect.data.identity import Key, key
from defect_detect.data.records import Scalar
from defect_detect.data.regions import MalformedError, parse
from defect_detect.data.repairs import Log
from defect_detect.data.spans import Span, numbers
from defect_detect.tables import Floats, Polygons, Region

_KNOWN = frozenset({
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation", "attributes",
})  # fmt: skip
_ROUNDING = 1e-6
"""px past the edge that only say that numbers were rounded."""
_AGREE = 0.5
_LARGEST = 2**53


class _OutError(Exception):
    def __init__(self, what: str, field: str, before: object) -> None:
        self.what, self.field, self.before = what, field, before


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sound annotation: box x0 y0 x1 y1 px inside its picture, the flags, the region if it has one."""

    where: str
    image: int
    label: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    ignore: bool
    region: Region | None
    source_id: Key
    attributes: Mapping[str, Scalar]


def draft(
    raw: Mapping[str, Any], *, where: str, image: int, label: int, size: tuple[int, int], split: str, own: bool,
    log: Log,
) -> Draft | None:  # fmt: skip
    """The annotation made sound over a picture of `size` width height; None if it is quarantined."""
    before = len(log.repairs)
    width, height = size
    try:
        region = _region(raw, where, width, height, log)
        box = _box(raw, region, where=where, size=size, log=log)
        crowd = _flag(raw, "iscrowd", where, log)
        ignore = _flag(raw, "ignore", where, log)
    except _OutError as out:
        # What was repaired on the way out changed nothing that is kept.
        del log.repairs[before:]
        log.quarantined(f"{where}{out.field}", out.what, out.before, split)
        return None
    source_id = key(raw.get("source_id" if own else "id"))
    area = _area(raw, box, region, where=where, size=size, log=log)
    return Draft(
        where=where, image=image, label=label, box=box, area=area, crowd=crowd, ignore=ignore, region=region,
        source_id=f"#{where.rpartition('[')[2].rstrip(']')}" if source_id is None else source_id,
        attributes=scalars(raw, _KNOWN, nested_only=own),
    )  # fmt: skip


def _region(raw: Mapping[str, Any], where: str, width: int, height: int, log: Log) -> Region | None:
    segmentation = raw.get("segmentation")
    try:
        region, repairs = parse(segmentation, width, height)
    except MalformedError as error:
        raise _OutError(f"malformed region: {error}", ".segmentation", segmentation) from None
    for what in dict.fromkeys(repairs):
        log.repaired(f"{where}.segmentation", what, segmentation, "polygons inside the picture")
    return region


def _box(
    raw: Mapping[str, Any], region: Region | None, *, where: str, size: tuple[int, int], log: Log
) -> Span:  # fmt: skip
    given = raw.get("bbox")
    found = numbers(given)
    around = None if region is None else geometry.region_box(region)
    if found is None or found[2] <= 0 or found[3] <= 0:
        what = _complaint(given, found)
        if around is None or not np.all(around[2:] > around[:2]):
            raise _OutError(what, ".bbox", given)
        derived = _span(around)
        log.repaired(f"{where}.bbox", f"{what}, derived from the region", given, _xywh(derived))
        return derived
    x, y, w, h = found
    raw_box = np.array([[x, y, x + w, y + h]])
    clipped = geometry.clip(raw_box, *size)
    box = _span(clipped[0])
    if box[2] <= box[0] or box[3] <= box[1]:
        raise _OutError("box outside the picture", ".bbox", given)
    if np.max(np.abs(clipped - raw_box)) > _ROUNDING:
        log.repaired(f"{where}.bbox", "box past the edge", given, _xywh(box))
    if around is not None and _apart(clipped, around):
        raise _OutError("box and region disagree", ".bbox", given)
    return box


def _complaint(given: Any, found: Span | None) -> str:
    if given is None or given == []:
        return "box missing"
    if found is None:
        return "box that is not four finite numbers"
    return "box without width or height" if 0 in found[2:] else "box of negative width or height"


def _apart(box: Floats, around: Floats) -> bool:
    """Whether the box and the region's own box can't mean the same defect."""
    # A region one px thin has a box without area; it agrees if it lies inside.
    padded = around[None] + np.array([[-0.5, -0.5, 0.5, 0.5]])
    return bool(geometry.paired_iou(box, around[None])[0] < _AGREE and geometry.paired_iou(box, padded)[0] < _AGREE)


def _flag(raw: Mapping[str, Any], name: str, where: str, log: Log) -> bool:
    value = raw.get(name)
    if value is None:
        if name == "iscrowd":
            log.repaired(f"{where}.{name}", f"{name} missing", None, 0)
        return False
    number = int(value) if isinstance(value, bool) else key(value)
    if number not in (0, 1):
        raise _OutError(f"{name} that is neither 0 nor 1", f".{name}", value)
    if isinstance(value, bool | float | str):
        log.repaired(f"{where}.{name}", f"{name} as text, float or bool", value, number)
    return bool(number)


def _area(
    raw: Mapping[str, Any], box: Span, region: Region | None, *, where: str, size: tuple[int, int], log: Log
) -> float:  # fmt: skip
    value = raw.get("area")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST:
        return float(value)
    area = 0.0
    if region is not None:
        rle = region if not isinstance(region, Polygons) else geometry.to_rle(region, *size)
        area = geometry.region_area(rle)
    area = area or (box[2] - box[0]) * (box[3] - box[1])
    log.repaired(f"{where}.area", "area missing" if value is None else "area that can't be one", value, area)
    return area


def _span(box: Floats) -> Span:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1


def _xywh(box: Span) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
