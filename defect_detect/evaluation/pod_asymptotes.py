"""Whether POD levels off: above 0 for the smallest defects (a floor), below 1 for the largest (a ceiling).

Each takes at least 10 hits and 10 misses in its end of the sizes, a quarter of the targets, and a likelihood
that selects it: a parameter on the edge of its range is worth 2.71 in twice the log likelihood at 5 % (Self &
Liang 1987), times the design effect that units could have at worst.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from defect_detect.evaluation import pod_model
from defect_detect.evaluation.pod_bounds import Sample
from defect_detect.evaluation.pod_model import CEILING, FLOOR, INTERCEPT, SLOPE, Fit, Trials
from defect_detect.tables import Floats

EACH = 10
"""Hits, and misses, that an end needs."""
_END = 0.25
_ROUGH = 256
_WORTH = 2.705543454095404
_PLAIN = (INTERCEPT, SLOPE)


def fitted(link: str, sample: Sample) -> tuple[Fit, tuple[int, ...]]:
    """The most likely curve and its free parameters, with as many asymptotes as the likelihood selects."""
    trials, rough = sample.pooled(), sample.pooled(_ROUGH)
    plain = pod_model.fit(link, trials)
    best, free = plain, _PLAIN
    price = _WORTH * _worst_effect(sample)
    ends = _ends(sample)
    for more in [(end,) for end in ends] + ([tuple(ends)] if len(ends) > 1 else []):
        near = _best(link, rough, plain, (*_PLAIN, *more))
        tried = pod_model.fit(link, trials, near, (*_PLAIN, *more))
        steps = len(more) - (len(free) - len(_PLAIN))
        if 2 * (tried.log_likelihood[0] - best.log_likelihood[0]) > price * steps:
            best, free = tried, (*_PLAIN, *more)
    return best, free


def _worst_effect(sample: Sample) -> float:
    size = np.bincount(sample.unit).astype(float) * sample.trials
    return float((size**2).sum() / size.sum())


def _ends(sample: Sample) -> list[int]:
    low, high = np.quantile(sample.log_size, [_END, 1 - _END])
    hit = sample.hits / sample.trials
    small, large = sample.log_size <= low, sample.log_size >= high
    return [
        end
        for end, rows in ((FLOOR, small), (CEILING, large))
        if hit[rows].sum() >= EACH and (1 - hit[rows]).sum() >= EACH
    ]


def _best(link: str, trials: Trials, plain: Fit, free: tuple[int, ...]) -> Floats:
    """(4,) where to climb from: the likelihood may have several tops, so curves of different steepness are tried."""
    middle = float(np.average(trials.log_size, weights=trials.of[0]))
    floors, ceilings = (0.02, 0.2) if FLOOR in free else (0.0,), (0.98, 0.8) if CEILING in free else (1.0,)
    guesses = []
    for steeper, floor, ceiling in product((1.0, 2.0, 5.0), floors, ceilings):
        guess = plain.theta[0].copy()
        guess[SLOPE] = abs(guess[SLOPE]) * steeper
        guess[INTERCEPT] += (plain.theta[0, SLOPE] - guess[SLOPE]) * middle
        guess[[FLOOR, CEILING]] = floor, ceiling
        guesses.append(guess)
    tried = pod_model.fit(link, trials, np.stack(guesses), free)
    best: Floats = tried.theta[tried.log_likelihood.argmax()]
    return best
