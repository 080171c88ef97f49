"""The threshold at which something is best, in each resample, without a value for every score in each of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from defect_detect.evaluation.descent import Events
from defect_detect.evaluation.running import BLOCK, counted
from defect_detect.tables import Bools, Column, Floats, Ints

Value = Callable[[Ints, Ints, Ints], Floats]
"""Of the good and bad events counted so far in resamples (by their place): rises with the good, falls with the bad."""


def lowest_best(value: Value, good: Events, bad: Events, scores: Floats, weights: Column) -> Floats:
    """(R,) the lowest of the descending `scores` among those of the highest value; inf where none is over -inf.

    `weights` (U, R). The value in a block of events is at most that of the good ones at its end and the bad ones at its
    start. Only blocks where this is not under a value that was reached are looked into.
    """
    score = np.concatenate([good.score, bad.score])
    order = np.argsort(-score, kind="stable")
    score, unit = score[order], np.concatenate([good.unit, bad.unit])[order]
    is_good = order < len(good)
    # A threshold lets all events of one score happen: only there the value counts.
    reached = np.append(np.diff(score) != 0, True)[: len(score)]
    ends = np.minimum(np.arange(-(-len(score) // BLOCK) + 1) * BLOCK, len(score))
    behind = np.append(0, np.cumsum(is_good))
    goods = counted(unit[is_good], behind[ends], weights).astype(np.int64)
    bads = counted(unit[~is_good], ends - behind[ends], weights).astype(np.int64)
    resample = np.arange(weights.shape[1])
    known = value(goods, bads, resample)
    can_stop = np.append(len(score) == 0 or scores[0] > score[0], reached[ends[1:] - 1])
    best = np.where(can_stop[:, None], known, -np.inf).max(axis=0)
    block, of = np.nonzero(value(goods[1:], bads[:-1], resample) >= best)
    place, at = _looked_into(value, (unit, is_good, reached), (goods[block, of], bads[block, of]), (block, of), weights)
    # The start, before any event, is a place too: it comes before all others.
    place = np.concatenate([np.full(len(resample), -1), place])
    at = np.concatenate([np.where(can_stop[0], known[0], -np.inf), at])
    of = np.concatenate([resample, of])
    last = np.lexsort((place, at, of))
    last = last[np.append(np.diff(of[last]) != 0, True)]
    # The next event changes the value; any score over that event's is as good, and the lowest misses the fewest.
    over = np.append(np.searchsorted(-scores, -score, side="left"), len(scores))
    return np.where(at[last] > -np.inf, scores[over[place[last] + 1] - 1], np.inf)


def _looked_into(
    value: Value, events: tuple[Ints, Bools, Bools], start: tuple[Ints, Ints], where: tuple[Ints, Ints], weights: Column
) -> tuple[Ints, Floats]:
    """The last place of the highest value in each block of a resample, and that value."""
    (unit, is_good, reached), (goods, bads), (block, of) = events, start, where
    goods, bads = goods.copy(), bads.copy()
    best, place = np.full(len(block), -np.inf), np.full(len(block), -1)
    for step in range(BLOCK):
        event = block * BLOCK + step
        inside = event < len(unit)
        event = np.minimum(event, len(unit) - 1)
        more = np.where(inside, weights[unit[event], of], 0)
        goods += np.where(is_good[event], more, 0)
        bads += np.where(is_good[event], 0, more)
        now = value(goods, bads, of)
        better = inside & reached[event] & (now >= best)
        best, place = np.where(better, now, best), np.where(better, event, place)
    return place, best
