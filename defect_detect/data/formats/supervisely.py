"""Supervisely: `meta.json`, and in each dataset's folder `img/` and `ann/` with one JSON file a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defect_detect.data import parsing
from defect_detect.data.formats import bitmaps
from defect_detect.data.formats.found import Found, Shape, Size, drawn
from defect_detect.errors import DatasetError, Fault

NAME = "supervisely"
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def recognise(path: Path) -> bool:
    """Whether `path` is a folder with a meta.json and dataset folders that have an ann/."""
    return path.is_dir() and (path / "meta.json").is_file() and next(path.glob("*/ann"), None) is not None


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, the classes in the order of meta.json, and the folder that the pictures' names are relative to.

    Raises:
        DatasetError: a file that isn't Supervisely's.
    """
    meta = parsing.read_json(path / "meta.json", error=DatasetError)[1]
    classes = meta.get("classes") if isinstance(meta, dict) else None
    if not isinstance(classes, list):
        raise DatasetError(Fault(where=str(path / "meta.json"), expected="a list of `classes`", found="none",
                                 fix="Export the project again, with its meta.json."))  # fmt: skip
    names = list(dict.fromkeys(str(each["title"]) for each in classes if isinstance(each, dict) and "title" in each))
    found = []
    for folder in sorted(path.glob("*/ann")):
        split = _SPLITS.get(folder.parent.name.lower(), "")
        found += [_found(path, file, split) for file in sorted(folder.glob("*.json")) if not file.name.startswith(".")]
    return found, names, path


def _found(root: Path, file: Path, split: str) -> Found:
    content = parsing.read_json(file, error=DatasetError)[1]
    where = file.relative_to(root).as_posix()
    try:
        size = (int(content["size"]["width"]), int(content["size"]["height"]))
        objects = list(content["objects"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DatasetError(
            Fault(
                where=str(file),
                expected="`size` and `objects`",
                found="neither or one",
                fix="Export the project again.",
            )
        ) from None
    shapes = [_shape(f"{where}: objects[{at}]", each, size) for at, each in enumerate(objects)]
    picture = (file.parent.parent / "img" / file.name.removesuffix(".json")).relative_to(root).as_posix()
    return Found(file=picture, shapes=shapes, split=split, size=size, attributes=_tags(content.get("tags")))


def _tags(tags: Any) -> dict[str, Any]:
    listed = tags if isinstance(tags, list) else []
    return {
        str(tag["name"]): True if tag.get("value") is None else tag["value"]
        for tag in listed
        if isinstance(tag, dict) and "name" in tag
    }


def _shape(where: str, each: Any, size: Size) -> Shape:
    if not isinstance(each, Mapping):
        return Shape(where=where, category="")
    category, kind = str(each.get("classTitle", "")), each.get("geometryType")
    attributes = _tags(each.get("tags"))
    said = each.get("points")
    points: Mapping[str, Any] = said if isinstance(said, dict) else {}
    try:
        outer = _ring(points.get("exterior", []))
        if kind == "rectangle":
            (x0, y0), (x1, y1) = outer
            # Both corners are pixels of the box (their docs), so the last one adds one.
            box = [min(x0, x1), min(y0, y1), abs(x1 - x0) + 1, abs(y1 - y0) + 1]
            return Shape(where=where, category=category, box=box, attributes=attributes)
        if kind == "polygon":
            holes = [_ring(hole) for hole in points.get("interior", [])]
            return Shape(where=where, category=category, region=drawn([outer], holes, size), attributes=attributes)
    except (TypeError, ValueError, OverflowError):
        raise DatasetError(
            Fault(
                where=where,
                expected="points of x and y",
                found=repr(points)[:80],
                fix="Mend them there, or export again.",
            )
        ) from None
    if kind == "bitmap":
        return Shape(where=where, category=category, region=_bitmap(where, each.get("bitmap"), size),
                     attributes=attributes)  # fmt: skip
    # Points and lines have no area: the rules leave them out, and say so.
    return Shape(where=where, category=category, attributes=attributes)


def _ring(raw: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in raw]


def _bitmap(where: str, raw: Any, size: Size) -> Any:
    """A PNG, packed by zlib and base64, at its origin in the picture."""
    try:
        x, y = (int(value) for value in raw["origin"])
        return bitmaps.laid(bitmaps.unpacked(raw["data"], deflated=True), x, y, size)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            Fault(
                where=where,
                expected="a bitmap (zlib, base64, PNG)",
                found=str(error)[:80],
                fix="Export the project again.",
            )
        ) from None
