"""Columns of a JSON list of like objects by the compiled reader, where it is there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from defect_detect import native
from defect_detect.tables import Column, Polygons, Region, Rle

_RUN_LENGTHS, _POLYGONS = 1, 2
_COLUMN = {"i": (np.int64, ()), "f": (np.float64, ()), "b": (np.float64, (4,))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The list `text[start:end]`; its columns by name, and its regions (None for rows without) where asked for."""

    start: int
    end: int
    column: dict[str, Column]
    region: tuple[Region | None, ...] = ()


def scan(text: bytes, key: str | None, fields: dict[str, str], *, others: bool) -> Scanned | None:
    """The columns of a list of objects that have just these fields; None where that can't be said for sure.

    `key` None: the text is the list; else it is an object with the list under it. `fields` by name: `i`
    whole numbers (N,) int64, `f` numbers (N,) float64, `b` boxes (N, 4) float64, `e` an empty object, `x`
    anything, `r` a region (run lengths as this package compresses them, polygons, or an empty list); these
    three have no column, and with a `?` may be absent. `others`: further keys are passed over.
    Numbers are rounded as Python rounds them. A key given twice in one object, escapes where a key or
    number is wanted, and all that isn't JSON are declined.
    """
    if native.compiled is None:
        return None
    found = native.compiled.scan(text, key, tuple(fields.items()), others)
    if found is None:
        return None
    start, end, rows, listed = found
    column: dict[str, Column] = {}
    region: tuple[Region | None, ...] = ()
    for (name, kind), values in zip(fields.items(), listed, strict=True):
        if kind in _COLUMN:
            dtype, sides = _COLUMN[kind]
            column[name] = np.frombuffer(values, dtype).reshape(rows, *sides)
        elif values is not None:
            region = _regions(*values)
    return Scanned(start=start, end=end, column=column, region=region)


def _regions(
    rows: bytearray, points: bytearray, rings: bytearray, counts: list[bytes]
) -> tuple[Region | None, ...]:  # fmt: skip
    """The column of a field `r`, as `native/reading.c` lays it out."""
    kinds = np.frombuffer(rows, np.int64).reshape(-1, 4)
    if native.compiled is not None and (kinds[:, 0] == _RUN_LENGTHS).all():
        listed: tuple[Region | None, ...] = native.compiled.run_lengths(Rle, kinds, counts)
        return listed
    corners, end = np.frombuffer(points).reshape(-1, 2), np.frombuffer(rings, np.int64).tolist()
    ring = [corners[start:stop] for start, stop in pairwise([0, *end])]
    coded = iter(counts)

    def region(kind: int, a: int, b: int) -> Region | None:
        if kind == _POLYGONS:
            return Polygons(rings=tuple(ring[a : a + b]))
        return Rle(height=a, width=b, counts=next(coded)) if kind == _RUN_LENGTHS else None

    return tuple([region(kind, a, b) for kind, a, b, _ in kinds.tolist()])
