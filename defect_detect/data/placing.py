"""Rows by id, by a table of all ids between the lowest and the highest."""

from __future__ import annotations

import numpy as np

from defect_detect import native
from defect_detect.tables import Ints

_WIDEST = 64
"""A table is made while it is at most so many times as long as there are ids."""


def places(known: Ints, asked: Ints) -> Ints | None:
    """The row of each `asked` id among the `known`, (A,) int64.

    None where one isn't among them, where a known one occurs twice, and where they lie too far apart for a table.

    >>> places(np.array([3, 7, 5]), np.array([5, 3])).tolist()
    [2, 0]
    """
    if native.compiled is not None:
        rows = np.empty(len(asked), np.int64)
        return rows if native.compiled.rows_of(known, asked, rows) else None
    if not len(known) or not len(asked):
        return None if len(asked) else np.zeros(0, np.int64)
    low, high = int(known.min()), int(known.max())
    if high - low >= _WIDEST * (len(known) + 16) or asked.min() < low or asked.max() > high:
        return None
    table = np.full(high - low + 1, -1)
    table[known - low] = np.arange(len(known))
    rows = table[asked - low]
    return rows if rows.min() >= 0 and np.count_nonzero(table >= 0) == len(known) else None
