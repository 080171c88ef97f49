"""Probability of detection by defect size (MIL-HDBK-1823A): a50, a90, a90/95, or why they can't be told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from defect_detect.errors import ConfigError, Fault
from defect_detect.evaluation import pod_asymptotes, pod_bootstrap, pod_bounds, pod_likelihood, pod_model, pod_sizes
from defect_detect.evaluation.comparison import Pod, PodBin, Rate
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.parts import side_by_side
from defect_detect.evaluation.pod_bounds import Bound, Sample
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.units import units
from defect_detect.tables import Column, Floats, Ints

ENOUGH = 60
"""Targets that MIL-HDBK-1823A asks for; fewer are warned of."""
LEAST = 20
"""Targets that a class needs for a curve of its own."""
ALL_FOUND = 29
"""0.9 ** 29 < 0.05: as many found of as many show a POD of 0.9 with 95 % confidence."""
POD_90, POD_50 = 0.9, 0.5
_GRID = 60
_BINS, _PER_BIN = 10, 15


def pods(judged: Sequence[Judged], weights: Column, *, measure: str = "long side", link: str = "logit") -> list[Pod]:
    """The curves of one detector, all its seeds together: of all defects, then of each class of 20 or more.

    `weights` (B, U) are resamples of the units. A defect without extent (a region of no width) has no log size and is
    left out, with a warning.

    Raises:
        ConfigError: the link or the measure is unknown, or the measure needs regions.
    """
    truth = judged[0].evaluation.truth
    size = pod_sizes.sizes(truth, measure)
    rows = np.flatnonzero(truth.defects.counts & (size > 0))
    flat = int((truth.defects.counts & ~(size > 0)).sum())
    hits = np.sum([one.found for one in judged], axis=0)
    unit = units(truth).of_image[truth.defects.image]

    # Brought into the order that the bootstrap reads them in, once for all curves.
    weights = pod_bootstrap.by_unit(weights[: pod_bounds.RESAMPLES]).T

    def of(part: tuple[Ints, str]) -> Pod:
        rows, name = part
        curve = pod(size[rows], hits[rows], unit[rows], trials=len(judged), link=link, weights=weights)
        return msgspec.structs.replace(curve, of=name, measure=measure, unit=pod_sizes.unit_of(truth, measure))

    by_class = [rows[truth.defects.label[rows] == k] for k in range(len(truth.categories))]
    own = [(part, truth.categories[k].name) for k, part in enumerate(by_class) if len(part) >= LEAST]
    if len(own) == 1 and len(own[0][0]) == len(rows):
        own = []
    everything, *classes = side_by_side(of, [(rows, "all"), *own])
    if flat:
        note = f"{flat} defects without a {measure} are left out."
        everything = msgspec.structs.replace(everything, warnings=[*everything.warnings, note])
    return [everything, *classes]


def pod(
    size: Floats,
    hits: Column,
    unit: Column | None = None,
    *,
    trials: int = 1,
    link: str = "logit",
    weights: Column | None = None,
    seed: int = 0,
) -> Pod:
    """The curve of T targets: size (T,) over 0, hits (T,) of `trials` each, unit (T,), of one another independent.

    a90/95 is where the one-sided lower 95 % bound of the curve reaches 0.9: by likelihood ratio when each unit holds
    one trial, else by resampling units (BCa). `weights` (B, U) are resamples of the units 0 to U - 1; without
    them 1,000 are drawn from `seed`.

    >>> size = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 20)
    >>> found = np.concatenate([np.arange(20) < n for n in (1, 5, 12, 18, 20)])
    >>> curve = pod(size, found)
    >>> curve.status, round(curve.a50, 2), round(curve.a90, 2), round(curve.a90_95, 2)
    ('ok', 3.23, 7.69, 11.47)

    Raises:
        ConfigError: the link is unknown.
    """
    if link not in pod_model.LINKS:
        raise ConfigError(Fault(where="link", expected=" | ".join(pod_model.LINKS), found=repr(link)))
    name, place = np.unique(np.arange(len(size)) if unit is None else unit, return_inverse=True)
    named = weights is not None and unit is not None
    sample = Sample(
        log_size=np.log(size),
        hits=np.asarray(hits, np.float64),
        trials=trials,
        unit=np.asarray(unit, np.int64) if named else place.astype(np.int64),
        units=weights.shape[1] if named and weights is not None else len(name),
    )
    blank = Pod(
        of="all", measure="", unit="", link=link, targets=len(size), trials=trials, hits=int(sample.hits.sum()),
        status="not_estimable", why="", bins=_bins(size, sample.hits, trials),
        warnings=[f"Only {len(size)} targets; MIL-HDBK-1823A asks for {ENOUGH}."] if len(size) < ENOUGH else [],
    )  # fmt: skip
    told = _without_a_curve(blank, sample)
    return told or _curve(blank, sample, weights if named else None, seed)


def _without_a_curve(blank: Pod, sample: Sample) -> Pod | None:
    """What can be said where no curve can be fitted; None where one can."""
    total = len(sample.hits) * sample.trials
    if total and blank.hits == total:
        return msgspec.structs.replace(blank, status="all_found", why=_all_found(sample))
    why = _unfit(sample)
    return msgspec.structs.replace(blank, why=why) if why else None


def _unfit(sample: Sample) -> str:
    if len(sample.hits) == 0:
        return "There are no targets."
    if not sample.hits.any():
        return "None was found."
    if np.ptp(sample.log_size) == 0:
        return "All targets have one size."
    missed, found = sample.log_size[sample.hits < sample.trials], sample.log_size[sample.hits > 0]
    if missed.max() <= found.min():
        return (f"Separation: all under {np.exp(found.min()):.4g} were missed and all over {np.exp(missed.max()):.4g} "
                "found, so the slope has no finite estimate.")  # fmt: skip
    return "Slope not positive: only the smallest were found." if found.max() <= missed.min() else ""


def _all_found(sample: Sample) -> str:
    """The statement of 29 of 29, one target a unit, at the size up to which they were counted.

    Held at the largest of the 29 smallest, not the smallest: were POD there under 0.9, it would be so for all 29,
    since it grows with size, and they would be found together in under 5 %. Of larger targets this can't be said.
    """
    smallest = np.full(sample.units, np.inf)
    np.minimum.at(smallest, sample.unit, sample.log_size)
    size = np.exp(np.sort(smallest[np.isfinite(smallest)]))
    if len(size) >= ALL_FOUND:
        return (f"All {len(sample.hits)} were found. {ALL_FOUND} of {ALL_FOUND} units held one of up to "
                f"{size[ALL_FOUND - 1]:.4g}: POD is at least 0.9 from there up, with 95 % confidence.")  # fmt: skip
    reached = (1 - pod_bounds.CONFIDENCE) ** (1 / len(size))
    return (f"All {len(sample.hits)} were found. In {len(size)} units that shows a POD of at least {reached:.2f} from "
            f"{size[-1]:.4g} up, with 95 % confidence; 0.9 takes {ALL_FOUND}.")  # fmt: skip


def _curve(blank: Pod, sample: Sample, weights: Column | None, seed: int) -> Pod:
    link = blank.link
    fit, free = pod_asymptotes.fitted(link, sample)
    theta = fit.theta
    if theta[0, pod_model.SLOPE] <= 0:
        return msgspec.structs.replace(blank, why="Slope not positive: larger defects weren't found more often.")
    if sample.clustered or len(free) > 2:  # noqa: PLR2004 - intercept and slope
        if weights is None:
            weights = draw(np.random.default_rng(seed), sample.units, pod_bounds.RESAMPLES)
        bound = pod_bootstrap.bootstrap(link, fit, sample, weights, free)
    else:
        bound = pod_likelihood.likelihood_ratio(link, fit, sample.pooled())
    grid = np.linspace(sample.log_size.min(), sample.log_size.max(), _GRID)
    floor, ceiling = float(theta[0, pod_model.FLOOR]), float(theta[0, pod_model.CEILING])
    drawn = msgspec.structs.replace(
        blank,
        intercept=float(theta[0, pod_model.INTERCEPT]),
        slope=float(theta[0, pod_model.SLOPE]),
        floor=floor,
        ceiling=ceiling,
        bound_method=bound.method,
        size=np.exp(grid).tolist(),
        pod=pod_model.probability(link, theta, grid)[0].tolist(),
        low=bound.lower(grid).tolist(),
    )
    return _sizes_told(drawn, sample, theta, bound)


def _sizes_told(drawn: Pod, sample: Sample, theta: Floats, bound: Bound) -> Pod:
    """With a50, a90 and a90/95, as far as they lie within the sizes seen."""
    least, most = float(sample.log_size.min()), float(sample.log_size.max())
    half, ninety = (float(pod_model.log_size_at(drawn.link, theta, pod)[0]) for pod in (POD_50, POD_90))
    if least <= half <= most:
        drawn = msgspec.structs.replace(drawn, a50=float(np.exp(half)))
    if drawn.ceiling < POD_90:
        return msgspec.structs.replace(drawn, why=f"Ceiling: POD levels off at {drawn.ceiling:.2f}, under 0.9.")
    if not least <= ninety <= most:
        where = f"under the smallest target ({np.exp(least):.4g})" if ninety < least else (
            f"over the largest target ({np.exp(most):.4g})")  # fmt: skip
        return msgspec.structs.replace(drawn, why=f"a90 lies {where}: it would be extrapolated.")
    upper = bound.reaches(ninety, POD_90)
    warnings = list(drawn.warnings)
    if upper is None:
        warnings.append("a90/95 has no upper end: the targets don't show that POD grows with size.")
    elif np.log(upper) > most:
        warnings.append(f"a90/95 lies over the largest target ({np.exp(most):.4g}): it is extrapolated.")
    return msgspec.structs.replace(drawn, status="ok", a90=float(np.exp(ninety)), a90_95=upper, warnings=warnings)


def _bins(size: Floats, hits: Floats, trials: int) -> list[PodBin]:
    """Neighbouring sizes, about as many targets in each; equal sizes stay together."""
    if len(size) == 0:
        return []
    count = int(np.clip(len(size) // _PER_BIN, 1, _BINS))
    edges = np.unique(np.quantile(size, np.linspace(0, 1, count + 1)[1:-1], method="inverted_cdf"))
    place = np.searchsorted(edges, size, side="left")
    return [
        PodBin(
            low=float(size[rows].min()),
            high=float(size[rows].max()),
            found=Rate(count=int(hits[rows].sum()), of=len(rows) * trials),
        )
        for rows in (np.flatnonzero(place == k) for k in np.unique(place))
    ]
