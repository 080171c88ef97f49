"""One budget shared by classes: of each class one option, so that all together are worth most and cost no more.

This is the multiple-choice knapsack problem (Sinha & Zoltners 1979). Prices are counts and budgets are small,
so the textbook recursion over the money spent solves it exactly, for many resamples side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect import native
from defect_detect.tables import Ints

NEVER = np.iinfo(np.int64).min // 4
_HARDLY = NEVER // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one class in R resamples, by rising price.

    price  (R, C) int64, not falling along a row
    value  (R, C) int64
    """

    price: Ints
    value: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The best that each sum of money up to a limit buys.

    value   (R, M + 1) int64, NEVER where it buys nothing
    option  for each class (R, M + 1) int64, the option to take when so much may be spent on it
    share   for each class (R, M + 1) int64, what goes to it when so much is left for it and those before it
    """

    value: Ints
    option: tuple[Ints, ...]
    share: tuple[Ints, ...]

    def choices(self, money: Ints) -> Ints:
        """(R, K) the option of each class that `money` (R,) buys; -1 throughout where it buys nothing."""
        rows, left = np.arange(len(money)), money.copy()
        chosen = np.full((len(money), len(self.option)), -1, np.int64)
        possible = (money >= 0) & (self.value[rows, np.maximum(money, 0)] > _HARDLY)
        left = np.where(possible, left, 0)
        for k in reversed(range(len(self.option))):
            share = self.share[k][rows, left]
            chosen[:, k] = self.option[k][rows, share]
            left -= share
        chosen[~possible] = -1
        return chosen


def spend(classes: Sequence[Options], limit: int) -> Spent:
    """What every sum from 0 to `limit` buys at best, at least one class given.

    Among options of equal value and price the last is taken; among equal ways to spend, the one in which later
    classes cost less.
    """
    tables = [_affordable(options, limit) for options in classes]
    value, _ = tables[0]
    every = np.broadcast_to(np.arange(limit + 1), value.shape)
    shares = [every]
    for more, _ in tables[1:]:
        value, share = _joined(value, more)
        shares.append(share)
    return Spent(value=value, option=tuple(option for _, option in tables), share=tuple(shares))


def _joined(value: Ints, more: Ints) -> tuple[Ints, Ints]:
    """(R, M + 1) the best that each sum buys of two tables, and how much of it goes to the second one."""
    if native.compiled is not None:
        best, share = np.empty(value.shape, np.int64), np.empty(value.shape, np.int64)
        native.compiled.shared_budget(
            *map(np.ascontiguousarray, (value, more)), value.shape[1], _HARDLY, NEVER, best, share
        )
        return best, share
    best, share = value + more[:, :1], np.zeros(value.shape, np.int64)
    for cost in range(1, value.shape[1]):
        # Who may spend one more and gains nothing by it in any resample needn't try.
        if (more[:, cost] == more[:, cost - 1]).all():
            continue
        tried = value[:, : value.shape[1] - cost] + more[:, cost, None]
        better = tried > best[:, cost:]
        np.copyto(best[:, cost:], tried, where=better)
        np.copyto(share[:, cost:], cost, where=better)
    return np.where(best > _HARDLY, best, NEVER), share


def _affordable(options: Options, limit: int) -> tuple[Ints, Ints]:
    """(R, limit + 1) the value of the best option of at most each price, and which that is."""
    rows, count = options.value.shape
    best = np.maximum.accumulate(options.value, axis=1)
    which = np.maximum.accumulate(np.where(options.value == best, np.arange(count), 0), axis=1)
    cells = np.arange(rows)[:, None] * (limit + 2) + np.minimum(options.price, limit + 1)
    within = np.bincount(cells.ravel(), minlength=rows * (limit + 2)).reshape(rows, limit + 2)
    last = np.cumsum(within, axis=1)[:, :-1] - 1
    taken = np.maximum(last, 0)
    value = np.where(last < 0, NEVER, np.take_along_axis(best, taken, axis=1))
    return value, np.take_along_axis(which, taken, axis=1)
