"""A contender's FROC over all its seeds: the curve, what is summed up from it, and how far they are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Curve, Froc, FrocBand, Interval
from defect_detect.evaluation.descent import Descent, descent
from defect_detect.evaluation.entrant import Draws, Entrant
from defect_detect.evaluation.froc import POINTS, froc
from defect_detect.evaluation.froc_resampling import drawn_curve
from defect_detect.evaluation.intervals import rate_interval
from defect_detect.evaluation.operating import most_within
from defect_detect.evaluation.resampling import over_seeds
from defect_detect.evaluation.units import Units
from defect_detect.tables import Floats

GRID: Floats = np.geomspace(0.01, 8, 33)
"""FPPI at which recall has an interval; those below one false alarm on all images are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFroc:
    """A contender's curve in B resamples, the mean over its seeds.

    fppi         (X,): the seven of the score, then those of GRID that are at least one false alarm on all images
    recall       (B, X), at each FPPI
    area, areas  mean recall over FPPI from 0 to the budget, as it is and (B,) resampled
    """

    fppi: Floats
    recall: Floats
    area: float
    areas: Floats


def drawn_froc(entrant: Entrant, draws: Draws, budget: float) -> DrawnFroc:
    """Read the curve in every resample; `budget`: the FPPI up to which the area goes."""
    images = entrant.test[0].units.images
    fppi = np.concatenate([POINTS, GRID[GRID * images.sum() >= 1]])
    nothing, one = np.zeros(0), np.ones((1, len(images)), np.uint8)
    drawn = [drawn_curve(table, fppi, budget, draws.test) for table in entrant.test]
    return DrawnFroc(
        fppi=fppi,
        recall=over_seeds(np.stack([each.recall for each in drawn]), draws.of_seeds(entrant.name)),
        area=float(np.mean([drawn_curve(table, nothing, budget, one).area for table in entrant.test])),
        areas=over_seeds(np.stack([each.area for each in drawn]), draws.of_seeds(entrant.name)),
    )


def froc_figures(entrant: Entrant, drawn: DrawnFroc) -> Froc:
    """The mean of the seeds' curves, with the score's interval and a band of pointwise 95 % intervals of recall."""
    curves = [froc(run.test) for run in entrant.contender.runs]
    first, groups, score = curves[0], entrant.test[0].units, len(POINTS)
    miss, of = 1 - drawn.recall, groups.defects.astype(float)
    missed = np.mean([_missed(descent(table), groups, drawn.fppi) for table in entrant.test], axis=0)
    whole = rate_interval(miss[:, :score].mean(axis=1), missed[:score].mean(axis=0), of)
    band = [rate_interval(miss[:, place], missed[place], of) for place in range(score, len(drawn.fppi))]
    return Froc(
        curve=_mean_curve([one.curve for one in curves]),
        recall_at={point: float(np.mean([one.recall_at[point] for one in curves])) for point in first.recall_at},
        score=float(np.mean([one.score for one in curves])),
        score_interval=_turned(whole),
        lamr=float(np.mean([one.lamr for one in curves])),
        lamr_class_mean=float(np.mean([one.lamr_class_mean for one in curves])),
        band=_band(drawn.fppi[score:], [_turned(one) for one in band]),
    )


def _turned(miss: Interval | None) -> Interval | None:
    """The interval of recall that says the same as one of the miss rate."""
    return None if miss is None else Interval(low=1 - miss.high, high=1 - miss.low, method=miss.method)


def _band(fppi: Floats, intervals: Sequence[Interval | None]) -> FrocBand | None:
    known = [(float(at), one.low, one.high) for at, one in zip(fppi, intervals, strict=True) if one is not None]
    if not known:
        return None
    at, low, high = (list(column) for column in zip(*known, strict=True))
    return FrocBand(fppi=at, low=low, high=high)


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean recall at every FPPI where one of the curves rises."""
    if len(curves) == 1:
        return curves[0]
    grid = np.unique(np.concatenate([one.fppi for one in curves]))
    recall = np.mean([_read(one, grid) for one in curves], axis=0)
    return Curve(fppi=grid.tolist(), recall=recall.tolist())


def _read(curve: Curve, fppi: Floats) -> Floats:
    recall: Floats = np.array(curve.recall)[np.searchsorted(curve.fppi, fppi, side="right") - 1]
    return recall


def _missed(events: Descent, groups: Units, fppi: Floats) -> Floats:
    """(X, U) the misses of each unit at each FPPI of the curve."""
    images = np.array([groups.images.sum()])
    over = np.append(events.found.over(events.false.score), len(events.found))
    false = [min(int(most_within(float(point), images)[0]), len(events.false)) for point in fppi]
    found = [np.bincount(events.found.unit[: over[place]], minlength=len(groups)) for place in false]
    missed: Floats = groups.defects - np.stack(found).astype(float)
    return missed
