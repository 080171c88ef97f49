"""One annotation at a time: a finite box inside its picture, a sound region, flags, area; or out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from defect_detect import geometry
from defect_detect.data.attributes import scalars
from defect_detect.data.conventions import PLAIN, Reading
from defect_detect.data.identity import Key, key
from defect_detect.data.records import Scalar
from defect_detect.data.regions import MalformedError, parse
from defect_detect.data.repairs import Log
from defect_detect.data.spans import Span, iou, number, numbers, spelt
from defect_detect.tables import Polygons, Region

KNOWN = frozenset({
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation", "attributes",
})  # fmt: skip
DISAGREE = "box and region disagree"
_ROUNDING = 1e-6
"""px past the edge that only say that numbers were rounded."""
_AGREE = 0.5
_LARGEST = 2**53
_LARGER = 1.01
"""Share of the box by which an area is larger than it, beyond rounding."""


class _OutError(Exception):
    def __init__(self, what: str, field: str, before: object, detail: str = "") -> None:
        self.what, self.field, self.before, self.detail = what, field, before, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sound annotation: box x0 y0 x1 y1 px inside its picture, the flags, the region if it has one."""

    where: str
    image: int
    label: int
    box: Span
    area: float
    crowd: bool
    ignore: bool
    region: Region | None
    source_id: Key | None
    attributes: Mapping[str, Scalar]


def draft(
    raw: Mapping[str, Any], *, where: str, image: int, label: int, size: tuple[int, int], split: str, own: bool,
    log: Log, reading: Reading = PLAIN,
) -> Draft | None:  # fmt: skip
    """The annotation made sound over a picture of `size` width height; None if it is quarantined.

    `reading` is what the four numbers of the file's boxes mean; `own`, that this package wrote the file.
    """
    before = len(log.repairs)
    try:
        given = _given(raw, where=where, size=size, reading=reading, log=log)
        region = _region(raw, given, where=where, size=size, log=log)
        box = _box(raw, given, region, where=where, size=size, log=log)
        crowd = _flag(raw, "iscrowd", where, log)
        ignore = _flag(raw, "ignore", where, log)
    except _OutError as out:
        log.only_note(before)
        log.quarantined(f"{where}{out.field}", out.what, out.before, split, detail=out.detail)
        return None
    return Draft(
        where=where, image=image, label=label, box=box,
        area=_area(raw, box, region, where=where, size=size, own=own, log=log),
        crowd=crowd, ignore=ignore, region=region,
        source_id=key(raw.get("source_id" if own else "id")),
        attributes=scalars(raw, KNOWN, nested_only=own),
    )  # fmt: skip


def _given(
    raw: Mapping[str, Any], *, where: str, size: tuple[int, int], reading: Reading, log: Log
) -> Span | None:  # fmt: skip
    """The box as given, x y width height px, whatever they are; None where they aren't four finite numbers."""
    bbox = raw.get("bbox")
    found = numbers(bbox)
    if found is None and (found := spelt(bbox)) is not None:
        log.repaired(f"{where}.bbox", "box as text", bbox, list(found))
    if found is not None and reading is not PLAIN:
        found = reading.one(found, *size)
        log.repaired(f"{where}.bbox", f"box given as {reading.name}", bbox, list(found))
    return found


def _region(
    raw: Mapping[str, Any], given: Span | None, *, where: str, size: tuple[int, int], log: Log
) -> Region | None:
    segmentation = raw.get("segmentation")
    if segmentation is None or segmentation == []:
        return None
    box = None if given is None else (given[0], given[1], given[0] + given[2], given[1] + given[3])
    try:
        region, repairs = parse(segmentation, *size, box=box)
    except MalformedError as error:
        raise _OutError(f"malformed region: {error.kind}", ".segmentation", segmentation, str(error)) from None
    for what in dict.fromkeys(repairs):
        log.repaired(f"{where}.segmentation", what, segmentation, "a region inside the picture")
    return region


