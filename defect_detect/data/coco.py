"""Reads and writes one split of a normalized dataset: columns in memory, COCO on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from defect_detect.data import cache, kept
from defect_detect.data.columns import rows
from defect_detect.data.files import atomic_write, sha256_file
from defect_detect.data.fingerprint import fingerprint
from defect_detect.data.records import (
    SCHEMA,
    WRITER,
    CategoryRecord,
    DatasetFile,
    DefectRecord,
    ImageRecord,
    Info,
    SplitFile,
)
from defect_detect.data.regions import to_coco
from defect_detect.data.splitfile import PICTURES, decoded, not_ours
from defect_detect.errors import DatasetError, Fault
from defect_detect.job import decode
from defect_detect.tables import Dataset

_SPLITS = ("train", "val", "test")
_HEADING = 200

__all__ = ["PICTURES", "Origin", "describe", "is_normalized", "load", "splits", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the pictures of a split come from, one value for each image.

    sha256        of the picture's bytes in the dataset
    source_split  the source file's split
    source_file   the name as the source has it
    """

    sha256: Sequence[str]
    source_split: Sequence[str]
    source_file: Sequence[str]


def is_normalized(root: Path) -> bool:
    """Whether the folder is a complete dataset that this package wrote."""
    try:
        describe(root)
    except DatasetError:
        return False
    return True


def was_normalized(root: Path) -> bool:
    """Whether the folder is, or was before it was damaged, a dataset that this package wrote."""
    try:
        with (root / f"{_SPLITS[-1]}.json").open("rb") as file:
            ours = b'"normalized_by"' in file.read(_HEADING)
    except OSError:
        ours = False
    return is_normalized(root) or (ours and (root / "dataset.json").is_file())


def splits(root: Path) -> tuple[str, ...]:
    """The splits of a normalized dataset, in the order train, val, test.

    Raises:
        DatasetError: it is not one.
    """
    return tuple(describe(root).splits)


def describe(root: Path) -> DatasetFile:
    """`dataset.json` of a normalized dataset.

    Raises:
        DatasetError: the folder is not one, or of another schema.
    """
    path = root / "dataset.json"
    try:
        content: DatasetFile = decode(path.read_bytes(), DatasetFile)
    except msgspec.DecodeError as error:
        raise DatasetError(not_ours(path, str(error))) from None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        raise DatasetError(not_ours(root, "no dataset.json")) from None
    if content.schema != SCHEMA:
        raise DatasetError(not_ours(path, f"schema {content.schema}, this version reads {SCHEMA}"))
    if not content.splits or not {*content.splits} <= {*_SPLITS}:
        raise DatasetError(
            not_ours(path, f"splits {', '.join(content.splits) or 'none'} instead of {', '.join(_SPLITS)}")
        )
    return content


def load(root: Path, split: str, *, verify: bool = False) -> Dataset:
    """One split of a normalized dataset.

    The columns of a large file are kept (`data.cache`), and taken from there while the file is unchanged;
    `verify` compares its content instead of its size and times.

    Raises:
        DatasetError: there is no such split, or its file was damaged.
    """
    path = root / f"{split}.json"
    try:
        return cache.through(
            path,
            kept.code(),
            build=lambda raw: decoded(path, raw),
            pack=kept.pack,
            unpack=lambda columns: kept.unpack(root, columns),
            verify=verify,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        have = ""
        with contextlib.suppress(OSError, ValueError):
            have = ", ".join(found.stem for found in sorted(root.glob("*.json")) if found.stem != "dataset")
        raise DatasetError(
            Fault(where=str(root), expected=f"a normalized dataset with the split {split!r}",
                  found=have or f"none ({getattr(error, 'strerror', None) or error})",
                  fix="Run tools/normalize.py on the COCO files first.")
        ) from None  # fmt: skip


def write(dataset: Dataset, origin: Origin | None = None) -> Dataset:
    """Write the split to `dataset.root`, whole or not at all; returns it with its fingerprint.

    `origin` None: the pictures' hashes are taken from the files, and their source is themselves.

    Raises:
        OSError: a picture, or the folder, can't be reached.
    """
    if origin is None:
        names = [name.removeprefix(f"{PICTURES}/") for name in dataset.images.file]
        origin = Origin(
            sha256=[sha256_file(dataset.root / name) for name in dataset.images.file],
            source_split=[dataset.split] * len(names),
            source_file=names,
        )
    named = replace(dataset, fingerprint=fingerprint(dataset, origin.sha256))
    text = msgspec.json.encode(_file(named, origin))
    atomic_write(dataset.root / f"{dataset.split}.json", msgspec.json.format(text, indent=0) + b"\n")
    return named


def _file(dataset: Dataset, origin: Origin) -> SplitFile:
    images, defects = dataset.images, dataset.defects
    xywh = np.concatenate([defects.box[:, :2], defects.box[:, 2:] - defects.box[:, :2]], axis=1).tolist()
    image_id, size, group = images.id.tolist(), images.size.tolist(), images.group.tolist()
    id_, of, label = defects.id.tolist(), images.id[defects.image].tolist(), defects.label.tolist()
    area, crowd, ignore = defects.area.tolist(), defects.crowd.tolist(), defects.ignore.tolist()
    image_attributes = rows({k: v for k, v in images.attribute.items() if k != "source_file"}, len(images))
    defect_attributes = rows(defects.attribute, len(defects))
    return SplitFile(
        info=Info(
            normalized_by=WRITER, schema=SCHEMA, split=dataset.split, fingerprint=dataset.fingerprint,
            regions=dataset.has_masks, scale=dataset.scale, unit=dataset.unit,
        ),
        categories=[
            CategoryRecord(id=c.id, name=c.name, source_id=c.source_id, severity=c.severity) for c in dataset.categories
        ],
        images=[
            ImageRecord(
                id=image_id[row],
                file_name=images.file[row].removeprefix(f"{PICTURES}/"),
                width=size[row][0],
                height=size[row][1],
                group=str(group[row]),
                source_id=images.source_id[row],
                source_split=origin.source_split[row],
                source_file=origin.source_file[row],
                sha256=origin.sha256[row],
                attributes=image_attributes[row],
            )
            for row in range(len(images))
        ],
        annotations=[
            DefectRecord(
                id=id_[row],
                image_id=of[row],
                category_id=label[row] + 1,
                bbox=tuple(xywh[row]),
                area=float(area[row]),
                iscrowd=int(crowd[row]),
                ignore=int(ignore[row]),
                segmentation=to_coco(defects.region[row]) if defects.region is not None else [],
                source_id=defects.source_id[row],
                attributes=defect_attributes[row],
            )
            for row in range(len(defects))
        ],
    )  # fmt: skip
