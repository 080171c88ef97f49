"""Hit/miss regression on log size, for one sample or for many resamples of it at once.

POD(a) = floor + (ceiling - floor) F(intercept + slope ln a), F the logistic or the normal distribution function
(MIL-HDBK-1823A, 2009, appendix G), by maximum likelihood with Fisher scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.pod_ascent import CEILING, FLOOR, INTERCEPT, SLOPE, TINY, climb
from defect_detect.tables import Floats

__all__ = [
    "CEILING", "FLOOR", "INTERCEPT", "LINKS", "SETTLED", "SLOPE", "Fit", "Trials", "best_slopes", "covariance",
    "density", "distribution", "fit", "gradient", "log_likelihood", "log_size_at", "probability", "quantile", "scores",
]  # fmt: skip

LINKS = ("logit", "probit")
SETTLED = 1e-9
"""The longest last step, in standard deviations of log size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Hits by log size, for B (re)samples of the same M sizes.

    log_size  (M,) float64
    hits, of  (B, M) float64, how often a defect of that size was found, and how often it could have been
    """

    log_size: Floats
    hits: Floats
    of: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """theta (B, 4) float64: intercept, slope, floor, ceiling; log_likelihood (B,)."""

    theta: Floats
    log_likelihood: Floats


def distribution(link: str) -> Callable[[Floats], Floats]:
    """F."""
    from scipy import special

    found: Callable[[Floats], Floats] = special.expit if link == "logit" else special.ndtr
    return found


def quantile(link: str, share: Floats | float) -> Floats:
    """The inverse of F; -inf and inf at 0 and 1."""
    from scipy import special

    inverse = special.logit if link == "logit" else special.ndtri
    result: Floats = np.asarray(inverse(np.clip(share, 0, 1)), np.float64)
    return result


def density(link: str, linear: Floats) -> Floats:
    """F'."""
    if link == "logit":
        share = distribution(link)(linear)
        result: Floats = share * (1 - share)
        return result
    bell: Floats = np.exp(-(linear**2) / 2) / np.sqrt(2 * np.pi)
    return bell


def probability(link: str, theta: Floats, log_size: Floats) -> Floats:
    """(B, M) POD of each row of theta (B, 4) at each log size (M,)."""
    linear = theta[:, [INTERCEPT]] + theta[:, [SLOPE]] * log_size
    floor, ceiling = theta[:, [FLOOR]], theta[:, [CEILING]]
    result: Floats = floor + (ceiling - floor) * distribution(link)(linear)
    return result


def log_size_at(link: str, theta: Floats, pod: float) -> Floats:
    """(B,) the log size where POD is `pod`; inf where the slope isn't positive or the ceiling isn't above it."""
    floor, ceiling = theta[:, FLOOR], theta[:, CEILING]
    share = (pod - floor) / (ceiling - floor)
    reached = (theta[:, SLOPE] > 0) & (share < 1)
    slope = np.where(reached, theta[:, SLOPE], 1.0)
    return np.where(reached, (quantile(link, share) - theta[:, INTERCEPT]) / slope, np.inf)


def log_likelihood(link: str, theta: Floats, trials: Trials) -> Floats:
    """(B,) of each row of theta (B, 4)."""
    found, missed = _shares(link, theta, trials.log_size)
    result: Floats = (trials.hits * np.log(found) + (trials.of - trials.hits) * np.log(missed)).sum(axis=1)
    return result


def fit(
    link: str,
    trials: Trials,
    start: Floats | None = None,
    free: tuple[int, ...] = (INTERCEPT, SLOPE),
    settled: float = SETTLED,
) -> Fit:
    """The most likely theta of each resample; parameters that aren't `free` keep their value in `start` (4,) or (B, 4).

    Trials of one sample are taken for every start. Ends when no step is longer than `settled`. A resample whose hits
    and misses are separated has no most likely theta: its slope is what 60 rounds reach.
    """
    centre = float(trials.log_size.mean())
    scale = float(trials.log_size.std()) or 1.0
    begin = np.atleast_2d(np.array([0.0, 1.0, 0.0, 1.0]) if start is None else start)
    rows = max(len(trials.of), len(begin))
    theta = np.broadcast_to(_inwards(begin, centre, scale), (rows, 4)).copy()
    hits, of = (np.broadcast_to(one, (rows, one.shape[1])) for one in (trials.hits, trials.of))
    theta, height = climb(link, (trials.log_size - centre) / scale, (hits, of), theta, free, settled=settled)
    theta[:, SLOPE] /= scale
    theta[:, INTERCEPT] -= theta[:, SLOPE] * centre
    return Fit(theta=theta, log_likelihood=height)


