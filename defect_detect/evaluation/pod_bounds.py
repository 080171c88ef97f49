"""The one-sided lower 95 % bound of a POD curve; where it reaches 0.9 lies a90/95 (MIL-HDBK-1823A).

Each bound is a function of log size, so that the curve that is drawn and a90/95 are one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation import pod_model
from defect_detect.evaluation.pod_model import INTERCEPT, SLOPE, Fit, Trials
from defect_detect.tables import Column, Floats, Ints

CONFIDENCE = 0.95
RESAMPLES = 2000
_GROUPS = 512
_DIRECTIONS = 240
_FARTHEST = 1000.0
_SETTLED = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """lower: log sizes (A,) -> (A,) POD; reaches: log a, POD -> the size from a up where `lower` is POD, or None."""

    lower: Callable[[Floats], Floats]
    reaches: Callable[[float, float], float | None]
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """T targets.

    log_size  (T,) float64
    hits      (T,) float64, in how many of its trials each was found
    trials    trials of each target: the trained models it was shown to
    unit      (T,) int64, the sampling unit, from 0
    units     how many units there are
    """

    log_size: Floats
    hits: Floats
    trials: int
    unit: Ints
    units: int

    @property
    def clustered(self) -> bool:
        """Whether any unit holds more than one trial, so that trials aren't independent."""
        return self.trials > 1 or bool((np.bincount(self.unit) > 1).any())

    def pooled(self) -> Trials:
        """Trials by distinct size, which say all that the sample says about one curve."""
        size, place = np.unique(self.log_size, return_inverse=True)
        hits: Floats = np.bincount(place, self.hits).astype(np.float64)
        of: Floats = np.bincount(place).astype(np.float64) * self.trials
        return Trials(log_size=size, hits=hits[None], of=of[None])


def _criterion() -> float:
    from scipy import stats

    return float(stats.norm.ppf(CONFIDENCE))


def likelihood_ratio(link: str, found: Fit, trials: Trials) -> Bound:
    """The least POD at each size among the curves that a likelihood-ratio test at one-sided 5 % doesn't refuse.

    Those curves fill a closed region around the best; its edge is sought along rays.
    """
    best, height = found.theta[0, [INTERCEPT, SLOPE]], float(found.log_likelihood[0])
    allowed = _criterion() ** 2
    root = np.linalg.cholesky(pod_model.covariance(link, found.theta, trials)[0])
    angle = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    ray = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ root.T
    reach = np.full(_DIRECTIONS, np.sqrt(allowed))
    edge = np.tile(found.theta, (_DIRECTIONS, 1))
    for _ in range(60):
        edge[:, [INTERCEPT, SLOPE]] = best + reach[:, None] * ray
        drop = 2 * (height - pod_model.log_likelihood(link, edge, trials))
        # The root of the drop grows nearly as the distance does, so this settles in a few rounds.
        further = reach * np.sqrt(allowed / np.maximum(drop, 1e-12))
        if np.abs(further / reach - 1).max() < _SETTLED:
            break
        reach = further
    distribution = pod_model.distribution(link)

    def lower(log_size: Floats) -> Floats:
        return distribution((edge[:, [INTERCEPT]] + edge[:, [SLOPE]] * log_size).min(axis=0))

    def reaches(start: float, pod: float) -> float | None:
        return _profiled(link, found, trials, start, pod)

    return Bound(lower=lower, reaches=reaches, method="likelihood ratio")


