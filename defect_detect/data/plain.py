"""Columns straight from the bytes of a plain COCO file, without a Python object for each value.

A reader here takes a file only if nothing about it needs a word: what it declines (None) is read again
by code that explains. msgspec parses into small typed records, and packs them in a form in which every
record is equally long, so that numpy picks the columns out of one buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from defect_detect.data.records import SplitFile
from defect_detect.data.scanned import scan
from defect_detect.tables import Floats, Ints

_EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""
_PIECE = 1 << 17
"""Bytes of JSON parsed at a time: their records stay in the processor's cache."""
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
    if scanned is not None:
        bbox = scanned.column.pop("bbox")
        return Said(xywh=bbox, **scanned.column)
    start, end = raw.find(b"["), raw.rfind(b"]")
    if not 0 <= start < end or raw[:start].strip(_SPACE) or raw[end + 1 :].strip(_SPACE):
        return None
    column = _read(_SAID, raw, start + 1, end, b"}")
    if column is None:
        return None
    image, label, xywh = _whole(column["image_id"]), _whole(column["category_id"]), _xywh(column)
    if image is None or label is None or not (np.abs(xywh) <= _EXACT).all():
        return None
    return Said(image_id=image, category_id=label, xywh=xywh, score=column["score"])


def truth(raw: bytes) -> tuple[SplitFile, Marked] | None:
    """A split's file as this package writes it: all but the annotations, and their columns.

    Regions are skipped. None for annotations with attributes or ids of text, and for a damaged file.
    """
    scanned = scan(raw, "annotations", _MARKED_FIELDS, others=True)
    if scanned is not None:
        head = _head(raw[: scanned.start + 1] + raw[scanned.end - 1 :])
        bbox = scanned.column.pop("bbox")
        return None if head is None else (head, Marked(xywh=bbox, **scanned.column))
    start, end = raw.find(_ANNOTATIONS) + len(_ANNOTATIONS), raw.rfind(b"]")
    if not len(_ANNOTATIONS) <= start <= end:
        return None
    # What is left without the inside of the list is parsed too, so the list is where it belongs.
    column = _read(_MARKED, raw, start, end, b"}, {")
    head = _head(raw[:start] + raw[end:])
    if column is None or head is None:
        return None
    found = {name: _whole(column[name]) for name in ("id", "image_id", "category_id", "iscrowd", "ignore", "source_id")}
    whole = {name: values for name, values in found.items() if values is not None}
    if len(whole) < len(found):
        return None
    return head, Marked(xywh=_xywh(column), area=column["area"], **whole)


def _head(raw: bytes) -> SplitFile | None:
    try:
        return _HEAD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Box(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    x: float
    y: float
    width: float
    height: float


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An object without keys."""


class _Said(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    image_id: float
    category_id: float
    bbox: _Box
    score: float


class _Marked(msgspec.Struct, gc=False):
    id: float
    image_id: float
    category_id: float
    bbox: _Box
    area: float
    iscrowd: float
    ignore: float
    source_id: float
    attributes: _Nothing = _Nothing()


class _Reader:
    """Turns the text of a list of records into columns of their numbers.

    MessagePack writes every number of a float field in 9 bytes, so that all records are equally long.
    """

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        # Where all keys must be there and no others may, more quotes than theirs are a key given twice.
        self.quotes = 2 * len(kind.__struct_fields__) if kind.__struct_config__.forbid_unknown_fields else 0
        self.decode = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self.names: list[str] = []
        offsets: list[int] = []
        at = 1
        for field in msgspec.structs.fields(kind):
            sides = _Box.__struct_fields__ if field.type is _Box else (field.name,) if field.type is float else ()
            at += 1 + len(field.name) + (field.type is not float)
            self.names += sides
            offsets += [at + 9 * place + 1 for place in range(len(sides))]
            at += 9 * len(sides)
        formats = [">f8"] * len(offsets)
        self.layout = np.dtype({"names": self.names, "formats": formats, "offsets": offsets, "itemsize": at})

    def columns(self, text: bytes) -> Floats | None:
        """(C, R) the C numbers of each of R records, or None if the text is no list of them."""
        try:
            records = self.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if self.quotes and _count(text, '"') != self.quotes * len(records):
            return None
        packed = msgspec.msgpack.encode(records)
        table = np.frombuffer(packed, self.layout, offset=len(packed) - len(records) * self.layout.itemsize)
        return np.array([table[name] for name in self.names], np.float64)


_SAID, _MARKED, _HEAD = _Reader(_Said), _Reader(_Marked), msgspec.json.Decoder(SplitFile)


def _read(reader: _Reader, raw: bytes, start: int, end: int, between: bytes) -> dict[str, Floats] | None:
    """The columns of the records in `raw[start:end]`, the inside of a JSON list; None if it isn't one of them.

    Cut into pieces after the first byte of `between`. A cut that falls into a record leaves pieces that
    don't parse; those that all parse, with a comma between each two, make up the list.
    """
    text, parts = memoryview(raw), list[Floats]()
    while True:
        cut = raw.find(between, start + _PIECE, end) + 1 or end
        part = reader.columns(b"".join((b"[", text[start:cut], b"]")))
        if part is None or (parts and not part.size):
            return None
        parts.append(part)
        comma = raw.find(b",", cut, end)
        if comma < 0 or raw[cut:comma].strip(_SPACE):
            break
        start = comma + 1
    if raw[cut:end].strip(_SPACE):
        return None
    return dict(zip(reader.names, np.concatenate(parts, axis=1), strict=True))


def _count(text: bytes, character: str) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(character)))


def _xywh(column: dict[str, Floats]) -> Floats:
    return np.stack([column[side] for side in _Box.__struct_fields__], axis=1)


def _whole(values: Floats) -> Ints | None:
    """The same numbers as int64; None where one isn't whole, or too large to be told from its neighbour."""
    if not (np.abs(values) < _EXACT).all():
        return None
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else None
