"""What an importer finds, and how it becomes COCO: one way in for every format, so that one set of rules judges all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from defect_detect.data import pixels
from defect_detect.data import polygons as polygons_
from defect_detect.data.runlengths import MalformedError, encode_counts, runs_of
from defect_detect.tables import Bools

Point = tuple[float, float]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One annotation of a picture; px of the picture as it is stored.

    where       file and place, as messages say it
    category    the class's name
    box         x, y, width, height; None: derived from the region
    region      COCO's `segmentation`; None: a box only
    attributes  further fields
    """

    where: str
    category: str
    box: Sequence[float] | None = None
    region: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One picture and what is marked on it.

    file        below the picture folder, POSIX
    split       train, val or test where the format says so, else ``
    size        width and height as the annotation file has it, else None
    attributes  further fields
    """

    file: str
    shapes: Sequence[Shape]
    split: str = ""
    size: Size | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def to_coco(found: Iterable[Found], names: Sequence[str] = ()) -> dict[str, Any]:
    """A COCO document of the pictures, in the order of their files.

    `names` are the classes in the format's own order, with what it numbers them by; without, by the alphabet. Each
    annotation carries `from`: the file and place it comes from.
    """
    pictures = sorted(found, key=lambda each: each.file)
    used = {shape.category for each in pictures for shape in each.shapes}
    classes = [*names, *sorted(used - set(names))]
    number = {name: at for at, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for at, each in enumerate(pictures, start=1):
        image: dict[str, Any] = {**each.attributes, "id": at, "file_name": each.file}
        if each.size is not None:
            image["width"], image["height"] = each.size
        images.append(image)
        for shape in each.shapes:
            marked: dict[str, Any] = {
                **shape.attributes, "id": len(annotations) + 1, "image_id": at,
                "category_id": number[shape.category], "iscrowd": 0, "from": shape.where,
            }  # fmt: skip
            if shape.box is not None:
                marked["bbox"] = list(shape.box)
            if shape.region is not None:
                marked["segmentation"] = shape.region
            annotations.append(marked)
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in number.items()],
    }


def rle(mask: Bools) -> dict[str, Any]:
    """COCO's run lengths of a mask (H, W) bool."""
    height, width = mask.shape
    return {"size": [height, width], "counts": encode_counts(runs_of(mask)).decode("ascii")}


def flat(points: Iterable[Sequence[float]]) -> list[float]:
    """Corners as COCO lists them: x, y, x, y, ..."""
    return [float(value) for x, y in points for value in (x, y)]


def ellipse(centre: Point, radii: Point, corners: int = 64) -> list[float]:
    """A polygon of an ellipse that has its area, as COCO lists one."""
    turn = np.arange(corners) * 2 * np.pi / corners
    # A polygon with its corners on the ellipse is smaller than it; blown up by this it isn't.
    grown = np.sqrt(2 * np.pi / corners / np.sin(2 * np.pi / corners))
    x = centre[0] + radii[0] * grown * np.cos(turn)
    y = centre[1] + radii[1] * grown * np.sin(turn)
    return flat(np.stack([x, y], axis=1).tolist())


def drawn(rings: Sequence[Sequence[Sequence[float]]], holes: Sequence[Sequence[Sequence[float]]], size: Size) -> Any:
    """A region of outer rings less holes: polygons where there are no holes, else run lengths (COCO has no holes).

    `size` is the picture's width and height. What can't be drawn is handed on as polygons, for the rules to judge.
    """
    outer, inner = ([flat(ring) for ring in each] for each in (rings, holes))
    if not inner:
        return outer
    try:
        return rle(_raster(outer, size) & ~_raster(inner, size))
    except MalformedError:
        return outer + inner


def _raster(polygons: list[list[float]], size: Size) -> Bools:
    from pycocotools import mask as coco_mask

    width, height = size
    if width * height > pixels.MAX_PIXELS:
        raise MalformedError(f"a picture said to have {width} x {height} px")
    sound = [flat(ring.tolist()) for ring in polygons_.read(polygons, width, height, []).rings]
    mask: Bools = np.asarray(coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(sound, height, width)))).astype(
        bool
    )
    return mask
