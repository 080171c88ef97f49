"""Columns of a JSON list of like objects by the compiled reader, where it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect import native
from defect_detect.tables import Column

_COLUMN = {"i": (np.int64, ()), "f": (np.float64, ()), "b": (np.float64, (4,))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The list `text[start:end]`; its columns by name."""

    start: int
    end: int
    column: dict[str, Column]


def scan(text: bytes, key: str | None, fields: dict[str, str], *, others: bool) -> Scanned | None:
    """The columns of a list of objects that have just these fields; None where that can't be said for sure.

    `key` None: the text is the list; else it is an object with the list under it. `fields` by name: `i`
    whole numbers (N,) int64, `f` numbers (N,) float64, `b` boxes (N, 4) float64, `e` an empty object, `x`
    anything; these two have no column, and with a `?` may be absent. `others`: further keys are passed over.
    Numbers are rounded as Python rounds them. A key given twice in one object, escapes where a key or
    number is wanted, and all that isn't JSON are declined.
    """
    if native.compiled is None:
        return None
    found = native.compiled.scan(text, key, tuple(fields.items()), others)
    if found is None:
        return None
    start, end, rows, listed = found
    column = {}
    for (name, kind), values in zip(fields.items(), listed, strict=True):
        if kind in _COLUMN:
            dtype, sides = _COLUMN[kind]
            column[name] = np.frombuffer(values, dtype).reshape(rows, *sides)
    return Scanned(start=start, end=end, column=column)
