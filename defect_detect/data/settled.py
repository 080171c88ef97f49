"""A split's file of boxes straight into tables, by the compiled reader, with every promise of the file checked.

It takes a file only if nothing about it needs a word. What it declines (None) is read by `splitfile` again, which
takes regions and attributes too, and can say what is wrong where.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np

from defect_detect import native
from defect_detect.data.records import SCHEMA, SEVERITIES, WRITER, SplitFile
from defect_detect.tables import Category, Column, Dataset, Defects, Images, Ints

_IMAGES = {
    "id": "i", "file_name": "s", "width": "i", "height": "i", "group": "s", "source_id": "i", "source_split": "t",
    "source_file": "s", "sha256": "t", "attributes": "e?",
}  # fmt: skip
_ANNOTATIONS = {
    "id": "i", "image_id": "i", "category_id": "i", "bbox": "b", "area": "f", "iscrowd": "i", "ignore": "i",
    "segmentation": "x?", "source_id": "i", "attributes": "e?",
}  # fmt: skip
_LISTS = (("images", tuple(_IMAGES.items()), True), ("annotations", tuple(_ANNOTATIONS.items()), True))
_DTYPES = {"i": np.int64, "s": np.int64, "f": np.float64, "b": np.float64}
_WIDTHS = {"s": (2,), "b": (4,)}
_SORTED = 2
_HEAD = msgspec.json.Decoder(SplitFile)


def dataset(root: Path, split: str, raw: bytes, folder: str) -> Dataset | None:
    """The split whose file has these bytes, its pictures below `root` / `folder`; None without the extension, too."""
    if native.compiled is None:
        return None
    found = native.compiled.scan_lists(raw, _LISTS)
    if found is None:
        return None
    (start, end, _, _), (other, last, _, _) = sorted(found, key=lambda one: one[0])
    try:
        # What is left without the insides of the lists is parsed too, so they are where they belong.
        head = _HEAD.decode(raw[: start + 1] + raw[end - 1 : other + 1] + raw[last - 1 :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not _is_ours(head, split):
        return None
    image, marked = (
        {
            name: np.frombuffer(values, _DTYPES[kind]).reshape(rows, *_WIDTHS.get(kind, ()))
            for (name, kind), values in zip(fields.items(), columns, strict=True)
            if kind in _DTYPES
        }
        for fields, (_, _, rows, columns) in zip((_IMAGES, _ANNOTATIONS), found, strict=True)
    )
    size = np.empty((len(image["id"]), 2), np.int64)
    defects = _defects(image, marked, size, len(head.categories))
    images = None if defects is None else _images(raw, image, size, folder)
    if images is None or defects is None:
        return None
    return Dataset(
        root=root,
        split=split,
        categories=tuple(
            Category(id=c.id, name=c.name, source_id=c.source_id, severity=c.severity) for c in head.categories
        ),
        images=images,
        defects=defects,
        scale=head.info.scale,
        unit=head.info.unit,
        fingerprint=head.info.fingerprint,
    )


def _is_ours(head: SplitFile, split: str) -> bool:
    info, listed = head.info, head.categories
    return (
        (info.normalized_by, info.schema, info.split, info.regions) == (WRITER, SCHEMA, split, False)
        and (info.scale is None or (math.isfinite(info.scale) and info.scale > 0))
        and [one.id for one in listed] == list(range(1, len(listed) + 1))
        and len({one.name for one in listed}) == len(listed)
        and all(one.severity in (None, *SEVERITIES) for one in listed)
    )


def _images(raw: bytes, image: dict[str, Column], size: Ints, folder: str) -> Images | None:
    compiled = native.compiled
    if compiled is None:
        return None
    names = compiled.lead_inside(raw, image["file_name"])
    file = compiled.texts(raw, image["file_name"], f"{folder}/")
    if not names or (names < _SORTED and len(set(file)) < len(file)):
        return None
    attribute = {}
    if not compiled.equal_texts(raw, image["source_file"], image["file_name"]):
        attribute["source_file"] = _text(raw, image["source_file"])
    return Images(
        file=file,
        id=image["id"],
        size=size,
        group=_text(raw, image["group"]),
        source_id=tuple(image["source_id"].tolist()),
        attribute=attribute,
    )


def _text(raw: bytes, place: Column) -> Column:
    """(N,) str of the strings at (N, 2) places."""
    if native.compiled is not None and (found := native.compiled.wide(raw, place)) is not None:
        return np.frombuffer(found[1], f"=U{found[0]}")
    return np.array([raw[start:end].decode() for start, end in place.tolist()], np.str_)


def _defects(image: dict[str, Column], marked: dict[str, Column], size: Ints, classes: int) -> Defects | None:
    """The defects, and `size` (N, 2) filled; None where a picture or an annotation isn't as it should be."""
    count = len(marked["id"])
    row, label = np.empty(count, np.int64), np.empty(count, np.int64)
    crowd, ignore = np.empty(count, np.bool_), np.empty(count, np.bool_)
    given = [marked[name] for name in ("id", "image_id", "category_id", "iscrowd", "ignore", "area", "bbox")]
    if native.compiled is None or not native.compiled.settle(
        image["id"], image["width"], image["height"], classes, *given, size, row, label, crowd, ignore
    ):
        return None
    return Defects(
        image=row,
        label=label,
        box=marked["bbox"],
        area=marked["area"],
        crowd=crowd,
        ignore=ignore,
        region=None,
        id=marked["id"],
        source_id=tuple(marked["source_id"].tolist()),
    )
