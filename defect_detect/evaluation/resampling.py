"""Bootstrap over sampling units.

One resample is a row of weights: how often each unit was drawn. All detectors are held against the same
rows, so their differences are paired. In memory the weights lie unit by unit, since most sums run over a
few units and many resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from defect_detect.evaluation.parts import in_parts, parts, side_by_side
from defect_detect.tables import Column, Floats

_TILE = 1024
_EXACT = 2**24
"""Single precision adds whole numbers exactly up to here."""


def draw(rng: np.random.Generator, units: int, resamples: int) -> Column:
    """(B, U) uint8: how often each unit is drawn, in each of B resamples of U units.

    255 are enough: so few units can't be drawn more often, and of more units none ever is (chance under 1e-500).

    >>> draw(np.random.default_rng(0), 3, 2).sum(axis=1).tolist()
    [3, 3]
    """
    weights = np.zeros((units, resamples), np.uint8)
    places = parts(units, resamples)

    def fill(task: tuple[slice, np.random.Generator]) -> None:
        place, own = task
        drawn = np.zeros((len(range(*place.indices(resamples))), units), np.uint8)
        for row in drawn:
            row[:] = np.bincount(own.integers(0, units, units), minlength=units)
        weights[:, place] = drawn.T

    side_by_side(fill, list(zip(places, rng.spawn(len(places)), strict=True)))
    return weights.T


def weighted(weights: Column, per_unit: Column) -> Floats:
    """(B, ...) the sum of `per_unit` (U, ...) in each resample of `weights` (B, U)."""
    sums = summing(weights, per_unit.reshape(len(per_unit), int(np.prod(per_unit.shape[1:]))))
    result: Floats = in_parts(lambda part, _: sums(part), weights).T
    return result.reshape(len(weights), *per_unit.shape[1:])


def summing(weights: Column, per_unit: Column) -> Callable[[Column], Floats]:
    """What adds `per_unit` (U, C) up over a part (U, R) of the `weights` (B, U) as `in_parts` gives it, to (C, R).

    Counts are whole, so their sums are the same in single precision, which is twice as fast.
    """
    table = per_unit.astype(float)
    most = np.abs(table).sum(axis=0).max(initial=0) * int(weights.max(initial=0))
    kind = np.float32 if most < _EXACT and (table == np.rint(table)).all() else np.float64
    columns = np.ascontiguousarray(table.T, dtype=kind)

    def sums(part: Column) -> Floats:
        total = np.zeros((len(columns), part.shape[1]), kind)
        for start in range(0, len(part), _TILE):
            total += columns[:, start : start + _TILE] @ part[start : start + _TILE].astype(kind)
        return total.astype(np.float64)

    return sums


def ratio(count: Floats, of: Floats) -> Floats:
    """Count / of, NaN where nothing was drawn to count."""
    empty = np.full(np.broadcast(count, of).shape, np.nan)
    result: Floats = np.divide(count, of, out=empty, where=of > 0)
    return result


FEW_SEEDS = 3
"""Fewer seeds don't speak of the framework, only of the models that were trained."""


def over_seeds(values: Floats, rng: np.random.Generator) -> Floats:
    """(B, ...) the mean over seeds of resampled `values` (S, B, ...); from 3 seeds on, seeds are drawn too.

    S draws of S seeds vary too little by the factor (S - 1) / S, so their part is widened by its root.
    """
    mean: Floats = values.mean(axis=0)
    seeds, resamples = values.shape[:2]
    if seeds < FEW_SEEDS:
        return mean
    often = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).T / seeds
    drawn = (values * often.reshape(seeds, resamples, *[1] * (values.ndim - 2))).sum(axis=0)
    widened: Floats = mean + np.sqrt(seeds / (seeds - 1)) * (drawn - mean)
    return widened
