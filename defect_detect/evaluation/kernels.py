"""The two inner steps of matching, over plain arrays: which boxes overlap, and who gets whom."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from defect_detect import native
from defect_detect.tables import Bools, Column, Dataset, Floats, Ints, Predictions

_BLOCK = 1 << 17
"""Candidate pairs looked at together: their columns stay in the processor's cache."""


Spans = tuple[Ints, Ints, Ints]
"""first, count (P,) and by (G,): prediction p's candidates are the defects `by[first[p] : first[p] + count[p]]`."""


def near(ours: Floats, theirs: Floats, crowd: Bools, spans: Spans, least: float) -> tuple[Ints, Ints, Floats]:
    """The pairs that share area, overlapping by `least` or more: predictions, defects, overlaps, each (M,).

    `ours` (P, 4) and `theirs` (G, 4) are x0 y0 x1 y1 px. The pairs come by rising prediction, then as its
    candidates in `spans` do. The overlap is the IoU, with a `crowd` (G,) the intersection over the
    prediction's area.
    """
    first, count, by = spans
    if native.compiled is not None:
        ours, theirs = np.ascontiguousarray(ours), np.ascontiguousarray(theirs)
        found = native.compiled.near(ours, theirs, crowd, first, count, by, least)
        return np.frombuffer(found[0], np.int64), np.frombuffer(found[1], np.int64), np.frombuffer(found[2])
    sides, other_sides = np.ascontiguousarray(ours.T), np.ascontiguousarray(theirs[by].T)
    area = (sides[2] - sides[0]) * (sides[3] - sides[1])
    other_area = (other_sides[2] - other_sides[0]) * (other_sides[3] - other_sides[1])
    absorbs = crowd[by]
    some = np.flatnonzero(count)
    ends = np.cumsum(count[some])
    edges = np.unique(np.searchsorted(ends, np.arange(0, ends[-1] if len(ends) else 0, _BLOCK), side="left"))
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for rows in np.split(some, edges[1:]):
        # Narrowed side by side: few boxes of a picture overlap along both axes.
        p, d = candidates(rows, first[rows], count[rows])
        width = np.minimum(sides[2][p], other_sides[2][d]) - np.maximum(sides[0][p], other_sides[0][d])
        keep = width > 0
        p, d, width = p[keep], d[keep], width[keep]
        shared = width * (np.minimum(sides[3][p], other_sides[3][d]) - np.maximum(sides[1][p], other_sides[1][d]))
        keep = shared > 0
        p, d, shared = p[keep], d[keep], shared[keep]
        mine = area[p]
        overlap = shared / np.where(absorbs[d], mine, mine + other_area[d] - shared)
        keep = overlap >= least
        parts.append((p[keep], by[d[keep]], overlap[keep]))
    prediction, defect, overlap = (np.concatenate(column) for column in zip(*parts, strict=True))
    return prediction, defect, overlap


def near_alike(truth: Dataset, predictions: Predictions, least: float) -> tuple[Ints, Ints, Floats]:
    """`near`, compiled, of predictions and defects of one image and label."""
    defects = truth.defects
    found = _compiled().near_alike(
        np.ascontiguousarray(predictions.box), np.ascontiguousarray(defects.box), defects.crowd,
        *map(np.ascontiguousarray, (predictions.image, predictions.label, defects.image, defects.label)),
        len(truth.images), len(truth.categories), least,
    )  # fmt: skip
    return np.frombuffer(found[0], np.int64), np.frombuffer(found[1], np.int64), np.frombuffer(found[2])


def assigned(
    pairs: Sequence[Column], ours: Sequence[Column], theirs: Sequence[Column], least: float, *, by_label: bool
) -> dict[str, Column]:
    """The columns of a `Matching`, compiled.

    `pairs` are prediction, defect, overlap (M,); `ours` image, label, score, box of predictions; `theirs` label, box,
    crowd, counts of defects. Pairs that overlap less than `least`, or with `by_label` differ in label, don't count.
    """
    predictions, defects = len(ours[0]), len(theirs[0])
    columns = {
        "prediction_of": np.empty(defects, np.int64),
        "defect_of": np.empty(predictions, np.int64),
        "absorbed": np.empty(predictions, np.bool_),
        "iou": np.empty(defects),
        "found_at": np.empty(defects),
    }
    given = (tuple(map(np.ascontiguousarray, side)) for side in (pairs, ours, theirs))
    _compiled().assign(*given, least, by_label, *columns.values())
    return columns


def _compiled() -> ModuleType:
    if native.compiled is None:
        raise RuntimeError("the extension was not built")
    return native.compiled


def candidates(rows: Ints, first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Each row as often as it has candidates, and their places, from `first` on."""
    shift = np.repeat(first - (np.cumsum(count) - count), count)
    return np.repeat(rows, count), shift + np.arange(len(shift))


def greedy(prediction: Ints, defect: Ints, crowd: Bools) -> Bools:
    """(M,) bool: the pairs that come about when predictions choose one after the other.

    The pairs (M,) come by the turn of their prediction, its preferred defect first. Each prediction
    takes the first of its defects that is still free; a `crowd` (G,) stays free.

    Done in rounds rather than one by one: all propose at once, a defect keeps the proposer whose turn is
    earliest, the others go on to their next. With one order of turns for all defects, the only stable
    outcome is that of choosing in turn (Gale and Shapley 1962).
    """
    chosen = np.zeros(len(prediction), np.bool_)
    if native.compiled is not None:
        native.compiled.greedy(prediction, defect, crowd, chosen)
        return chosen
    starts = np.flatnonzero(np.diff(prediction, prepend=-1))
    ends = np.append(starts[1:], len(prediction))
    at, nobody = starts.copy(), len(starts)
    holder = np.full(len(crowd), nobody)
    asking = np.arange(nobody)
    while len(asking):
        wanted = defect[at[asking]]
        single = ~crowd[wanted]
        asking, wanted = asking[single], wanted[single]
        before = holder[wanted]
        np.minimum.at(holder, wanted, asking)
        after = holder[wanted]
        ousted = np.unique(before[(before != after) & (before != nobody)])
        asking = np.concatenate([asking[after != asking], ousted])
        at[asking] += 1
        asking = asking[at[asking] < ends[asking]]
    chosen[at[at < ends]] = True
    return chosen
