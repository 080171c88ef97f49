"""Bootstrap over sampling units.

One resample is a row of weights: how often each unit was drawn. All detectors are held against the same
rows, so their differences are paired.
"""

from __future__ import annotations

import numpy as np

from defect_detect.tables import Column, Floats

_CELLS = 8_000_000


def draw(rng: np.random.Generator, units: int, resamples: int) -> Column:
    """(B, U) uint16: how often each unit is drawn, in each of B resamples of U units."""
    weights = np.zeros((resamples, units), np.uint16)
    step = max(_CELLS // max(units, 1), 1)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
    return weights


def weighted(weights: Column, per_unit: Column) -> Floats:
    """(B, ...) the sum of `per_unit` (U, ...) in each resample."""
    step = max(_CELLS // max(weights.shape[1], 1), 1)
    parts = [weights[start : start + step].astype(float) @ per_unit for start in range(0, len(weights), step)]
    return np.concatenate(parts)


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
