"""How far scores can be read as probabilities: reliability in ten bins of equal mass, and ECE (Naeini et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.comparison import Calibration, CalibrationBin, Rate
from defect_detect.evaluation.judged import Evaluation
from defect_detect.tables import Bools, Floats

BINS = 10


def calibration(evaluations: Sequence[Evaluation]) -> Calibration:
    """Of all predictions in the files, all seeds together: score against being a hit of its label at t.

    Absorbed predictions are left out. Below the predictions' floor nothing is known.

    >>> from defect_detect.evaluation import example
    >>> round(calibration([example.evaluation()]).ece, 3)
    0.4
    """
    parts = [(one.predictions.score, one.matching) for one in evaluations]
    score = np.concatenate([s[~m.absorbed] for s, m in parts])
    hit = np.concatenate([m.defect_of[~m.absorbed] >= 0 for _, m in parts])
    return reliability(score, hit)


def reliability(score: Floats, hit: Bools, bins: int = BINS) -> Calibration:
    """Bins of equal mass by score (P,); equal scores stay together, so there may be fewer.

    ECE is the mean over bins of |mean score - share of hits|, weighted by their predictions.

    >>> told = reliability(np.array([0.2, 0.4, 0.8, 1.0]), np.array([False, False, True, True]), bins=2)
    >>> round(told.ece, 3), [one.hits.value for one in told.bins]
    (0.2, [0.0, 1.0])
    """
    if len(score) == 0:
        return Calibration(ece=None, bins=[])
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - count / 2
    group = np.minimum((middle * bins / len(score)).astype(np.int64), bins - 1)[place]
    told = [_bin(score[group == k], hit[group == k]) for k in np.unique(group)]
    apart = sum(abs(one.mean_score * one.hits.of - one.hits.count) for one in told)
    return Calibration(ece=float(apart / len(score)), bins=told)


def _bin(score: Floats, hit: Bools) -> CalibrationBin:
    return CalibrationBin(
        low=float(score.min()),
        high=float(score.max()),
        mean_score=float(score.mean()),
        hits=Rate(count=int(hit.sum()), of=len(hit)),
    )
