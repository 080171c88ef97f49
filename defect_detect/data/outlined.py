"""Files whose every row has a region, read by the compiled reader; what it declines is read as objects instead."""

from __future__ import annotations

from typing import cast

import msgspec

from defect_detect.data.plain import Marked, Said
from defect_detect.data.records import SplitFile
from defect_detect.data.scanned import scan
from defect_detect.tables import Region, Rle

_SAID = {"image_id": "i", "category_id": "i", "bbox": "b", "score": "f", "segmentation": "r"}
_MARKED = {
    "id": "i", "image_id": "i", "category_id": "i", "bbox": "b", "area": "f", "iscrowd": "i", "ignore": "i",
    "segmentation": "r", "source_id": "i", "attributes": "e?",
}  # fmt: skip
_HEAD = msgspec.json.Decoder(SplitFile)
_HINT, _HEADING = b'"regions": true', 1024


def results(raw: bytes) -> tuple[Said, tuple[Rle, ...]] | None:
    """The columns of COCO results, and the run lengths of each; None unless every entry is so plain.

    Beyond what `plain.results` leaves to the caller: whether the pictures are as large as the run lengths.
    """
    scanned = scan(raw, None, _SAID, others=False)
    if scanned is None:
        return None
    # Polygons may reach past the picture, which is for `regions.parse` to see to.
    if not scanned.region or {type(one) for one in scanned.region} != {Rle}:
        return None
    return Said(xywh=scanned.column.pop("bbox"), **scanned.column), cast("tuple[Rle, ...]", scanned.region)


def truth(raw: bytes) -> tuple[SplitFile, Marked, tuple[Region, ...]] | None:
    """A split's file as this package writes it, its annotations' columns and regions.

    None for annotations with attributes or ids of text, for a damaged file, and where a region is missing.
    """
    if raw.find(_HINT, 0, _HEADING) < 0:
        return None
    scanned = scan(raw, "annotations", _MARKED, others=True)
    if scanned is None:
        return None
    region = tuple(one for one in scanned.region if one is not None)
    try:
        head = _HEAD.decode(raw[: scanned.start + 1] + raw[scanned.end - 1 :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not head.info.regions or len(region) < len(scanned.region):
        return None
    return head, Marked(xywh=scanned.column.pop("bbox"), **scanned.column), region
