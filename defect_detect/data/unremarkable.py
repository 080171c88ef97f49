"""Plain rows about which no rule of `annotations.draft` has a word, told for all at once.

The test is on the safe side: what it passes over, `draft` judges one by one, by the very rules.
"""

from __future__ import annotations

import numpy as np

from defect_detect.data.drawn import Drawn, Rings
from defect_detect.data.extents import extents
from defect_detect.data.polygons import MAX_OUTLINE, MAX_POINTS
from defect_detect.data.rows import POLYGONS, Columns
from defect_detect.data.sound import Sound
from defect_detect.tables import Bools, Floats, Ints

_LARGEST = 2.0**53
_TOGETHER = 1 << 15
"""Rows that are looked at at a time: what is computed on the way stays small."""
_AGREE = 0.55
"""IoU, more than `annotations` asks for."""


def sound(
    plain: Columns, rows: Ints, image: Ints, label: Ints, size: Ints, *, names: tuple[str, ...], source: int
) -> tuple[Bools, Sound]:
    """(M,) bool, which of the M plain rows at `rows` pass, and those as `Sound`.

    `image`, `label` (M,) int64 of each; `size` (N, 2) int64, width and height px of all pictures.
    """
    passes = np.empty(len(rows), np.bool_)
    box = np.empty((len(rows), 4))
    every = len(rows) == len(plain.number)
    for start in range(0, len(rows), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        passes[some], box[some] = _passes(plain, some if every else rows[some], rows[some], size[image[some]])
    whole = bool(passes.all())
    chosen = slice(None) if whole else np.flatnonzero(passes)
    taken = slice(None) if whole and every else rows[chosen]
    nothing: dict[str, int] = {}
    number, drawn = plain.number[taken], plain.kind[taken] == POLYGONS
    return passes, Sound(
        names=names,
        source=np.broadcast_to(np.int64(source), len(number)),
        number=number,
        image=image[chosen],
        label=label[chosen],
        box=box[chosen],
        area=plain.area[taken],
        crowd=plain.iscrowd[taken] == 1,
        ignore=np.zeros(len(number), np.bool_),
        region=Drawn.of_columns(Rings(plain.corners, plain.end), drawn, plain.first[taken], plain.rings[taken]),
        source_id=plain.id[taken],
        attributes=[nothing] * len(number),
    )


def _passes(plain: Columns, some: slice | Ints, rows: Ints, size: Ints) -> tuple[Bools, Floats]:
    """(M,) bool, and (M, 4) the boxes x0 y0 x1 y1 of `rows`, which `some` says too; `size` (M, 2) of their pictures."""
    x, y, wide, high = plain.xywh[some].T
    area, crowd, kind = plain.area[some], plain.iscrowd[some], plain.kind[some]
    right, low = x + wide, y + high
    width, height = size.T
    passes: Bools = (wide > 0) & (high > 0) & (x >= 0) & (y >= 0) & (right <= width) & (low <= height)
    passes &= (right > x) & (low > y) & ((crowd == 0) | (crowd == 1))
    across, down = right - x, low - y
    passes &= (area > 0) & (area < _LARGEST) & (area <= (across + 1) * (down + 1)) & (area <= across * down * 1.01)
    passes &= (kind == 0) | (kind == POLYGONS)
    box = np.stack([x, y, right, low], axis=1)
    drawn = np.flatnonzero(passes & (kind == POLYGONS))
    if len(drawn):
        passes[drawn] = _regions(plain, rows[drawn], box[drawn], size[drawn])
    return passes, box


def _regions(plain: Columns, rows: Ints, box: Floats, size: Ints) -> Bools:
    """(M,) bool: the polygons lie in the picture, in their box, and are of sensible length."""
    first, count = plain.first[rows], plain.rings[rows]
    before = np.concatenate([[0], plain.end])
    passes: Bools = before[first + count] - before[first] <= MAX_POINTS
    around, outline = extents(plain.corners, plain.end, first, count)
    least, most = around[:, :2], around[:, 2:]
    longest = np.minimum(MAX_OUTLINE, size[:, 0] * size[:, 1] + 2.0 * size.sum(axis=1))
    passes &= (least >= 0).all(axis=1) & (most <= size).all(axis=1) & (outline < 0.999 * longest)
    with np.errstate(over="ignore", invalid="ignore"):
        shared = np.clip(np.minimum(box[:, 2:], most) - np.maximum(box[:, :2], least), 0, None).prod(axis=1)
        union = (box[:, 2:] - box[:, :2]).prod(axis=1) + (most - least).prod(axis=1) - shared
        passes &= (np.abs(box - around).max(axis=1) <= 1) | (shared >= _AGREE * union)
    return passes
