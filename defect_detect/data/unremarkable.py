"""Plain rows about which no rule of `annotations.draft` has a word, told for all at once.

The test is on the safe side: what it passes over, `draft` judges one by one, by the very rules.
"""

from __future__ import annotations

import numpy as np

from defect_detect.data.polygons import MAX_OUTLINE, MAX_POINTS
from defect_detect.data.rows import POLYGONS, Columns
from defect_detect.data.sound import Sound
from defect_detect.tables import Bools, Floats, Ints, Polygons, Region

_LARGEST = 2.0**53
_AGREE = 0.55
"""IoU, more than `annotations` asks for."""


def sound(
    plain: Columns, rows: Ints, image: Ints, label: Ints, size: Ints, *, names: tuple[str, ...], source: int
) -> tuple[Bools, Sound]:
    """(M,) bool, which of the M plain rows at `rows` pass, and those as `Sound`.

    `image`, `label` (M,) int64 of each; `size` (M, 2) int64, its picture's width and height px.
    """
    x, y, wide, high = plain.xywh[rows].T
    area, crowd, kind = plain.area[rows], plain.iscrowd[rows], plain.kind[rows]
    right, low = x + wide, y + high
    width, height = size.T
    passes = (wide > 0) & (high > 0) & (x >= 0) & (y >= 0) & (right <= width) & (low <= height)
    passes &= (right > x) & (low > y) & ((crowd == 0) | (crowd == 1))
    across, down = right - x, low - y
    passes &= (area > 0) & (area < _LARGEST) & (area <= (across + 1) * (down + 1)) & (area <= across * down * 1.01)
    passes &= (kind == 0) | (kind == POLYGONS)
    box = np.stack([x, y, right, low], axis=1)
    drawn = np.flatnonzero(passes & (kind == POLYGONS))
    if len(drawn):
        passes[drawn] = _regions(plain, rows[drawn], box[drawn], size[drawn])
    chosen = np.flatnonzero(passes)
    taken = rows[chosen]
    nothing: dict[str, int] = {}
    return passes, Sound(
        names=names,
        source=np.full(len(taken), source, np.int64),
        number=plain.number[taken],
        image=image[chosen],
        label=label[chosen],
        box=box[chosen],
        area=area[chosen],
        crowd=crowd[chosen] == 1,
        ignore=np.zeros(len(taken), np.bool_),
        region=_drawn(plain, taken),
        source_id=plain.id[taken].tolist(),
        attributes=[nothing] * len(taken),
    )


def _regions(plain: Columns, rows: Ints, box: Floats, size: Ints) -> Bools:
    """(M,) bool: the polygons lie in the picture, in their box, and are of sensible length."""
    first, count = plain.first[rows], plain.rings[rows]
    before = np.concatenate([[0], plain.end])
    start, stop = before[first], before[first + count]
    few = stop - start <= MAX_POINTS
    corners, after = plain.corners, np.roll(plain.corners, -1, axis=0)
    last = plain.end - 1
    after[last] = corners[before[:-1]]
    step = np.abs(after - corners).max(axis=1)
    # Rows of polygons follow each other, so what lies between two starts is one row's.
    edges = np.stack([start, stop], axis=1).ravel()
    padded = np.concatenate([corners, corners[-1:]])
    least = np.minimum.reduceat(padded, edges)[::2]
    most = np.maximum.reduceat(padded, edges)[::2]
    outline = np.add.reduceat(np.append(step, 0.0), edges)[::2]
    longest = np.minimum(MAX_OUTLINE, size[:, 0] * size[:, 1] + 2.0 * size.sum(axis=1))
    inside: Bools = few & (least >= 0).all(axis=1) & (most <= size).all(axis=1) & (outline < 0.999 * longest)
    around = np.concatenate([least, most], axis=1)
    shared = np.clip(np.minimum(box[:, 2:], most) - np.maximum(box[:, :2], least), 0, None).prod(axis=1)
    union = (box[:, 2:] - box[:, :2]).prod(axis=1) + (most - least).prod(axis=1) - shared
    close: Bools = (np.abs(box - around).max(axis=1) <= 1) | (shared >= _AGREE * union)
    inside &= close
    return inside


def _drawn(plain: Columns, rows: Ints) -> list[Region | None]:
    if not plain.kind.any():
        return [None] * len(rows)
    end = plain.end.tolist()
    ring = [plain.corners[start:stop] for start, stop in zip([0, *end], end, strict=False)]
    kind, first, count = plain.kind[rows].tolist(), plain.first[rows].tolist(), plain.rings[rows].tolist()
    return [
        Polygons(rings=tuple(ring[at : at + many])) if each == POLYGONS else None
        for each, at, many in zip(kind, first, count, strict=True)
    ]
