"""Columns of a JSON list of like objects by msgspec, without a Python object that outlives its piece of text.

msgspec parses a piece into typed records and packs them again as MessagePack, which writes every number of
a float field in 9 bytes. So all records are equally long, and numpy picks the columns out of one buffer.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from defect_detect.tables import Column

_PIECE = 1 << 17
"""Bytes of JSON parsed at a time: their records stay in the processor's cache."""
_SPACE = b" \t\r\n"
_NUMBER = 9
_SIDES = 4
_EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""


class _Box(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    x: float
    y: float
    width: float
    height: float


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An object without keys."""


_TYPES = {"i": float, "f": float, "b": _Box}


class Reader:
    """Reads lists of objects with the `fields`, kinds by name, as `scanned.scan` has them.

    `others`: further keys are passed over, and a key given twice goes unnoticed.
    """

    def __init__(self, fields: dict[str, str], *, others: bool) -> None:
        # Where all keys must be there and no others may, more quotes than theirs are a key given twice.
        self.quotes = 0 if others else 2 * len(fields)
        self.kinds: dict[str, str] = {}
        self.place: dict[str, int] = {}
        self.length = 1
        record: list[tuple[str, Any] | tuple[str, Any, object]] = []
        for name, kind in fields.items():
            if kind == "e?":
                record.append((name, _Nothing, _Nothing()))
                self.length += 1 + len(name) + 1
            elif kind in _TYPES:
                record.append((name, _TYPES[kind]))
                self.kinds[name] = kind
                self.place[name] = self.length + 1 + len(name) + (kind == "b") + 1
                self.length += 1 + len(name) + (1 + _SIDES * _NUMBER if kind == "b" else _NUMBER)
        kept = msgspec.defstruct("Record", record, gc=False, forbid_unknown_fields=not others)
        self.decode = msgspec.json.Decoder(list[kept]).decode  # type: ignore[valid-type]
        self.least = sum(len(name) for name in self.kinds)

    def read(self, raw: bytes, start: int, end: int, between: bytes) -> dict[str, Column] | None:
        """The columns of `raw[start:end]`, the inside of a JSON list; None if it isn't a list of such objects.

        It is cut into pieces after the first byte of `between`. A cut that falls into a record leaves
        pieces that don't parse; those that all parse, with a comma between each two, make up the list.
        """
        text, rows = memoryview(raw), 0
        # Longer than can be needed: memory that nobody writes to costs nothing.
        most = (end - start) // self.least + 1
        columns: dict[str, Column] = {
            name: np.empty((most, _SIDES) if kind == "b" else most) for name, kind in self.kinds.items()
        }
        while True:
            cut = raw.find(between, start + _PIECE, end) + 1 or end
            added = self._fill(columns, rows, b"".join((b"[", text[start:cut], b"]")))
            if added is None or (rows and not added):
                return None
            rows += added
            comma = raw.find(b",", cut, end)
            if comma < 0 or raw[cut:comma].strip(_SPACE):
                break
            start = comma + 1
        if raw[cut:end].strip(_SPACE):
            return None
        for name, kind in self.kinds.items():
            column = columns[name][:rows]
            columns[name] = column.astype(np.int64) if kind == "i" else column
            if kind == "i" and (
                max(-column.min(initial=0), column.max(initial=0)) >= _EXACT or (columns[name] != column).any()
            ):
                return None
        return columns

    def _fill(self, columns: dict[str, Column], at: int, text: bytes) -> int | None:
        """Write the records of the text into rows from `at` on; how many, or None if they don't parse."""
        try:
            records = self.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        rows = len(records)
        if self.quotes and np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')) != self.quotes * rows:
            return None
        packed = msgspec.msgpack.encode(records)
        head = len(packed) - rows * self.length
        for name, place in self.place.items() if rows else ():
            column = columns[name][at : at + rows]
            steps = (self.length, _NUMBER)[: column.ndim]
            column[:] = np.ndarray(column.shape, ">f8", packed, head + place, steps)
        return rows
