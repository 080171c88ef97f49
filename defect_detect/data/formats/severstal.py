"""Severstal's way: a CSV of picture, class and run lengths: `start length` pairs down the columns, pixels from 1."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from defect_detect.data.formats import pictures
from defect_detect.data.formats.found import Found, Shape, Size, rle
from defect_detect.errors import DatasetError, Fault

NAME = "severstal"
_RUNS = "EncodedPixels"


def recognise(path: Path) -> bool:
    """Whether `path` is a CSV with a column EncodedPixels, or a folder with a train.csv that has one."""
    file = _file(path)
    if file is None:
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        return _RUNS in lines.readline()


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, no class order, and the folder that the pictures' names are relative to.

    Every picture of the folder counts; one that no row marks is defect-free.

    Raises:
        DatasetError: a row that can't be understood.
    """
    file = _file(path)
    if file is None:
        raise DatasetError(Fault(where=str(path), expected="train.csv", found="none",
                                 fix="Give the folder that holds it."))  # fmt: skip
    near = [file.parent / name for name in ("train_images", "images")]
    root = next((folder for folder in near if folder.is_dir()), file.parent)
    there = pictures.below(root)
    name_of = {PurePosixPath(name).name: name for name in there}
    size = pictures.sizes(root, there)
    marked: dict[str, list[Shape]] = {name: [] for name in there}
    for where, picture, category, runs in _rows(file):
        name = name_of.get(picture, picture)
        shapes = marked.setdefault(name, [])
        if runs.strip():
            shapes.append(Shape(where=where, category=category, region=_region(where, runs, size.get(name))))
    return [Found(file=name, shapes=shapes, size=size.get(name)) for name, shapes in marked.items()], [], root


def _file(path: Path) -> Path | None:
    file = path / "train.csv" if path.is_dir() else path
    return file if file.is_file() and file.suffix.lower() == ".csv" else None


def _rows(file: Path) -> Iterator[tuple[str, str, str, str]]:
    """Place, picture, class and runs of each row, in either layout: ImageId, ClassId, or ImageId_ClassId."""
    csv.field_size_limit(2**31 - 1)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            where = f"{file.name}: line {row.get('line', '')}".strip() or file.name
            picture, category = _names(row)
            if picture is None or category is None:
                raise DatasetError(Fault(where=where, expected="ImageId and ClassId, or ImageId_ClassId",
                                         found=", ".join(key for key in row if key),
                                         fix="Are these the columns of Severstal?"))  # fmt: skip
            yield f"{file.name}: {picture} class {category}", picture, category, row.get(_RUNS) or ""


def _names(row: Mapping[str, Any]) -> Sequence[str | None]:
    joined = row.get("ImageId_ClassId")
    if joined:
        return joined.rpartition("_")[0], joined.rpartition("_")[2]
    return row.get("ImageId"), row.get("ClassId")


def _region(where: str, text: str, size: Size | None) -> Any:
    try:
        values = np.array([int(value) for value in text.split()], np.int64)
    except (ValueError, OverflowError):
        values = np.zeros(1, np.int64)
    if size is None:
        return None
    width, height = size
    starts, lengths = values[::2] - 1, values[1::2]
    if len(starts) != len(lengths) or (starts < 0).any() or (lengths < 1).any():
        raise DatasetError(Fault(where=where, expected="pairs of a start from 1 and a length", found=text[:60],
                                 fix="Mend EncodedPixels there."))  # fmt: skip
    if (starts + lengths > width * height).any():
        raise DatasetError(Fault(where=where, expected=f"runs within {width} x {height} px", found=text[:60],
                                 fix="Are these the pictures that the masks were drawn on?"))  # fmt: skip
    steps = np.zeros(width * height + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return rle((np.cumsum(steps[:-1]) > 0).reshape(width, height).T)
