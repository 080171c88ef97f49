"""A population of parts of which every true figure is known, and samples of it as the evaluator's tables.

A part (unit) shows up to some pictures and, unless it is defect-free, one or more defects. Detector j gives defect d
of unit u the latent score mu_j + unit_u + defect_d + unit_ju + noise: normal, with variances that add to 1. Shared
terms make detectors miss the same defects; unit terms make the misses of a part alike (overdispersed). False alarms
are Poisson with a gamma rate by unit, shared by the detectors, and normal latent scores. A detector's score is a
rising function of the latent one, another for each detector, and 0.5 where its FPPI is the budget.

So FN rate and FPPI at a threshold are known by formula, hence the policy's threshold in the population too; escape and
overkill are those of a hundred thousand drawn parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOWEST = -2.0
"""A defect whose latent score is lower gets no prediction at all."""
CELL, SIDE = 20, 10
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_MANY = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A detector. `fn_rate`: at the threshold where its FPPI is `budget`; `alarms`: false alarms an image, all scores.

    alike, own  share of the latent variance that belongs to the unit: common to all detectors, and its own
    scale       scores are the logistic of `scale` times how far the latent ones lie over that threshold
    """

    fn_rate: float
    budget: float
    alarms: float = 2.0
    alike: float = 0.15
    own: float = 0.1
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Where units come from.

    images       most pictures of a unit; each number from 1 up is as likely
    free         share of units without defects
    more         mean number of defects beyond the first, of a defective unit
    informative  how much parts with easy defects have more of them (0: not at all)
    common       share of the latent variance that belongs to the defect, whatever the detector
    lumps        variance of the units' false alarm rates, relative to their mean
    """

    machines: tuple[Machine, ...]
    images: int = 3
    free: float = 0.4
    more: float = 2.0
    informative: float = 0.0
    common: float = 0.4
    lumps: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """U drawn units: counts (U,), defects and false alarms with the unit they belong to, latent scores per machine.

    label, alarm_label  their classes; None and empty: all of one
    """

    images: Ints
    unit: Ints
    latent: tuple[Floats, ...]
    alarm_unit: tuple[Ints, ...]
    alarm_latent: tuple[Floats, ...]
    classes: int = 1
    label: Ints | None = None
    alarm_label: tuple[Ints, ...] = ()


@cache
def limit(machine: Machine) -> float:
    """The latent threshold at which the machine's false alarms per image are its budget."""
    return float(stats.norm.isf(machine.budget / machine.alarms))


def missed(population: Population, machine: Machine, mean: float, threshold: float) -> float:
    """Share of all defects whose latent score is under the threshold; parts count by their expected defects."""
    shared = np.sqrt(machine.alike) * _NODES
    g = population.informative
    defects = 1 + population.more * np.exp(g * _NODES - g**2 / 2)
    under = special.ndtr((threshold - mean - shared) / np.sqrt(1 - machine.alike))
    return float(np.sum(_WEIGHTS * defects * under) / np.sum(_WEIGHTS * defects))


@cache
def mean_of(population: Population, machine: Machine) -> float:
    """The latent mean that gives the machine its FN rate."""
    at = limit(machine)

    def surplus(mean: float) -> float:
        return missed(population, machine, mean, at) - machine.fn_rate

    return float(optimize.brentq(surplus, at - 10, at + 10))


def fn_rate(population: Population, machine: Machine, score: float) -> float:
    """The true FN rate at a threshold on the machine's own scores (inf: 1)."""
    if not np.isfinite(score):
        return 1.0
    threshold = max(latent_of(machine, score), LOWEST)
    return missed(population, machine, mean_of(population, machine), threshold)


def fppi(machine: Machine, score: float) -> float:
    """The true number of false alarms per image at a threshold on the machine's own scores."""
    return float(machine.alarms * stats.norm.sf(latent_of(machine, score))) if np.isfinite(score) else 0.0


def score_of(machine: Machine, latent: Floats | float) -> Floats:
    """The machine's scores."""
    return np.asarray(special.expit(machine.scale * (np.asarray(latent, float) - limit(machine))))


def latent_of(machine: Machine, score: float) -> float:
    """The latent score behind a score."""
    return float(special.logit(score)) / machine.scale + limit(machine)


