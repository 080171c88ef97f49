"""What stands in the files of a normalized dataset: COCO, with a few keys of our own."""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = 1
WRITER = "defect_detect"
SEVERITIES = ("critical", "major", "minor")
Scalar = bool | int | float | str | None


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry of `images`."""

    id: int
    """From 1, unique across the splits."""
    file_name: str
    """POSIX, relative to the folder `images`."""
    width: int
    height: int
    group: str
    source_id: int | str
    source_split: str
    """The source file's split, `` where one file was split by us."""
    source_file: str
    """The name as the source has it."""
    sha256: str
    """Of the picture's bytes in this dataset."""
    attributes: dict[str, Scalar] = {}


class DefectRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry of `annotations`; also what a source's annotation is tidied into."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    """x y width height, px."""
    area: float
    iscrowd: int
    ignore: int
    segmentation: Any
    """Polygons, compressed run lengths, or [] in a dataset of boxes only."""
    source_id: int | str
    attributes: dict[str, Scalar] = {}


class CategoryRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of `categories`."""

    id: int
    name: str
    source_id: int | str
    severity: str | None = None


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """`info` of a split's file."""

    normalized_by: str
    schema: int
    split: str
    fingerprint: str
    regions: bool
    scale: float | None
    unit: str


class SplitFile(msgspec.Struct, frozen=True, kw_only=True):
    """`train.json`, `val.json` or `test.json`."""

    info: Info
    categories: list[CategoryRecord]
    images: list[ImageRecord]
    annotations: list[DefectRecord]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came in and what became of it; `given` is always `kept + merged + quarantined`."""

    given: int = 0
    kept: int = 0
    repaired: int = 0
    """Of those kept: changed in some way."""
    merged: int = 0
    """Said again what another one says."""
    quarantined: int = 0
    dropped: dict[str, int] = {}
    """Those merged or quarantined, by the rule that was the reason."""


class SplitSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One split in `dataset.json`."""

    fingerprint: str
    images: int
    defect_free: int
    defects: int
    quarantined_images: int
    quarantined_defects: int
    """Of images that went into this split, or would have."""


class DatasetFile(msgspec.Struct, frozen=True, kw_only=True):
    """`dataset.json`: written last, so a folder that has it is complete."""

    schema: int
    source: str
    input: str
    """SHA-256 over the input's files, pictures and options: the same input needs no second run."""
    decode_policy: str
    scale: float | None
    unit: str
    severity: dict[str, str]
    categories: list[str]
    regions: bool
    images: Tally
    annotations: Tally
    splits: dict[str, SplitSummary]
