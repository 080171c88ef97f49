"""Columns of a JSON list of like objects by msgspec, without a Python object that outlives its piece of text.

msgspec parses a piece into typed records and packs them again as MessagePack, which writes every number of
a float field in 9 bytes. So all records are equally long, and numpy picks the columns out of one buffer.
"""

from __future__ import annotations

import msgspec
import numpy as np

from defect_detect.tables import Column

_EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""
_PIECE = 1 << 16
"""Bytes of JSON parsed at a time: their records stay in the processor's cache."""
_SPACE = b" \t\r\n"
_NUMBER = 9
_SIDES = 4


class _Box(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    x: float
    y: float
    width: float
    height: float


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An object without keys."""


class Reader:
    """Reads lists of objects with the `fields`, kinds by name, as `scanned.scan` has them.

    `others`: further keys are passed over, and a key given twice goes unnoticed.
    """

    def __init__(self, fields: dict[str, str], *, others: bool) -> None:
        # Where all keys must be there and no others may, more quotes than theirs are a key given twice.
        self.quotes = 0 if others else 2 * len(fields)
        self.place: dict[str, tuple[str, int]] = {}
        self.length = 1
        record: list[tuple[str, type] | tuple[str, type, object]] = []
        for name, kind in fields.items():
            if kind == "x?":
                continue
            self.length += 1 + len(name) + 1
            if kind == "e?":
                record.append((name, _Nothing, _Nothing()))
                continue
            record.append((name, _Box if kind == "b" else float))
            self.place[name] = (kind, self.length + (kind == "b"))
            self.length += _SIDES * _NUMBER if kind == "b" else _NUMBER - 1
        kept = msgspec.defstruct("Record", record, gc=False, forbid_unknown_fields=not others)
        self.decode = msgspec.json.Decoder(list[kept]).decode  # type: ignore[valid-type]

    def read(self, raw: bytes, start: int, end: int, between: bytes) -> dict[str, Column] | None:
        """The columns of `raw[start:end]`, the inside of a JSON list; None if it isn't a list of such objects.

        It is cut into pieces after the first byte of `between`. A cut that falls into a record leaves
        pieces that don't parse; those that all parse, with a comma between each two, make up the list.
        """
        text, parts = memoryview(raw), list[list[Column]]()
        while True:
            cut = raw.find(between, start + _PIECE, end) + 1 or end
            part = self._columns(b"".join((b"[", text[start:cut], b"]")))
            if part is None or (parts and not len(part[0])):
                return None
            parts.append(part)
            comma = raw.find(b",", cut, end)
            if comma < 0 or raw[cut:comma].strip(_SPACE):
                break
            start = comma + 1
        if raw[cut:end].strip(_SPACE):
            return None
        return {name: np.concatenate(column) for name, column in zip(self.place, zip(*parts, strict=True), strict=True)}

    def _columns(self, text: bytes) -> list[Column] | None:
        try:
            records = self.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        rows = len(records)
        if self.quotes and np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')) != self.quotes * rows:
            return None
        # Padded, since numpy wants even an empty column to begin inside the buffer.
        packed = msgspec.msgpack.encode(records) + bytes(0 if rows else self.length)
        columns = list[Column]()
        head = len(packed) - max(rows, 1) * self.length
        for kind, at in self.place.values():
            shape, steps = ((rows, _SIDES), (self.length, _NUMBER)) if kind == "b" else ((rows,), (self.length,))
            column = np.ndarray(shape, ">f8", packed, head + at, steps).astype(np.float64)
            if kind == "i":
                whole = column.astype(np.int64) if np.abs(column).max(initial=0) < _EXACT else None
                if whole is None or (whole != column).any():
                    return None
                columns.append(whole)
            else:
                columns.append(column)
        return columns
