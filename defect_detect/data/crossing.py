"""Polygons whose outline crosses itself: COCO's tools rasterize them, but seldom to what was meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.tables import Bools, Floats, Ints

_BUDGET = 20_000_000
"""Pairs of edges that are compared in all; beyond it, what is left counts as sound."""


def crossing(rings: Sequence[Floats]) -> Bools:
    """(R,) bool: two edges of the ring, each (K, 2) px, cross at a point inside both.

    Rings that only touch themselves (a hole reached by a cut) don't cross. All rings at once: their
    edges are sorted by their left ends, and each is compared with those that follow it until they start
    right of its end.
    """
    crossed = np.zeros(len(rings), np.bool_)
    large = [at for at, ring in enumerate(rings) if len(ring) > 3]  # noqa: PLR2004 - a triangle can't
    if not large:
        return crossed
    start = np.concatenate([rings[at] for at in large])
    many = np.array([len(rings[at]) for at in large])
    ring_of = np.repeat(np.array(large), many)
    last = np.cumsum(many) - 1
    end = np.roll(start, -1, axis=0)
    end[last] = start[last - many + 1]
    left, right = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    order = np.lexsort((left, ring_of))
    start, end, ring_of, left, right = start[order], end[order], ring_of[order], left[order], right[order]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    here: Ints = np.arange(len(order) - 1)
    budget = _BUDGET
    step = 1
    while len(here) and (budget := budget - len(here)) > 0:
        here = here[here + step < len(order)]
        there = here + step
        open_ = (ring_of[here] == ring_of[there]) & (left[there] <= right[here]) & ~crossed[ring_of[here]]
        here, there = here[open_], there[open_]
        near = (low[here] <= high[there]) & (low[there] <= high[here])
        a, b = here[near], there[near]
        found = _cross(start[a], end[a], start[b], end[b])
        crossed[ring_of[a[found]]] = True
        step += 1
    return crossed


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> Bools:
    """(M,) bool: segment ab and segment cd, ends (M, 2), share one point that is no end of either."""
    scale = 1e-9 * (1 + np.abs(np.concatenate([a, b, c, d], axis=1)).max(axis=1, initial=0)) ** 2

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        turn: Floats = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
        return np.where(np.abs(turn) <= scale, 0.0, turn)

    one: Bools = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return one
