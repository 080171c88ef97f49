"""Columns straight from the bytes of a plain COCO file, without a Python object for each value.

A reader here takes a file only if nothing about it needs a word: what it declines (None) is read again
by code that explains. The compiled reader does the work where it is there, else msgspec and numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from defect_detect.data.packed import Reader
from defect_detect.data.records import SplitFile
from defect_detect.data.scanned import scan
from defect_detect.tables import Column, Floats, Ints

_LARGEST = 2.0**53
"""Of the numbers of a box, as `spans.numbers` has it."""
_SPACE = b" \t\r\n"
_ANNOTATIONS = b'"annotations": ['
_SAID_FIELDS = {"image_id": "i", "category_id": "i", "bbox": "b", "score": "f"}
_MARKED_FIELDS = {
    "id": "i", "image_id": "i", "category_id": "i", "bbox": "b", "area": "f", "iscrowd": "i", "ignore": "i",
    "segmentation": "x?", "source_id": "i", "attributes": "e?",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """COCO results, as the file has them.

    image_id, category_id  (P,) int64
    xywh                   (P, 4) float64, x y width height
    score                  (P,) float64
    """

    image_id: Ints
    category_id: Ints
    xywh: Floats
    score: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The annotations of a split, as its file has them.

    id, image_id, category_id, iscrowd, ignore, source_id  (G,) int64
    xywh                                                   (G, 4) float64, x y width height
    area                                                   (G,) float64
    """

    id: Ints
    image_id: Ints
    category_id: Ints
    xywh: Floats
    area: Floats
    iscrowd: Ints
    ignore: Ints
    source_id: Ints


def results(raw: bytes) -> Said | None:
    """The columns of COCO results, or None unless every entry is just the four numeric keys, each once.

    Whether ids are known, scores in [0, 1] and sizes not negative is for the caller to check.
    """
    scanned = scan(raw, None, _SAID_FIELDS, others=False)
    column = _listed(raw) if scanned is None else scanned.column
    if column is None or max(-column["bbox"].min(initial=0), column["bbox"].max(initial=0)) > _LARGEST:
        return None
    return Said(xywh=column.pop("bbox"), **column)


def truth(raw: bytes) -> tuple[SplitFile, Marked] | None:
    """A split's file as this package writes it: all but the annotations, and their columns.

    Regions are skipped. None for annotations with attributes or ids of text, and for a damaged file.
    """
    scanned = scan(raw, "annotations", _MARKED_FIELDS, others=True)
    if scanned is not None:
        start, end, column = scanned.start + 1, scanned.end - 1, scanned.column
    else:
        start, end = raw.find(_ANNOTATIONS) + len(_ANNOTATIONS), raw.rfind(b"]")
        if not len(_ANNOTATIONS) <= start <= end:
            return None
        found = _MARKED.read(raw, start, end, b"}, {")
        if found is None:
            return None
        column = found
    try:
        # What is left without the inside of the list is parsed too, so the list is where it belongs.
        head = _HEAD.decode(raw[:start] + raw[end:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return head, Marked(xywh=column.pop("bbox"), **column)


def _listed(raw: bytes) -> dict[str, Column] | None:
    start, end = raw.find(b"["), raw.rfind(b"]")
    if not 0 <= start < end or raw[:start].strip(_SPACE) or raw[end + 1 :].strip(_SPACE):
        return None
    return _SAID.read(raw, start + 1, end, b"}")


_SAID, _MARKED = Reader(_SAID_FIELDS, others=False), Reader(_MARKED_FIELDS, others=True)
_HEAD = msgspec.json.Decoder(SplitFile)
