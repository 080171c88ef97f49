"""Pictures that show nearly the same: repeats and re-encodings of one part, which must not be torn apart.

A difference hash: the picture shrunk to 17 x 16 grey cells, one bit for each pair of neighbours (brighter to
the right or not). Re-encoding, a little more light or a shift by a pixel turns few of the 256 bits; two
pictures of different parts differ in some hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

import numpy as np

from defect_detect.data import pixels
from defect_detect.tables import Bools, Floats, Ints

BITS = 256
LIMIT = 16
"""Bits in which two pictures of the same may differ. On 556 photographs of magnetic tiles, no two different tiles
came that close; on 623 crops of circuit boards 143 of 190,000 pairs did, neighbours on the same board."""
_SIDE = 16
_FLAT = 1.0
_ROWS = 2048


def similar(files: Sequence[Path], *, limit: int = LIMIT) -> Ints:
    """(N,) the number of each picture's group: pictures that differ in at most `limit` bits, directly or over others.

    A picture without contrast (all of one grey) is like no other: there is nothing to know it by.

    Raises:
        DatasetError: a file is no picture.
    """
    from scipy import sparse
    from scipy.sparse import csgraph

    with ThreadPoolExecutor(min(32, cpu_count() or 1)) as pool:
        hashed = list(pool.map(_hash, files))
    bits = np.stack([bits for bits, _ in hashed]) if hashed else np.zeros((0, BITS), np.bool_)
    known = np.flatnonzero(np.array([deviation >= _FLAT for _, deviation in hashed], np.bool_))
    edges = [np.zeros((2, 0), np.int64), *(known[pair] for pair in _near(bits[known], limit))]
    first, second = np.concatenate(edges, axis=1)
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(files), len(files)))
    _, group = csgraph.connected_components(graph, directed=False)
    return np.asarray(group, np.int64)


def _hash(path: Path) -> tuple[Bools, float]:
    """(256,) bool, and the standard deviation of the cells in grey levels."""
    from PIL import Image

    grey = Image.fromarray(pixels.read(path)).convert("L")
    cells: Floats = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.float64)
    return (cells[:, 1:] > cells[:, :-1]).ravel(), float(cells.std())


def _near(bits: Bools, limit: int) -> Iterator[Ints]:
    """(2, E) pairs of rows that differ in at most `limit` bits, a block of rows at a time."""
    sign = np.where(bits, np.float32(1), np.float32(-1))
    for start in range(0, len(sign), _ROWS):
        # Equal bits less unequal ones; small whole numbers, so float32 is exact.
        agree = sign[start : start + _ROWS] @ sign[start:].T
        row, column = np.nonzero(BITS - agree <= 2 * limit)
        later = column > row
        yield np.stack([row[later], column[later]]) + start