def _box(
    raw: Mapping[str, Any], given: Span | None, region: Region | None, *, where: str, size: tuple[int, int], log: Log
) -> Span:  # fmt: skip
    around = None if region is None else _around(region)
    if given is None or given[2] <= 0 or given[3] <= 0:
        what = _complaint(raw, given)
        if around is None or around[2] <= around[0] or around[3] <= around[1]:
            raise _OutError(what, ".bbox", raw.get("bbox"))
        log.repaired(f"{where}.bbox", f"{what}, derived from the region", raw.get("bbox"), _xywh(around))
        return around
    x, y, w, h = given
    width, height = size
    box = (max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height)))
    if box[2] <= box[0] or box[3] <= box[1]:
        raise _OutError("box outside the picture", ".bbox", raw.get("bbox"))
    if max(box[0] - x, box[1] - y, x + w - box[2], y + h - box[3]) > _ROUNDING:
        log.repaired(f"{where}.bbox", "box past the edge", raw.get("bbox"), _xywh(box))
    if around is not None and _apart(box, around):
        raise _OutError(DISAGREE, ".bbox", raw.get("bbox"))
    return box


def _around(region: Region) -> Span:
    if isinstance(region, Polygons):
        x0, y0 = (min(float(ring[:, axis].min()) for ring in region.rings) for axis in (0, 1))
        x1, y1 = (max(float(ring[:, axis].max()) for ring in region.rings) for axis in (0, 1))
        return x0, y0, x1, y1
    x0, y0, x1, y1 = geometry.region_box(region).tolist()
    return x0, y0, x1, y1


def _complaint(raw: Mapping[str, Any], found: Span | None) -> str:
    given = raw.get("bbox")
    if given is None or given == []:
        return "box missing" if not raw.get("keypoints") else "box missing: keypoints only"
    if found is None:
        return "box that is not four finite numbers"
    return "box without width or height" if 0 in found[2:] else "box of negative width or height"


def _apart(box: Span, around: Span) -> bool:
    """Whether the box and the region's own box can't mean the same defect."""
    if max(abs(a - b) for a, b in zip(box, around, strict=True)) <= 1:
        return False  # some exporters count the px between, others those covered
    # A region one px thin has a box without area; it agrees if it lies inside.
    padded = (around[0] - 0.5, around[1] - 0.5, around[2] + 0.5, around[3] + 0.5)
    return iou(box, around) < _AGREE and iou(box, padded) < _AGREE


def _flag(raw: Mapping[str, Any], name: str, where: str, log: Log) -> bool:
    value = raw.get(name)
    if value is None:
        if name == "iscrowd":
            log.repaired(f"{where}.{name}", f"{name} missing", None, 0)
        return False
    flag = int(value) if isinstance(value, bool) else key(value)
    if flag not in (0, 1):
        raise _OutError(f"{name} that is neither 0 nor 1", f".{name}", value)
    if isinstance(value, bool | float | str):
        log.repaired(f"{where}.{name}", f"{name} as text, float or bool", value, flag)
    return bool(flag)


def _area(
    raw: Mapping[str, Any], box: Span, region: Region | None, *, where: str, size: tuple[int, int], own: bool,
    log: Log,
) -> float:  # fmt: skip
    given = raw.get("area")
    value = number(given) if isinstance(given, str) else given
    wide, high = box[2] - box[0], box[3] - box[1]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST:
        # No mask in a box of w x h covers more pixels than that, even drawn from the outermost px.
        if own or value <= (wide + 1) * (high + 1):
            if isinstance(given, str):
                log.repaired(f"{where}.area", "area as text", given, float(value))
            if not own and value > wide * high * _LARGER:
                log.noted(f"{where}.area", "area slightly larger than its box", given)
            return float(value)
        what = "area larger than its box"
    else:
        what = "area missing" if given is None else "area that can't be one"
    area = 0.0
    if region is not None:
        rle = region if not isinstance(region, Polygons) else geometry.to_rle(region, *size)
        area = geometry.region_area(rle)
    area = area or wide * high
    log.repaired(f"{where}.area", what, given, area)
    return area


def _xywh(box: Span) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def around_of(raw: Mapping[str, Any], width: int, height: int) -> Span | None:
    """x0 y0 x1 y1 around the raw annotation's region; None where it has no sound one."""
    try:
        region, _ = parse(raw.get("segmentation"), width, height)
    except MalformedError:
        return None
    return None if region is None else _around(region)
