"""The thresholds that each policy has in the population, by formula or from a hundred thousand drawn parts.

With several classes each defect and each false alarm has a class at random, which moves its latent score. So misses
and false alarms of a class are known by formula, and the best thresholds under one total budget by Lagrange's method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from population import Floats, Machine, Population, Sample, limit, mean_of, missed, unit_rates
from scipy import optimize, stats

_GRID = np.linspace(-2, 5, 7001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Share of the defects and of the false alarms, and by how much the latent scores of both lie higher."""

    share: tuple[float, ...] = (1.0,)
    higher: tuple[float, ...] = (0.0,)
    alarm_share: tuple[float, ...] = (1.0,)
    alarm_higher: tuple[float, ...] = (0.0,)


ONE = Classes()
THREE = Classes(
    share=(0.6, 0.3, 0.1), higher=(0.5, -0.3, 0.0), alarm_share=(0.2, 0.5, 0.3), alarm_higher=(-0.4, 0.2, 0.0)
)


def with_classes(sample: Sample, classes: Classes, rng: np.random.Generator) -> Sample:
    """The sample with a class for everything."""
    if classes is ONE:
        return sample
    label = rng.choice(len(classes.share), len(sample.unit), p=classes.share)
    alarms = [rng.choice(len(classes.share), len(unit), p=classes.alarm_share) for unit in sample.alarm_unit]
    higher, alarm_higher = np.array(classes.higher), np.array(classes.alarm_higher)
    return replace(
        sample,
        classes=len(classes.share),
        label=label,
        alarm_label=tuple(alarms),
        latent=tuple(one + higher[label] for one in sample.latent),
        alarm_latent=tuple(one + alarm_higher[of] for one, of in zip(sample.alarm_latent, alarms, strict=True)),
    )


def fn_rate(population: Population, machine: Machine, classes: Classes, latent: Floats) -> float:
    """At the latent threshold of each class (K,)."""
    mean = mean_of(population, machine)
    by_class = [
        1.0 if np.isposinf(at) else missed(population, machine, mean + up, max(at, -2.0))
        for up, at in zip(classes.higher, latent, strict=True)
    ]
    return float(np.dot(classes.share, by_class))


def fppi(machine: Machine, classes: Classes, latent: Floats) -> float:
    """At the latent threshold of each class (K,)."""
    return float(machine.alarms * np.dot(classes.alarm_share, stats.norm.sf(latent - np.array(classes.alarm_higher))))


@cache
def thresholds(population: Population, place: int, policy: str, classes: Classes = ONE) -> tuple[float, ...]:
    """The latent threshold of each class that the policy chooses in the population, for the machine at that place.

    `policy` is as on the command line, after `per class ` where each class has its own; `cost` has an escape cost 10
    overkills, and 5 % of all units are defective.
    """
    machine = population.machines[place]
    kind, _, bound = policy.removeprefix("per class ").partition("=")
    if policy.startswith("per class"):
        return _shared(population, machine, float(bound), classes)
    fn = np.array([missed(population, machine, mean_of(population, machine), at) for at in _GRID])
    false = machine.alarms * stats.norm.sf(_GRID)
    rates = unit_rates(population)[place]
    if kind == "fppi<":
        found = limit(replace(machine, budget=float(bound)))
    elif kind == "overkill<":
        found = float(optimize.brentq(lambda at: rates.overkill(at) - float(bound), -2, 5))
    elif kind == "recall>":
        found = float(np.interp(1 - float(bound), fn, _GRID))
    elif kind == "f1":
        defects = (1 - population.free) * (1 + population.more) / ((1 + population.images) / 2)
        found = float(_GRID[np.argmax((1 - fn) / (1 - fn + 1 + false / defects))])
    else:
        cost = [0.05 * rates.escape(at) * 10 + 0.95 * rates.overkill(at) for at in _GRID]
        found = float(_GRID[np.argmin(cost)])
    return (found,)


def _shared(population: Population, machine: Machine, budget: float, classes: Classes) -> tuple[float, ...]:
    """The fewest misses at a total of false alarms: each class where one more of them buys the same."""
    mean = mean_of(population, machine)
    fn = [share * np.array([missed(population, machine, mean + up, at) for at in _GRID])
          for share, up in zip(classes.share, classes.higher, strict=True)]  # fmt: skip
    false = [machine.alarms * share * stats.norm.sf(_GRID - up)
             for share, up in zip(classes.alarm_share, classes.alarm_higher, strict=True)]  # fmt: skip

    def chosen(log_price: float) -> list[int]:
        return [int(np.argmin(f + np.exp(log_price) * a)) for f, a in zip(fn, false, strict=True)]

    def surplus(log_price: float) -> float:
        return sum(a[at] for a, at in zip(false, chosen(log_price), strict=True)) - budget

    return tuple(float(_GRID[at]) for at in chosen(float(optimize.bisect(surplus, -12, 6, xtol=1e-4))))
