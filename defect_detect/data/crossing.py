"""Polygons whose outline crosses itself: COCO's tools rasterize them, but seldom to what was meant."""

from __future__ import annotations

import numpy as np

from defect_detect import native
from defect_detect.tables import Bools, Floats, Ints

_MOST_PAIRS = 256
"""Pairs of edges that are compared for each edge of a ring; one that needs more counts as sound."""


def crossing(corners: Floats, end: Ints) -> Bools:
    """(R,) bool: two edges of the ring cross at a point inside both.

    `corners` (C, 2) px of all rings, `end` (R,) where each one's corners end. Rings that only touch themselves (a
    hole reached by a cut) don't cross. The edges of a ring are sorted by where they begin along its longer side, and
    each is compared with those that follow it until they begin past its end.
    """
    crossed = np.zeros(len(end), np.bool_)
    if native.compiled is not None:
        native.compiled.crossing(np.ascontiguousarray(corners), np.ascontiguousarray(end), crossed)
        return crossed
    many = np.diff(end, prepend=0)
    ring_of = np.repeat(np.arange(len(end)), many)
    large = many[ring_of] > 3  # noqa: PLR2004 - a triangle can't
    if not large.any():
        return crossed
    after = np.roll(corners, -1, axis=0)
    filled = many > 0
    after[end[filled] - 1] = corners[(end - many)[filled]]
    edge = np.stack([corners, after], axis=1)[large]  # edge, end, axis
    ring_of = ring_of[large]
    first = np.flatnonzero(np.diff(ring_of, prepend=-1))
    extent = np.maximum.reduceat(edge[:, 0], first) - np.minimum.reduceat(edge[:, 0], first)
    upright = np.repeat(extent[:, 1] > extent[:, 0], np.diff(first, append=len(ring_of)))
    along = np.where(upright[:, None, None], edge[..., ::-1], edge)
    least, most = along.min(axis=1), along.max(axis=1)
    order = np.lexsort((least[:, 0], ring_of))
    start, stop, ring_of = edge[order, 0], edge[order, 1], ring_of[order]
    (left, low), (right, high) = least[order].T, most[order].T
    here: Ints = np.arange(len(order))
    budget = many * _MOST_PAIRS
    step = 1
    while len(here):
        here = here[here + step < len(order)]
        there = here + step
        here = here[(ring_of[here] == ring_of[there]) & (left[there] <= right[here])]
        near = (low[here] <= high[here + step]) & (low[here + step] <= high[here])
        a, b = here[near], here[near] + step
        found = _cross(start[a], stop[a], start[b], stop[b])
        crossed[ring_of[a[found]]] = True
        np.subtract.at(budget, ring_of[here], 1)
        here = here[~crossed[ring_of[here]] & (budget[ring_of[here]] > 0)]
        step += 1
    return crossed


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> Bools:
    """(M,) bool: segment ab and segment cd, ends (M, 2), share one point that is no end of either."""
    most = 1 + np.abs(np.concatenate([a, b, c, d], axis=1)).max(axis=1, initial=0)
    scale = 1e-9 * (most * most)

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        turn: Floats = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
        return np.where(np.abs(turn) <= scale, 0.0, turn)

    one: Bools = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return one
