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
from numpy.typing import NDArray

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
    """`groups` of the pictures in the files.

    Raises:
        DatasetError: a file is no picture.
    """
    with ThreadPoolExecutor(min(32, cpu_count() or 1)) as pool:
        return groups(list(pool.map(lambda path: sketch(pixels.read(path)), files)), limit=limit)


def sketch(shown: NDArray[np.uint8]) -> str:
    """The difference hash of a picture (H, W, 3), 64 hex digits; `` where it has no contrast to know it by."""
    from PIL import Image

    grey = Image.fromarray(shown).convert("L")
    cells: Floats = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.float64)
    if cells.std() < _FLAT:
        return ""
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes().hex()


def groups(sketches: Sequence[str], *, limit: int = LIMIT) -> Ints:
    """(N,) the number of each picture's group: those that differ in at most `limit` bits, directly or over others.

    A picture without contrast is like no other.
    """
    from scipy import sparse
    from scipy.sparse import csgraph

    known = np.flatnonzero(np.array([text != "" for text in sketches], np.bool_))
    packed = np.frombuffer(bytes.fromhex("".join(sketches)), np.uint8).reshape(-1, BITS // 8)
    bits = np.unpackbits(packed, axis=1).astype(np.bool_)
    edges = [np.zeros((2, 0), np.int64), *(known[pair] for pair in _near(bits, limit))]
    first, second = np.concatenate(edges, axis=1)
    graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(sketches), len(sketches)))
    _, group = csgraph.connected_components(graph, directed=False)
    return np.asarray(group, np.int64)


def _near(bits: Bools, limit: int) -> Iterator[Ints]:
    """(2, E) pairs of rows that differ in at most `limit` bits, a block of rows at a time."""
    sign = np.where(bits, np.float32(1), np.float32(-1))
    for start in range(0, len(sign), _ROWS):
        # Equal bits less unequal ones; small whole numbers, so float32 is exact.
        agree = sign[start : start + _ROWS] @ sign[start:].T
        row, column = np.nonzero(BITS - agree <= 2 * limit)
        later = column > row
        yield np.stack([row[later], column[later]]) + start
