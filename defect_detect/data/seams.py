"""Which predictions of overlapping tiles speak of one defect.

Two tiles that overlap were shown the same pixels there. So what they say is compared there, and nowhere
else: predictions of one label are of one defect where their parts in the shared area have an IoU of at
least `AGREE`. Where one ends at its tile's border, it goes on with the other; where it does not, its tile
saw the whole defect, and the other says it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from defect_detect import geometry
from defect_detect.tables import Bools, Floats, Ints, Region

AGREE = 0.5
"""IoU in the shared area from which two predictions are of one defect; share of a cut one that another holds."""
_REACH, _LEAST_REACH = 0.01, 2.0
"""A box ends at its tile's border when it comes as near as this share of its side, or so many px."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """P predictions of one picture and one label, the best first.

    box     (P, 4) float64, x0 y0 x1 y1 px in the whole picture
    tile    (P,) int64
    window  (P, 4) int64, x0 y0 x1 y1 px of the tile
    region  P regions in their tile, or None
    """

    box: Floats
    tile: Ints
    window: Ints
    region: tuple[Region, ...] | None
    _masks: dict[int, Bools] = field(default_factory=dict)

    def mask(self, row: int) -> Bools:
        """(h, w) the pixels of a region in its tile."""
        if self.region is None:
            raise AssertionError("asked for the mask of a box")
        if row not in self._masks:
            x0, y0, x1, y1 = self.window[row].tolist()
            self._masks[row] = geometry.to_mask(self.region[row], x1 - x0, y1 - y0)
        return self._masks[row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One defect: the best prediction's row, and the rows whose union it is (the best among them)."""

    best: int
    parts: tuple[int, ...]


def joined(said: Said) -> list[Joined]:
    """The predictions as one for each defect, the best first.

    Greedy from the best score down. A prediction takes in one of each other tile, the best that agrees, and what
    that one takes in, and so on along a defect that crosses many tiles. Two of one tile are never joined: there
    the detector has said that they are two. A lesser one that is cut off by its tile and lies mostly in one that
    was not is dropped: the other tile was shown all of what it shows.
    """
    every = np.arange(len(said.box))
    free = np.ones(len(every), np.bool_)
    found = []
    for best in every.tolist():
        if not free[best]:
            continue
        free[best] = False
        members, parts = [best], [best]
        taken = {int(said.tile[best])}
        grows = _cut(said, np.array([best]), every).any()  # else its tile saw all of it
        for member in members:  # grows while it is walked
            agreement, held = _overlaps(said, member, free)
            goes_on = _cut(said, np.array([member]), every) & grows
            for row in np.flatnonzero(agreement >= AGREE).tolist():
                tile = int(said.tile[row])
                if tile not in taken:
                    taken.add(tile)
                    free[row] = False
                    members.append(row)
                    if goes_on[row]:
                        parts.append(row)
            swallowed = free & (held >= AGREE) & _cut(said, every, np.array([member]))
            free[swallowed] = False
        found.append(Joined(best=best, parts=tuple(parts)))
    return found


def _overlaps(said: Said, member: int, free: Bools) -> tuple[Floats, Floats]:
    """(P,) IoU with `member` where both tiles see, and the share of each that `member` holds; 0 where not `free`."""
    count = len(said.box)
    agreement, held = np.zeros(count), np.zeros(count)
    shared = _meet(said.window.astype(np.float64), said.window[member].astype(np.float64))
    other = free & (said.tile != said.tile[member]) & (geometry.area(shared) > 0)
    ours, theirs = _meet(shared, said.box[member]), _meet(shared, said.box)
    common = geometry.paired_intersection(ours, theirs)
    rows = np.flatnonzero(other & (common > 0))
    agreement[rows] = geometry.paired_iou(ours[rows], theirs[rows])
    held[rows] = common[rows] / geometry.area(said.box[rows])
    if said.region is not None:
        for row in rows.tolist():
            if said.mask(member).any() and said.mask(row).any():
                agreement[row], held[row] = _by_mask(said, member, row, shared[row].astype(np.int64))
    return agreement, held


def _by_mask(said: Said, one: int, other: int, shared: Ints) -> tuple[float, float]:
    a, b = _seen(said, one, shared), _seen(said, other, shared)
    both = float((a & b).sum())
    return both / max(float((a | b).sum()), 1.0), both / float(said.mask(other).sum())


def _seen(said: Said, row: int, shared: Ints) -> Bools:
    """The pixels of a region in `shared`, x0 y0 x1 y1 px in the whole picture, which lies in its tile."""
    left, top = said.window[row, :2].tolist()
    x0, y0, x1, y1 = shared.tolist()
    return said.mask(row)[y0 - top : y1 - top, x0 - left : x1 - left]


def _cut(said: Said, rows: Ints, others: Ints) -> Bools:
    """Whether each of `rows` ends at a border of its tile past which the tile of the same one of `others` sees.

    One of the two may have a single row, which then goes with all of the other.
    """
    box, window, beyond = said.box[rows], said.window[rows], said.window[others]
    reach = np.maximum(_LEAST_REACH, _REACH * (window[:, 2:] - window[:, :2]))
    low = (box[:, :2] <= window[:, :2] + reach) & (beyond[:, :2] < window[:, :2])
    high = (box[:, 2:] >= window[:, 2:] - reach) & (beyond[:, 2:] > window[:, 2:])
    cut: Bools = (low | high).any(axis=1)
    return cut


def _meet(boxes: Floats, other: Floats) -> Floats:
    """What each box (N, 4) shares with `other`, (4,) or (N, 4); without area where they don't meet."""
    low = np.maximum(boxes[:, :2], other[..., :2])
    return np.concatenate([low, np.maximum(np.minimum(boxes[:, 2:], other[..., 2:]), low)], axis=1)
