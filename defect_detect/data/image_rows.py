"""The images of a COCO file as columns, where every one has an id, a name and a size and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from defect_detect import native
from defect_detect.data.rows import Entries, Text
from defect_detect.tables import Ints

_FIELDS = (("id", "i"), ("file_name", "v"), ("width", "i"), ("height", "i"))
_QUOTE = ord('"')
_NAMES = msgspec.json.Decoder(list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumns:
    """N images; nothing is said yet about their values.

    id, width, height  (N,) int64
    name               N strings
    """

    id: Ints
    width: Ints
    height: Ints
    name: list[str]


class ImageRows(Entries):
    """The entries in their order, and `columns` of all of them."""

    def __init__(self, text: Text, place: Ints, columns: ImageColumns) -> None:
        super().__init__(text, place)
        self.columns = columns


def scan(raw: bytes) -> tuple[ImageRows, int, int] | None:
    """The list `images` in the bytes of a JSON object, and where its text starts and ends; None: read it whole."""
    if native.compiled is None:
        return None
    found = native.compiled.scan_loosely(raw, "images", _FIELDS)
    if found is None:
        return None
    start, end, count, (id_, spans, width, height), places = found
    place = np.frombuffer(places, np.int64).reshape(count, 3)
    span = np.frombuffer(spans, np.int64).reshape(count, 2)
    text = np.frombuffer(raw, np.uint8)
    if not count or not place[:, 2].all() or (text[span[:, 0]] != _QUOTE).any():
        return None
    listed = b",".join([raw[first:last] for first, last in span.tolist()])
    columns = ImageColumns(
        id=np.frombuffer(id_, np.int64), width=np.frombuffer(width, np.int64), height=np.frombuffer(height, np.int64),
        name=_NAMES.decode(b"[" + listed + b"]"),
    )  # fmt: skip
    return ImageRows(Text(raw), place, columns), start, end
