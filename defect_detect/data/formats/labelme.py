"""LabelMe: one JSON file a picture, its shapes traced by hand; shapes of one label and `group_id` are one object."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from defect_detect.data import parsing
from defect_detect.data.formats import bitmaps, pictures
from defect_detect.data.formats.found import Found, Shape, Size, ellipse, flat
from defect_detect.data.runlengths import MalformedError
from defect_detect.errors import DatasetError, Fault

NAME = "labelme"


def recognise(path: Path) -> bool:
    """Whether `path` is a folder whose first JSON file says `shapes`."""
    first = next(_files(path), None) if path.is_dir() else None
    if first is None:
        return False
    try:
        content = parsing.read_json(first, error=DatasetError)[1]
    except DatasetError:
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, no class order, and the folder that the pictures' names are relative to.

    Pictures without a JSON file are left out when others have one: nobody has looked at them yet.

    Raises:
        DatasetError: a file that isn't LabelMe's.
    """
    there = set(pictures.below(path))
    return [_found(path, file, there) for file in _files(path)], [], path


def _files(path: Path) -> Iterator[Path]:
    return iter(sorted(file for file in path.rglob("*.json") if not file.name.startswith(".")))


def _found(root: Path, file: Path, there: set[str]) -> Found:
    content = parsing.read_json(file, error=DatasetError)[1]
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DatasetError(Fault(where=str(file), expected="LabelMe's `shapes`", found="none",
                                 fix="Remove it, or save it again in LabelMe."))  # fmt: skip
    where = file.relative_to(root).as_posix()
    width, height = content.get("imageWidth"), content.get("imageHeight")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    said = PurePosixPath(str(content.get("imagePath", "")).replace("\\", "/"))
    name = next((each for each in _names(where, said) if each in there), f"{PurePosixPath(where).parent / said.name}")
    size = size or pictures.sizes(root, [name])[name]
    flags = {key: value for key, value in _mapping(content.get("flags")).items() if isinstance(value, bool)}
    return Found(file=name, shapes=list(_shapes(where, content["shapes"], size)), size=size, attributes=flags)


def _names(where: str, said: PurePosixPath) -> Iterator[str]:
    """Where the picture of the file `where` may lie: as `imagePath` says, beside it, or under its own stem."""
    beside = PurePosixPath(where).parent
    yield (beside / said.name).as_posix()
    parts: list[str] = []
    for part in (beside / said).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    yield "/".join(parts)
    for suffix in sorted(pictures.SUFFIXES):
        yield PurePosixPath(where).with_suffix(suffix).as_posix()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _shapes(where: str, listed: Sequence[Any], size: Size | None) -> Iterator[Shape]:
    together: dict[tuple[str, Any], list[Shape]] = {}
    for at, raw in enumerate(listed):
        each = _mapping(raw)
        shape = _shape(f"{where}: shapes[{at}]", each, size)
        group = each.get("group_id")
        key = (shape.category, group) if isinstance(group, int | str) else (shape.category, ("alone", at))
        together.setdefault(key, []).append(shape)
    for parts in together.values():
        if len(parts) == 1 or not all(isinstance(part.region, list) for part in parts):
            yield from parts
        else:
            yield Shape(where=parts[0].where, category=parts[0].category, attributes=parts[0].attributes,
                        region=[ring for part in parts for ring in part.region])  # fmt: skip


def _shape(where: str, raw: Mapping[str, Any], size: Size | None) -> Shape:
    category, kind = str(raw.get("label", "")), raw.get("shape_type") or "polygon"
    attributes = {key: value for key, value in _mapping(raw.get("flags")).items() if isinstance(value, bool)}
    points = _points(raw.get("points"))
    box = region = None
    if kind == "rectangle" and len(points) == 2:  # noqa: PLR2004 - two corners
        (x0, y0), (x1, y1) = points
        box = [min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)]
    elif kind == "circle" and len(points) == 2:  # noqa: PLR2004 - centre and a point of the rim
        radius = math.dist(*points)
        region = [ellipse(points[0], (radius, radius))]
    elif kind == "polygon":
        region = [flat(points)]
    elif kind == "mask" and points and size is not None:
        region = _mask(where, raw.get("mask"), points[0], size)
    # Points and lines have no area: the rules leave them out, and say so.
    return Shape(where=where, category=category, box=box, region=region, attributes=attributes)


def _points(raw: Any) -> list[tuple[float, float]]:
    try:
        return [(float(x), float(y)) for x, y in raw]
    except (TypeError, ValueError, OverflowError):
        return []


def _mask(where: str, text: Any, corner: Sequence[float], size: Size) -> Any:
    try:
        return bitmaps.laid(bitmaps.unpacked(text, deflated=False), round(corner[0]), round(corner[1]), size)
    except MalformedError as error:
        raise DatasetError(Fault(where=where, expected="a mask as PNG in base64", found=str(error),
                                 fix="Save the file again in LabelMe.")) from None  # fmt: skip