def draw_units(population: Population, rng: np.random.Generator, units: int) -> Sample:
    """Units at random, with what every machine says of them."""
    images = rng.integers(1, population.images + 1, units)
    shared = rng.normal(size=units)
    g = population.informative
    count = 1 + rng.poisson(population.more * np.exp(g * shared - g**2 / 2))
    count[rng.random(units) < population.free] = 0
    unit = np.repeat(np.arange(units), count)
    difficulty = rng.normal(size=len(unit))
    lump = rng.gamma(1 / population.lumps, population.lumps, units)
    level = rng.normal(size=units)
    latent, alarm_unit, alarm_latent = [], [], []
    for machine in population.machines:
        rest = 1 - machine.alike - machine.own - population.common
        latent.append(
            mean_of(population, machine)
            + np.sqrt(machine.alike) * shared[unit]
            + np.sqrt(population.common) * difficulty
            + np.sqrt(machine.own) * rng.normal(size=units)[unit]
            + np.sqrt(rest) * rng.normal(size=len(unit))
        )
        where = np.repeat(np.arange(units), rng.poisson(machine.alarms * images * lump))
        alarm_unit.append(where)
        alarm_latent.append(np.sqrt(0.2) * level[where] + np.sqrt(0.8) * rng.normal(size=len(where)))
    return Sample(
        images=images,
        unit=unit,
        latent=tuple(latent),
        alarm_unit=tuple(alarm_unit),
        alarm_latent=tuple(alarm_latent),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRates:
    """Escape and overkill as functions of the threshold, from the highest scores of many drawn units, ascending."""

    defective: Floats
    free: Floats

    def escape(self, latent: float) -> float:
        """Share of defective units without an alarm at the threshold."""
        return float(np.searchsorted(self.defective, latent)) / len(self.defective)

    def overkill(self, latent: float) -> float:
        """Share of defect-free units with one."""
        return 1 - float(np.searchsorted(self.free, latent)) / len(self.free)


@cache
def unit_rates(population: Population) -> tuple[UnitRates, ...]:
    """One for each machine."""
    sample = draw_units(population, np.random.default_rng(20_000), _MANY)
    defective = np.bincount(sample.unit, minlength=_MANY) > 0
    found = []
    for latent, unit, alarm in zip(sample.latent, sample.alarm_unit, sample.alarm_latent, strict=True):
        highest = np.full(_MANY, -np.inf)
        said = latent >= LOWEST
        np.maximum.at(highest, sample.unit[said], latent[said])
        np.maximum.at(highest, unit, alarm)
        found.append(UnitRates(defective=np.sort(highest[defective]), free=np.sort(highest[~defective])))
    return tuple(found)


def tables(
    population: Population, rng: np.random.Generator, units: int, split: str
) -> tuple[Dataset, Sequence[Predictions]]:
    """A sample as the evaluator takes it."""
    return tables_of(population, draw_units(population, rng, units), rng, split)


def tables_of(
    population: Population, sample: Sample, rng: np.random.Generator, split: str
) -> tuple[Dataset, Sequence[Predictions]]:
    """Drawn units as the evaluator takes them: boxes in a row, so that each prediction meets one defect or none."""
    units = len(sample.images)
    first = np.concatenate([[0], np.cumsum(sample.images)])
    names = np.array([f"{split}{row:05d}" for row in range(units)])
    pictures = int(first[-1])
    image = first[sample.unit] + (rng.random(len(sample.unit)) * sample.images[sample.unit]).astype(int)
    box = _boxes(np.arange(len(image)))
    truth = Dataset(
        root=Path("simulated"),
        split=split,
        categories=tuple(Category(id=k + 1, name=f"defect {k}", source_id=k + 1) for k in range(sample.classes)),
        images=Images(
            file=tuple(f"{split}{row:06d}.png" for row in range(pictures)),
            id=np.arange(1, pictures + 1),
            size=np.full((pictures, 2), 10_000_000),
            group=np.repeat(names, sample.images),
            source_id=tuple(range(pictures)),
        ),
        defects=Defects(
            image=image,
            label=_label(sample.label, len(image)),
            box=box,
            area=np.full(len(image), float(SIDE**2)),
            crowd=np.zeros(len(image), np.bool_),
            ignore=np.zeros(len(image), np.bool_),
            region=None,
            id=np.arange(1, len(image) + 1),
            source_id=tuple(range(len(image))),
        ),
    )
    said = []
    for place, (machine, latent, unit, alarm) in enumerate(
        zip(population.machines, sample.latent, sample.alarm_unit, sample.alarm_latent, strict=True)
    ):
        hit = latent >= LOWEST
        where = first[unit] + (rng.random(len(unit)) * sample.images[unit]).astype(int)
        said.append(
            Predictions(
                image=np.concatenate([image[hit], where]),
                label=np.concatenate(
                    [
                        _label(sample.label, len(image))[hit],
                        _label(sample.alarm_label[place] if sample.alarm_label else None, len(where)),
                    ]
                ),
                box=np.vstack([box[hit], _boxes(len(image) + np.arange(len(where)))]),
                score=score_of(machine, np.concatenate([latent[hit], alarm])),
            )
        )
    return truth, said


def _label(label: Ints | None, count: int) -> Ints:
    return np.zeros(count, np.int64) if label is None else label


def _boxes(cell: Ints) -> Floats:
    left = CELL * cell.astype(float)
    zero = np.zeros(len(cell))
    return np.stack([left, zero, left + SIDE, zero + SIDE], axis=1)