def _inwards(theta: Floats, centre: float, scale: float) -> Floats:
    inner = theta.copy()
    inner[:, INTERCEPT] += theta[:, SLOPE] * centre
    inner[:, SLOPE] *= scale
    return inner


def _surprise(link: str, theta: Floats, trials: Trials) -> tuple[Floats, Floats]:
    """(B, M) the expected information about POD at each size, and the score of it."""
    found, missed = _shares(link, theta, trials.log_size)
    weight = 1 / (found * missed)
    return trials.of * weight, (trials.hits - trials.of * found) * weight


def scores(link: str, theta: Floats, trials: Trials, free: tuple[int, ...]) -> list[Floats]:
    """(M,) each: the score of each free parameter that the trials of each size add, at the one row of theta."""
    surprise = _surprise(link, theta, trials)[1][0]
    return [surprise * one[0] for one in gradient(link, theta, trials.log_size, free)]


def best_slopes(link: str, trials: Trials, intercept: float, start: float) -> Floats:
    """(B,) the log likelihood at the best slope of a curve that passes `intercept` at log size 0."""
    scale = float(np.abs(trials.log_size).max()) or 1.0
    theta = np.tile([intercept, start * scale, 0.0, 1.0], (len(trials.of), 1))
    return climb(link, trials.log_size / scale, (trials.hits, trials.of), theta, (SLOPE,), settled=SETTLED)[1]


def gradient(link: str, theta: Floats, log_size: Floats, free: tuple[int, ...]) -> list[Floats]:
    """(B, M) each: POD's derivative by each free parameter."""
    linear = theta[:, [INTERCEPT]] + theta[:, [SLOPE]] * log_size
    steep = (theta[:, [CEILING]] - theta[:, [FLOOR]]) * density(link, linear)
    share = distribution(link)(linear)
    columns = {INTERCEPT: lambda: steep, SLOPE: lambda: steep * log_size, FLOOR: lambda: 1 - share,
               CEILING: lambda: share}  # fmt: skip
    return [columns[one]() for one in free]


def _information(slopes: list[Floats], weight: Floats) -> Floats:
    size = len(slopes)
    matrix = np.empty((len(weight), size, size))
    for i in range(size):
        for j in range(i, size):
            matrix[:, i, j] = matrix[:, j, i] = (weight * slopes[i] * slopes[j]).sum(axis=1)
    # Separated resamples lose all information on the way; the ridge keeps the matrix invertible.
    matrix[:, range(size), range(size)] += TINY
    return matrix


def covariance(link: str, theta: Floats, trials: Trials, free: tuple[int, ...] = (INTERCEPT, SLOPE)) -> Floats:
    """(B, F, F) the inverse of the expected information."""
    weight, _ = _surprise(link, theta, trials)
    information = _information(gradient(link, theta, trials.log_size, free), weight)
    return np.linalg.inv(information).astype(np.float64)


def _shares(link: str, theta: Floats, log_size: Floats) -> tuple[Floats, Floats]:
    """POD and its complement, each exact near 0."""
    linear = theta[:, [INTERCEPT]] + theta[:, [SLOPE]] * log_size
    floor, ceiling = theta[:, [FLOOR]], theta[:, [CEILING]]
    rise = ceiling - floor
    grow = distribution(link)
    found = np.maximum(floor + rise * grow(linear), TINY)
    missed = np.maximum(1 - ceiling + rise * grow(-linear), TINY)
    return found, missed
