"""An order by many keys that looks at the dear ones only where the cheap ones tie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from defect_detect.tables import Bools, Column, Ints


def ranked(first: Sequence[Column], ties: Callable[[Ints], Sequence[Column]]) -> Ints:
    """(N,) the rows by the keys of `first`, each (N,), the most significant one first.

    Rows equal in all of them go by the keys that `ties` gives for those rows, (T,) each, then as they came.
    Rows that are in order already aren't sorted again.

    >>> import numpy as np
    >>> score, x = np.array([0.5, 0.9, 0.5]), np.array([7.0, 3.0, 2.0])
    >>> ranked([-score], lambda rows: [x[rows]]).tolist()
    [1, 2, 0]
    """
    order = np.arange(len(first[0]))
    falls, equal = _steps(first)
    if falls.any():
        order = np.lexsort(first[::-1])
        _, equal = _steps([key[order] for key in first])
    if equal.any():
        tied = np.append(equal, False) | np.insert(equal, 0, False)
        rows, group = order[tied], np.insert(np.cumsum(~equal), 0, 0)[tied]
        order[tied] = rows[np.lexsort((*ties(rows)[::-1], group))]
    return order


def _steps(keys: Sequence[Column]) -> tuple[Bools, Bools]:
    """(N - 1,) each: whether the next row comes before this one by the keys, whether it equals it."""
    steps = max(len(keys[0]) - 1, 0)
    falls, equal = np.zeros(steps, np.bool_), np.ones(steps, np.bool_)
    for key in keys:
        here, after = key[:-1], key[1:]
        falls |= equal & (after < here)
        equal &= after == here
    return falls, equal
