"""The way up to the most likely POD curve: Fisher scoring for many resamples side by side.

Everything that a step needs is summed up where the likelihood is looked at, so that no curve is worked out twice. Sums
over sizes against 1, x and x^2 are products of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.tables import Bools, Floats

INTERCEPT, SLOPE, FLOOR, CEILING = range(4)
TINY = 1e-13
_RIDGE = 1e-10
_ROUNDS = 60
_CELLS = 1 << 14
"""Resamples x sizes worked on together: their columns stay in the processor's cache."""
_RANGE = {FLOOR: (0.0, 0.5), CEILING: (0.5, 1.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Hits and misses (R, M) by log size, and 1, x, x^2 (M, 3)."""

    hits: Floats
    misses: Floats
    powers: Floats

    def take(self, rows: Bools) -> _Counted:
        return _Counted(hits=self.hits[rows], misses=self.misses[rows], powers=self.powers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """The log likelihood (R,), its derivatives (R, F) and their expected information (R, F, F)."""

    height: Floats
    score: Floats
    information: Floats


def climb(
    link: str, log_size: Floats, counts: tuple[Floats, Floats], theta: Floats, free: tuple[int, ...], *, settled: float
) -> tuple[Floats, Floats]:
    """Theta (B, 4) at the top, and the log likelihood there (B,).

    `counts` are hits and trials (B, M) by `log_size` (M,); parameters that aren't `free` keep their value in `theta`.
    Ends when no step is longer than `settled`, or after 60.
    """
    hits, of = counts
    powers = np.stack([np.ones_like(log_size), log_size, log_size**2], axis=1)
    return _climbed(link, _Counted(hits=hits, misses=of - hits, powers=powers), theta.copy(), free, settled)


def _climbed(
    link: str, counted: _Counted, theta: Floats, free: tuple[int, ...], settled: float
) -> tuple[Floats, Floats]:  # fmt: skip
    height = np.empty(len(theta))
    rows = np.arange(len(theta))
    here, at, length = theta, _sums(link, counted, theta, free), np.ones(len(theta))
    height[:] = at.height
    for _ in range(_ROUNDS):
        step = _step(at, here, free)
        tried = _inside(here + length[:, None] * step)
        reached = _sums(link, counted, tried, free)
        better = reached.height >= at.height
        gain = np.where(better, reached.height - at.height, np.inf)
        here = np.where(better[:, None], tried, here)
        at = _either(better, reached, at)
        theta[rows], height[rows] = here, at.height
        # A step that overshoots is halved; one that is too short to matter ends the climb.
        length = np.where(better, 1.0, length / 2)
        small = np.abs(step).max(axis=1) * length < settled
        on = ~(small | (better & (gain < settled * settled)))
        if not on.any():
            break
        if not on.all():
            rows, here, length, counted = rows[on], here[on], length[on], counted.take(on)
            at = _Sums(height=at.height[on], score=at.score[on], information=at.information[on])
    return theta, height


def _either(first: Bools, one: _Sums, other: _Sums) -> _Sums:
    return _Sums(
        height=np.where(first, one.height, other.height),
        score=np.where(first[:, None], one.score, other.score),
        information=np.where(first[:, None, None], one.information, other.information),
    )


def _step(at: _Sums, theta: Floats, free: tuple[int, ...]) -> Floats:
    """(R, 4) the step, 0 for what isn't free or would leave its range."""
    score, information = at.score.copy(), at.information.copy()
    for place, one in enumerate(free):
        if one not in _RANGE:
            continue
        low, high = _RANGE[one]
        out = ((theta[:, one] <= low) & (score[:, place] < 0)) | ((theta[:, one] >= high) & (score[:, place] > 0))
        score[out, place] = 0.0
        information[out, place, :] = information[out, :, place] = 0.0
        information[out, place, place] = 1.0
    # A flat curve can't tell its parameters apart: a ridge that shortens no other step keeps this one finite.
    diagonal = np.arange(len(free))
    information[:, diagonal, diagonal] *= 1 + _RIDGE
    step = np.zeros_like(theta)
    step[:, list(free)] = np.linalg.solve(information, score[:, :, None])[:, :, 0]
    return step


def _inside(theta: Floats) -> Floats:
    for one, (low, high) in _RANGE.items():
        theta[:, one] = np.clip(theta[:, one], low, high)
    return theta


def _sums(link: str, counted: _Counted, theta: Floats, free: tuple[int, ...]) -> _Sums:
    step = max(_CELLS // max(len(counted.powers), 1), 1)
    parts = []
    for start in range(0, len(theta), step):
        some = slice(start, start + step)
        part = _Counted(hits=counted.hits[some], misses=counted.misses[some], powers=counted.powers)
        parts.append(_summed(link, part, theta[some], free))
    if len(parts) == 1:
        return parts[0]
    return _Sums(
        height=np.concatenate([one.height for one in parts]),
        score=np.concatenate([one.score for one in parts]),
        information=np.concatenate([one.information for one in parts]),
    )


def _summed(link: str, counted: _Counted, theta: Floats, free: tuple[int, ...]) -> _Sums:
    grow, fall, steep = _rising(link, theta[:, [INTERCEPT]] + theta[:, [SLOPE]] * counted.powers[:, 1])
    floor, ceiling = theta[:, [FLOOR]], theta[:, [CEILING]]
    found, missed = grow, fall
    if (floor != 0).any() or (ceiling != 1).any():
        rise = ceiling - floor
        found, missed, steep = floor + rise * grow, 1 - ceiling + rise * fall, rise * steep
    found, missed = np.maximum(found, TINY), np.maximum(missed, TINY)
    height = np.einsum("rm,rm->r", counted.hits, np.log(found)) + np.einsum("rm,rm->r", counted.misses, np.log(missed))
    # The score of POD at each size, (hits - of found) / (found missed), and the expected information about it.
    surprise = counted.hits / found - counted.misses / missed
    weight = (counted.hits + counted.misses) / (found * missed)
    ends = [(place, grow if one == CEILING else fall) for place, one in enumerate(free) if one in _RANGE]
    slopes = [place for place, one in enumerate(free) if one not in _RANGE]
    power = [free[place] for place in slopes]
    score, information = np.empty((len(theta), len(free))), np.empty((len(theta), len(free), len(free)))
    score[:, slopes] = ((surprise * steep) @ counted.powers)[:, power]
    weighed = weight * steep
    inner = (weighed * steep) @ counted.powers
    for i, place in enumerate(slopes):
        information[:, place, slopes] = inner[:, [power[i] + other for other in power]]
    for place, share in ends:
        score[:, place] = np.einsum("rm,rm->r", surprise, share)
        across = ((weighed * share) @ counted.powers)[:, power]
        information[:, place, slopes] = information[:, slopes, place] = across
        for other, second in ends:
            information[:, place, other] = np.einsum("rm,rm,rm->r", weight, share, second)
    diagonal = np.arange(len(free))
    # Separated resamples lose all information on the way; this keeps the matrix invertible.
    information[:, diagonal, diagonal] += TINY
    return _Sums(height=height, score=score, information=information)


def _rising(link: str, linear: Floats) -> tuple[Floats, Floats, Floats]:
    """F, 1 - F, each exact near 0, and F'."""
    if link == "logit":
        small = np.exp(-np.abs(linear))
        large = 1 / (1 + small)
        small *= large
        up = linear >= 0
        return np.where(up, large, small), np.where(up, small, large), small * large
    from scipy import special

    return special.ndtr(linear), special.ndtr(-linear), np.exp(-(linear**2) / 2) / np.sqrt(2 * np.pi)