def bootstrap(link: str, found: Fit, sample: Sample, weights: Column, free: tuple[int, ...]) -> Bound:
    """Bias-corrected and accelerated (BCa, Efron 1987) lower bounds over resampled units.

    `weights` (B, U): how often each unit is drawn. Plain percentiles bound a90 in 89 % of samples of 100
    rather than in 95 %.
    """
    from scipy import stats

    theta = _resampled(link, found, sample, weights[:RESAMPLES], free)
    influence = _influence(link, found, sample, free)
    z = _criterion()

    def lower(log_size: Floats) -> Floats:
        here = pod_model.probability(link, found.theta, log_size)[0]
        drawn = np.sort(pod_model.probability(link, theta, log_size), axis=0)
        below = ((drawn < here).sum(axis=0) + (drawn <= here).sum(axis=0)) / (2 * len(drawn))
        bias = stats.norm.ppf(np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
        slopes = np.stack([one[0] for one in pod_model.gradient(link, found.theta, log_size, free)])
        pulled = influence @ slopes
        # Far out, where POD is 1 to the last digit, no unit pulls.
        most = np.abs(pulled).max(axis=0)
        pulled = pulled / np.where(most > 0, most, 1.0)
        skew = (pulled**3).sum(axis=0) / (6 * np.maximum((pulled**2).sum(axis=0), 1.0) ** 1.5)
        level = stats.norm.cdf(bias + (bias - z) / (1 - skew * (bias - z)))
        place = np.clip(level * len(drawn) - 0.5, 0, len(drawn) - 1)
        left = np.floor(place).astype(np.int64)
        right = np.minimum(left + 1, len(drawn) - 1)
        column = np.arange(len(log_size))
        result: Floats = drawn[left, column] * (left + 1 - place) + drawn[right, column] * (place - left)
        return result

    def reaches(start: float, pod: float) -> float | None:
        return _crossing(lower, start, pod)

    return Bound(lower=lower, reaches=reaches, method=f"bootstrap over {len(np.unique(sample.unit))} units, BCa")


def _crossing(lower: Callable[[Floats], Floats], start: float, pod: float) -> float | None:
    """The size at which the lower bound reaches `pod`, from `start` up; None when not within 1,000 times of it."""
    from scipy import optimize

    reach = np.linspace(start, start + np.log(_FARTHEST), 400)
    above = lower(reach) >= pod
    if not above.any():
        return None
    first = int(above.argmax())
    if first == 0:
        return float(np.exp(start))
    root = optimize.brentq(lambda at: float(lower(np.array([at]))[0]) - pod, reach[first - 1], reach[first], xtol=1e-10)
    return float(np.exp(root))


def _profiled(link: str, found: Fit, trials: Trials, start: float, pod: float) -> float | None:
    """The largest size that a likelihood-ratio test at one-sided 5 % doesn't refuse as that of `pod`."""
    from scipy import optimize

    target = float(pod_model.quantile(link, pod))
    height, allowed = float(found.log_likelihood[0]), _criterion() ** 2
    slope = float(found.theta[0, SLOPE])

    def excess(log_size: float) -> float:
        held = Trials(log_size=trials.log_size - log_size, hits=trials.hits, of=trials.of)
        return 2 * (height - pod_model.best_slope(link, held, target, slope)) - allowed

    far = start
    for step in np.geomspace(0.02, np.log(_FARTHEST), 40):
        far = start + float(step)
        if excess(far) > 0:
            return float(np.exp(optimize.brentq(excess, start, far, xtol=1e-12)))
    return None


def _resampled(link: str, found: Fit, sample: Sample, weights: Column, free: tuple[int, ...]) -> Floats:
    """(B, 4) the theta of each resample."""
    from scipy import sparse

    group, centre = _grouped(sample.log_size)
    shape = (sample.units, len(centre))
    where = (sample.unit, group)
    hits = sparse.csr_array(sparse.coo_array((sample.hits, where), shape=shape))
    of = sparse.csr_array(sparse.coo_array((np.full(len(group), float(sample.trials)), where), shape=shape))

    def trials(often: Floats) -> Trials:
        return Trials(log_size=centre, hits=np.asarray(often @ hits), of=np.asarray(often @ of))

    start = pod_model.fit(link, trials(np.ones((1, sample.units))), found.theta[0], free).theta[0]
    drawn = pod_model.fit(link, trials(weights.astype(np.float64)), start, free).theta
    # Many sizes were brought together for speed: what that moved the curve itself is taken back.
    result: Floats = drawn + (found.theta[0] - start)
    return result


def _grouped(log_size: Floats) -> tuple[Ints, Floats]:
    """(T,) the group of each target and (M,) the groups' mean log size: distinct sizes, or 512 equal parts of them."""
    distinct, place = np.unique(log_size, return_inverse=True)
    if len(distinct) > _GROUPS:
        rank = np.argsort(np.argsort(log_size, kind="stable"), kind="stable")
        place = rank * _GROUPS // len(log_size)
    return place, np.bincount(place, log_size) / np.bincount(place)


def _influence(link: str, found: Fit, sample: Sample, free: tuple[int, ...]) -> Floats:
    """(U, F) how each unit pulls on each free parameter, to first order."""
    each = Trials(log_size=sample.log_size, hits=sample.hits[None], of=np.full((1, len(sample.hits)), sample.trials))
    scores = pod_model.scores(link, found.theta, each, free)
    per_unit = np.stack([np.bincount(sample.unit, one, sample.units) for one in scores], axis=1)
    result: Floats = per_unit @ pod_model.covariance(link, found.theta, each, free)[0]
    return result
