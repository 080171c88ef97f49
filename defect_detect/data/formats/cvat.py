"""CVAT for images 1.1: one XML file with every picture. Lines and points have no area and are left out with a word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from defect_detect.data.formats import bitmaps, xml
from defect_detect.data.formats.found import Found, Shape, Size, ellipse, flat
from defect_detect.errors import DatasetError, Fault

NAME = "cvat"
_SPLITS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
_SHAPES = ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton", "tag")


def recognise(path: Path) -> bool:
    """Whether `path` is an XML file of CVAT's, or a folder with an annotations.xml that is."""
    file = _file(path)
    return file is not None and xml.root_tag(file) == "annotations"


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, the classes in the task's order, and the folder that the pictures' names are relative to.

    Raises:
        DatasetError: no such file, or tracks of a video.
    """
    file = _file(path)
    if file is None:
        raise DatasetError(Fault(where=str(path), expected="annotations.xml", found="none",
                                 fix="Export as 'CVAT for images 1.1'."))  # fmt: skip
    tree = xml.parse(file, "annotations")
    if tree.find("track") is not None:
        raise DatasetError(
            Fault(where=str(file), expected="CVAT for images", found="tracks of a video (CVAT for video)",
                  fix="Export the task once more as 'CVAT for images 1.1' or 'COCO 1.0'.")
        )  # fmt: skip
    names = list(dict.fromkeys(
        name.strip() for label in tree.findall("meta//labels/label") if (name := label.findtext("name") or "").strip()
    ))  # fmt: skip
    root = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    return [_found(f"{file.name}: image[{at}]", each) for at, each in enumerate(tree.findall("image"))], names, root


def _file(path: Path) -> Path | None:
    file = path / "annotations.xml" if path.is_dir() else path
    return file if file.is_file() and file.suffix.lower() == ".xml" else None


def _found(where: str, image: Element) -> Found:
    width, height = (xml.number(image.get(side)) for side in ("width", "height"))
    size = (int(width), int(height)) if width and height else None
    shapes = [
        _shape(f"{where}.{each.tag}[{at}]", each, size)
        for at, each in enumerate(each for each in image if each.tag in _SHAPES and each.tag != "tag")
    ]
    tags = {f"tag {each.get('label')}": True for each in image.findall("tag")}
    return Found(file=image.get("name") or "", shapes=shapes, size=size, attributes=tags,
                 split=_SPLITS.get((image.get("subset") or "").lower(), ""))  # fmt: skip


def _shape(where: str, each: Element, size: Size | None) -> Shape:
    attributes: dict[str, Any] = {
        key: text for one in each.findall("attribute") if (key := one.get("name")) and (text := one.text)
    }
    if each.get("occluded") == "1":
        attributes["occluded"] = True
    box, region = _geometry(where, each, size)
    return Shape(where=where, category=each.get("label") or "", box=box, region=region, attributes=attributes)


def _geometry(where: str, each: Element, size: Size | None) -> tuple[list[float] | None, Any]:
    """Box and region; neither for a shape without area."""
    box = region = None
    if each.tag == "box" and (xml.number(each.get("rotation")) or 0) % 360:
        region = [flat(_turned(each))]
    elif each.tag == "box":
        x0, y0, x1, y1 = (_value(each, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        box = [x0, y0, x1 - x0, y1 - y0]
    elif each.tag == "polygon":
        region = [[
            float("nan") if (value := xml.number(text)) is None else value
            for text in (each.get("points") or "").replace(";", ",").split(",")
        ]]  # fmt: skip
    elif each.tag == "ellipse":
        region = [ellipse((_value(each, "cx"), _value(each, "cy")), (_value(each, "rx"), _value(each, "ry")))]
    elif each.tag == "mask" and size is not None:
        region = _mask(where, each, size)
    return box, region


def _value(each: Element, key: str) -> float:
    value = xml.number(each.get(key))
    return float("nan") if value is None else value


def _turned(each: Element) -> Sequence[Sequence[float]]:
    """The corners of a box turned clockwise about its centre by `rotation` degrees."""
    x0, y0, x1, y1 = (_value(each, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    angle = np.deg2rad(_value(each, "rotation"))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners: list[list[float]] = (
        (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - centre) @ turn.T + centre
    ).tolist()
    return corners


def _mask(where: str, each: Element, size: Size) -> Any:
    try:
        left, top, wide, high = (int(_value(each, key)) for key in ("left", "top", "width", "height"))
        runs = [int(run) for run in (each.get("rle") or "").split(",")]
        return bitmaps.laid(bitmaps.from_rows(runs, wide, high), left, top, size)
    except ValueError as error:
        raise DatasetError(Fault(where=where, expected="run lengths of a box", found=str(error)[:80],
                                 fix="Export it again.")) from None  # fmt: skip
