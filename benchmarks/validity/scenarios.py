"""The situations that are simulated: few and many units, small and large clusters, low to high FN rates."""

from __future__ import annotations

from dataclasses import dataclass

from policies import ONE, THREE, Classes
from population import Machine, Population


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`units` of test and validation from one population, judged under `fppi<=budget`."""

    name: str
    says: str
    population: Population
    test: int
    validation: int
    budget: float = 0.1


def _two(a: float, b: float | None = None, budget: float = 0.1) -> tuple[Machine, Machine]:
    """Detectors of FN rates a and b (the same where b is None); unlike in scale, false alarms and clustering."""
    return (
        Machine(fn_rate=a, budget=budget),
        Machine(fn_rate=a if b is None else b, budget=budget, alarms=3.0, own=0.25, scale=0.5),
    )


def _of(name: str, says: str, test: int, validation: int, machines: tuple[Machine, Machine], **more: float) -> Scenario:
    population = Population(machines=machines, **more)  # type: ignore[arg-type]
    return Scenario(
        name=name, says=says, population=population, test=test, validation=validation, budget=machines[0].budget
    )


COVERAGE = (
    _of("many small", "one picture, 1.5 defects", 400, 400, _two(0.2), images=1, more=0.5),
    _of("middling", "2 pictures, 3 defects", 100, 100, _two(0.2)),
    _of("large clusters", "2 pictures, 9 defects", 100, 100, _two(0.2), more=8.0),
    _of("few, large", "3 pictures, 6 defects", 40, 40, _two(0.2), images=5, more=5.0),
    _of("very few", "3 pictures, 6 defects", 25, 25, _two(0.2), images=5, more=5.0),
    _of("few, small", "1.5 pictures, 1.5 defects", 40, 40, _two(0.2), images=2, more=0.5),
    _of("low FN rate", "2 pictures, 3 defects", 200, 200, _two(0.03)),
    _of("low FN rate, few", "2 pictures, 3 defects", 60, 60, _two(0.03)),
    _of("hardly a miss", "2 pictures, 3 defects; FN rate 0.005", 60, 60, _two(0.005)),
    _of("high FN rate", "2 pictures, 3 defects", 100, 100, _two(0.6)),
    _of("wide budget", "2 pictures, 3 defects", 100, 100, _two(0.2, budget=0.5), more=2.0),
    _of("informative", "parts with easy defects have more of them", 100, 100, _two(0.2), informative=0.5),
    _of("little validation", "2 pictures, 3 defects", 200, 50, _two(0.2)),
    _of("different", "2 pictures, 3 defects; FN rates 0.15 and 0.25", 150, 150, _two(0.15, 0.25)),
)
"""Both detectors have the same true FN rate, but in the last."""

STEPS = (0.05, 0.1, 0.15, 0.2)
POWER = tuple(
    _of(f"{name} +{step:g}", f"0.15 against {0.15 + step:.2f}", units, units, _two(0.15, 0.15 + step))
    for name, units in (("power 100", 100), ("power 250", 250))
    for step in STEPS
)
"""Differences from 5 to 20 points, on 100 and on 250 units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """POD: `units` of 1 to `most` defects each, log sizes normal about 1 with deviation 1; POD logistic in log size.

    alike  correlation of the latent scores of a unit's defects; POD by size is the same whatever it is
    """

    name: str
    says: str
    units: int
    most: int = 1
    alike: float = 0.0
    intercept: float = -1.0
    slope: float = 1.8


POD = (
    Sizes(name="pod 100", says="one defect a unit", units=100),
    Sizes(name="pod 300", says="one defect a unit", units=300),
    Sizes(name="pod clusters 50", says="1 to 5 defects, alike", units=50, most=5, alike=0.4),
    Sizes(name="pod clusters 100", says="1 to 5 defects, alike", units=100, most=5, alike=0.4),
    Sizes(name="pod clusters 100 big", says="1 to 11 defects, very alike", units=100, most=11, alike=0.7),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Two detectors trained `seeds` times each; `varies`: deviation of the trainings' FN rates, on the probit scale."""

    name: str
    seeds: int
    varies: float
    fn_rate: float = 0.2
    budget: float = 0.1
    test: int = 100
    validation: int = 100


SEEDS = (
    Seeds(name="seeds 3 alike", seeds=3, varies=0.05),
    Seeds(name="seeds 3 unlike", seeds=3, varies=0.25),
    Seeds(name="seeds 5 unlike", seeds=5, varies=0.25),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A detector held against a baseline that is as good, as in one of the scenarios.

    own_validation  whether the baseline's threshold was chosen on other units
    """

    name: str
    like: Scenario
    own_validation: bool


GATE = tuple(
    Gate(name=f"gate {one.name}{', own' if own else ''}", like=one, own_validation=own)
    for one in COVERAGE
    if one.name in {"many small", "middling", "few, large", "very few", "low FN rate, few", "little validation"}
    for own in (False, True)
)
"""On the same validation units, and on other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Thresholds by `policy` (of the command line, after `per class ` where each class has its own)."""

    name: str
    policy: str
    population: Population
    test: int
    validation: int
    classes: Classes = ONE


_ALIKE = Population(machines=(Machine(fn_rate=0.2, budget=0.1), Machine(fn_rate=0.2, budget=0.1, own=0.25, scale=0.5)))
POLICIES = tuple(
    Chosen(name=f"{policy} {units}", policy=policy, population=_ALIKE, test=units, validation=units, classes=classes)
    for policy, classes in (
        ("overkill<=0.1", ONE),
        ("recall>=0.8", ONE),
        ("f1", ONE),
        ("cost", ONE),
        ("per class fppi<=0.1", THREE),
        ("per class fppi<=0.5", THREE),
    )
    for units in (100, 300)
)
"""Up to 3 pictures a part, 3 defects; the detectors differ in score scale and clustering only."""
