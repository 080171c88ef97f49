"""Running counts of events over resampled units.

Events are added up in blocks of 32, as a product with a sparse matrix, which adds the weights of one unit
in all resamples as one row. A count in between is found in its block alone. So nothing of the size
(events, resamples) is ever held.
"""

from __future__ import annotations

import numpy as np

from defect_detect.tables import Column, Ints

BLOCK = 32


class Running:
    """The running count of events, in each of R resamples.

    `unit` (E,) int64, where each event happens, in order; `weights` (U, R) as `parts.in_parts` gives them.
    """

    def __init__(self, unit: Ints, weights: Column) -> None:
        blocks = -(-len(unit) // BLOCK)
        self.length = len(unit)
        self.weights = weights.ravel()
        self.resample = np.arange(weights.shape[1])
        # Rows are padded with the first unit; what they add is cut off again.
        self.unit = np.append(unit, np.zeros(BLOCK * (blocks + 1) - len(unit), np.int64)) * weights.shape[1]
        self.counted = counted(unit, np.minimum(np.arange(blocks + 1) * BLOCK, len(unit)), weights)

    def of_first(self, ends: Ints) -> Ints:
        """The count of the first `ends` (..., R) events."""
        block = ends // BLOCK
        count = self.counted[block, self.resample].astype(np.int64)
        start = block * BLOCK
        rest = ends - start
        for step in range(int(rest.max(initial=0))):
            more = self.weights.take(self.unit[start + step] + self.resample)
            count += np.where(step < rest, more, 0)
        return count

    def within(self, most: Ints) -> Ints:
        """How many events come before the count exceeds `most` (..., R)."""
        block = self._blocks_within(most)
        count = self.counted[block, self.resample].astype(np.int64)
        start = block * BLOCK
        passed = start.copy()
        for step in range(BLOCK):
            count += self.weights.take(self.unit[start + step] + self.resample)
            passed += count <= most
        result: Ints = np.minimum(np.where(most < 0, 0, passed), self.length)
        return result

    def _blocks_within(self, most: Ints) -> Ints:
        """The last block before which the count is at most `most`, by bisection."""
        low = np.zeros(most.shape, np.int64)
        high = np.full(most.shape, len(self.counted) - 1)
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = self.counted[middle, self.resample] <= most
            low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
        return low


def counted(unit: Ints, ends: Ints, weights: Column) -> Column:
    """(n, R) the count of the first `ends` (n,) events, from 0 up to all of them, no more than 32 apart."""
    from scipy import sparse

    ones = np.ones(len(unit), weights.dtype)
    sums = sparse.csr_matrix((ones, unit, ends), shape=(len(ends) - 1, len(weights))) @ weights
    running = np.zeros((len(ends), weights.shape[1]), np.int32 if weights.dtype == np.uint16 else np.int64)
    for row in range(len(ends) - 1):
        np.add(running[row], sums[row], out=running[row + 1], casting="unsafe")
    return running
