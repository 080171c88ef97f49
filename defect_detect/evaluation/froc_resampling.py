"""FROC over resampled units: its score, and the area under its beginning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from defect_detect.evaluation.froc import POINTS
from defect_detect.evaluation.missed import Scored
from defect_detect.tables import Column, Floats

_CELLS = 4_000_000


def froc_score(table: Scored, weights: Column) -> Floats:
    """(B,) mean recall at 1/8 ... 8 FPPI for each row of unit weights (B, U); NaN where no defect was drawn."""
    return np.concatenate([_score(table, part) for part in _parts(table, weights)])


def _score(table: Scored, weights: Column) -> Floats:
    false, running = _false_alarms(table, weights, None)
    hits, ends, defects = _hits(table, weights, np.append(false, -np.inf))
    allowed = np.floor(np.outer(weights @ table.units.images, POINTS)).astype(np.int32)
    within = np.stack(
        [np.searchsorted(one, most, side="right") for one, most in zip(running[:, 1:], allowed, strict=True)]
    )
    total = np.take_along_axis(hits, ends[within], axis=1).sum(axis=1)
    mean: Floats = total / len(POINTS) / defects
    return mean


def partial_area(table: Scored, budget: float, weights: Column) -> Floats:
    """(B,) mean recall over FPPI from 0 to `budget` for each row of unit weights; NaN where no defect was drawn."""
    return np.concatenate([_area(table, budget, part) for part in _parts(table, weights)])


def _area(table: Scored, budget: float, weights: Column) -> Floats:
    images = weights @ table.units.images
    most: int | None = int(4 * budget * table.units.images.sum()) + 50
    false, running = _false_alarms(table, weights, most)
    if (running[:, -1] < budget * images).any():
        false, running = _false_alarms(table, weights, None)
    hits, ends, defects = _hits(table, weights, np.append(false, -np.inf))
    # Between two false alarms the curve is flat: the recall of all that score over the later one.
    edge = np.minimum(running / images[:, None], budget)
    width = np.diff(np.column_stack([edge, np.full(len(weights), budget)]), axis=1)
    area: Floats = np.einsum("bf,bf->b", width, hits[:, ends]) / defects / budget
    return area


def _false_alarms(table: Scored, weights: Column, most: int | None) -> tuple[Floats, Column]:
    """(F,) scores of the false alarms, descending; (rows, F + 1) how many there are up to each, from 0."""
    alarms = table.alarms
    score, unit = alarms.score[alarms.false][:most], alarms.unit[alarms.false][:most]
    running = np.zeros((len(weights), len(score) + 1), np.int32)
    np.cumsum(weights[:, unit], axis=1, dtype=np.int32, out=running[:, 1:])
    return score, running


def _hits(table: Scored, weights: Column, over: Floats) -> tuple[Column, Column, Floats]:
    """(rows, H + 1) running count of found defects; (F,) how far to read it for scores over `over`; (rows,) defects."""
    hit = np.isfinite(table.found_at)
    score, unit = table.found_at[hit], table.unit[hit]
    order = np.argsort(-score, kind="stable")
    running = np.zeros((len(weights), len(order) + 1), np.int32)
    np.cumsum(weights[:, unit[order]], axis=1, dtype=np.int32, out=running[:, 1:])
    defects = (weights @ table.units.defects).astype(float)
    defects[defects == 0] = np.nan
    return running, np.searchsorted(-score[order], -over, side="left"), defects


def _parts(table: Scored, weights: Column) -> Iterator[Column]:
    step = max(_CELLS // (len(table.evaluation.predictions) + 1), 1)
    for start in range(0, len(weights), step):
        yield weights[start : start + step].astype(np.int32)
