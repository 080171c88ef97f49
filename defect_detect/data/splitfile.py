"""The bytes of a split's file as tables."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect.data import outlined, plain, settled, soundness
from defect_detect.data.columns import columns
from defect_detect.data.records import SCHEMA, WRITER, DefectRecord, ImageRecord, SplitFile
from defect_detect.data.regions import from_coco
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Category, Column, Dataset, Defects, Floats, Images, Ints

PICTURES = "images"
_SPLIT_FILE = msgspec.json.Decoder(SplitFile)


def decoded(path: Path, raw: bytes) -> Dataset:
    """The split whose file at `path` has these bytes.

    Raises:
        DatasetError: it was not written by this package, or was damaged.
    """
    found = settled.dataset(path.parent, path.stem, raw, PICTURES)
    if found is not None:
        return found
    try:
        with_regions = outlined.truth(raw)
        numbers = plain.truth(raw) if with_regions is None else None
        if with_regions is not None:
            content, marked, regions = with_regions
            objects = {"source_id": tuple(marked.source_id.tolist()), "region": regions}
        elif numbers is None or numbers[0].info.regions:
            # Regions, attributes and ids of text are objects anyway: each annotation is read as one.
            content = _SPLIT_FILE.decode(raw)
            marked, objects = _of_records(content)
        else:
            content, marked = numbers
            objects = {"source_id": tuple(marked.source_id.tolist())}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(not_ours(path, str(error))) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise DatasetError(not_ours(path, f"a damaged entry ({error})")) from None
    if content.info.normalized_by != WRITER or content.info.schema != SCHEMA:
        raise DatasetError(not_ours(path, f"info {content.info.normalized_by!r}, schema {content.info.schema}"))
    try:
        data = _tables(path.parent, content, marked, objects)
        wrong = soundness.faults(
            content, marked, data.defects.region, data.images.size[data.defects.image], split=path.stem,
            add_up=with_regions is not None,
        )  # fmt: skip
    except ValueError as error:
        raise DatasetError(not_ours(path, f"a reference that leads nowhere ({error})")) from None
    except ArithmeticError as error:
        raise DatasetError(not_ours(path, f"a number out of range ({error})")) from None
    if wrong:
        raise DatasetError(*(not_ours(path, words) for words in wrong))
    return data


def not_ours(path: Path, found: str) -> Fault:
    """What is wrong with a folder or a file that isn't a whole dataset of ours."""
    return Fault(
        where=str(path),
        expected="a dataset written by tools/normalize.py",
        found=found,
        fix="Normalize it again into a new folder.",
    )


def corners(xywh: Floats, size: Column) -> Floats:
    """(N, 4) x0 y0 x1 y1 of (N, 4) x y width height; x + width may round to an ulp past the edge `size`."""
    box = xywh.copy()
    box[:, 2:] += box[:, :2]
    np.minimum(box[:, 2:], size, out=box[:, 2:])
    return box


def _of_records(content: SplitFile) -> tuple[plain.Marked, dict[str, Any]]:
    """The columns of the annotations, and what of `Defects` is made of objects."""
    listed = content.annotations
    marked = plain.Marked(
        **{name: _whole(listed, name) for name in ("id", "image_id", "category_id", "iscrowd", "ignore")},
        source_id=np.zeros(len(listed), np.int64),
        xywh=np.array([defect.bbox for defect in listed], np.float64).reshape(-1, 4),
        area=np.array([defect.area for defect in listed], np.float64),
    )
    return marked, {
        "source_id": tuple(defect.source_id for defect in listed),
        "region": _regions(listed) if content.info.regions else None,
        "attribute": columns([defect.attributes for defect in listed]),
    }


def _whole(listed: Sequence[ImageRecord] | Sequence[DefectRecord], name: str) -> Ints:
    return np.fromiter(map(attrgetter(name), listed), np.int64, len(listed))


def _regions(listed: list[DefectRecord]) -> tuple[Any, ...]:
    return tuple(from_coco(defect.segmentation) for defect in listed)


def _tables(root: Path, content: SplitFile, marked: plain.Marked, objects: dict[str, Any]) -> Dataset:
    """The dataset.

    Raises:
        ValueError: an annotation of an image or a category that is not listed.
    """
    images = content.images
    ids = _whole(images, "id")
    size = np.stack([_whole(images, "width"), _whole(images, "height")], axis=1)
    row, label = _rows_of(ids, marked.image_id), marked.category_id - 1
    if len(label) and not 0 <= label.min() <= label.max() < len(content.categories):
        raise ValueError("a category id that is not listed")
    attributes = columns([image.attributes for image in images])
    renamed = list(map(attrgetter("source_file"), images))
    if renamed != list(map(attrgetter("file_name"), images)):
        attributes["source_file"] = np.array(renamed, np.str_)
    return Dataset(
        root=root,
        split=content.info.split,
        categories=tuple(
            Category(id=c.id, name=c.name, source_id=c.source_id, severity=c.severity) for c in content.categories
        ),
        images=Images(
            file=tuple(f"{PICTURES}/{image.file_name}" for image in images),
            id=ids,
            size=size,
            group=np.array(list(map(attrgetter("group"), images)), np.str_),
            source_id=tuple(map(attrgetter("source_id"), images)),
            attribute=attributes,
        ),
        defects=Defects(
            image=row,
            label=label,
            box=corners(marked.xywh, size[row]),
            area=marked.area,
            crowd=marked.iscrowd != 0,
            ignore=marked.ignore != 0,
            id=marked.id,
            **({"region": None} | objects),
        ),
        scale=content.info.scale,
        unit=content.info.unit,
        fingerprint=content.info.fingerprint,
    )


def _rows_of(ids: Ints, asked: Ints) -> Ints:
    """The row of each asked id among `ids`.

    Raises:
        ValueError: one is not among them.
    """
    order = np.argsort(ids, kind="stable")
    # Of an id that occurs twice the last row, as a table of rows by id would have it.
    place = np.searchsorted(ids[order], asked, side="right") - 1
    rows = order[np.maximum(place, 0)] if len(ids) else np.zeros(len(asked), np.int64)
    unknown = asked[(place < 0) | (ids[rows] != asked)] if len(ids) else asked
    if len(unknown):
        raise ValueError(f"image_id {unknown[0]}")
    return rows
