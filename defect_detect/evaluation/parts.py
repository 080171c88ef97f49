"""Work over resamples in parts that fit the processor's cache, side by side on all CPUs.

The parts depend on the number of units alone and are put together in order, so results are the same to
the bit for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from defect_detect.tables import Column

_CELLS = 5_000_000
_LEAST, _MOST = 64, 1024
_SMALL = 2047
"""Up to this weight 32 of them fit 16 bits."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def threads() -> int:
    """How many threads work: one for each CPU this process may use, at most OMP_NUM_THREADS where that is set."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(min(allowed, int(asked)) if asked.isdecimal() else allowed, 1)


def side_by_side(work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """`work` on each task, the results in order, on as many threads as there are CPUs."""
    many = min(threads(), len(tasks))
    if many <= 1:
        return [work(task) for task in tasks]
    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(work, tasks))


def parts(units: int, resamples: int) -> list[slice]:
    """The resamples that are worked on together; at least one part, if an empty one."""
    step = int(np.clip(_CELLS // max(units, 1), _LEAST, _MOST))
    return [slice(start, min(start + step, resamples)) for start in range(0, max(resamples, 1), step)]


def in_parts(work: Callable[[Column, slice], Column], weights: Column) -> Column:
    """What `work` gives for each part of the resamples, joined along its last axis.

    `weights` (B, U) int. `work` gets a part of them unit by unit, (U, R) uint16 (int64 where a unit was drawn over
    2,047 times), and which resamples it is; it returns (..., R).
    """

    def one(part: slice) -> Column:
        return work(_unit_by_unit(weights[part]), part)

    return np.concatenate(side_by_side(one, parts(weights.shape[1], len(weights))), axis=-1)


def _unit_by_unit(weights: Column) -> Column:
    small = weights.dtype == np.uint8 or weights.max(initial=0) <= _SMALL
    return np.ascontiguousarray(weights.T, dtype=np.uint16 if small else np.int64)
