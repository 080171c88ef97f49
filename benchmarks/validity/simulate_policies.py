"""Policies other than one threshold within a budget of false alarms: do *this threshold* and *this policy* cover?

python benchmarks/validity/simulate_policies.py [--out DIR] [--datasets 1000] [--resamples 500] [--only NAME ...]

Under `recall>=x` the figure is FPPI, else the FN rate. What each policy chooses in the population is in policies.py.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from functools import cache, partial
from pathlib import Path

import numpy as np
import records
from policies import fn_rate, fppi, thresholds, with_classes
from population import Machine, draw_units, latent_of, tables_of
from scenarios import POLICIES, Chosen

from defect_detect.evaluation.comparison import Interval
from defect_detect.evaluation.entrant import Draws, enter
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.pairs import difference
from defect_detect.evaluation.resampling import draw
from defect_detect.tables import Column

COSTS = {"escape": 10.0, "overkill": 1.0}
PREVALENCE = 0.05


@cache
def _weights(units: int, resamples: int, which: int) -> Column:
    # As in `compare`: the seed is fixed, so datasets of a size share their resamples.
    return draw(np.random.default_rng([0, which]), units, resamples)


def simulate(scenario: Chosen, number: int, resamples: int) -> dict[str, object]:
    """What the comparison says of one dataset, beside the truth."""
    population, classes = scenario.population, scenario.classes
    rng = np.random.default_rng([zlib.crc32(scenario.name.encode()), number])
    (validation, before), (test, said) = (
        tables_of(population, with_classes(draw_units(population, rng, units), classes, rng), rng, split)
        for units, split in ((scenario.validation, "val"), (scenario.test, "test"))
    )
    draws = Draws(
        seed=number,
        test=_weights(scenario.test, resamples, 0),
        validation=_weights(scenario.validation, resamples, 1),
    )
    per_class = scenario.policy.startswith("per class ")
    policy = parse_policy(scenario.policy.removeprefix("per class "), COSTS, PREVALENCE, per_class=per_class)
    figure = "fppi" if policy.kind == "recall" else "fn_rate"
    entrants = [
        enter(
            Contender(
                name=name,
                runs=(Run(seed=0, test=evaluate(test, one), validation=evaluate(validation, old), manifest=None),),
            ),
            policy,
            draws,
        )
        for name, one, old in zip("AB", said, before, strict=True)
    ]

    def truth(machine: Machine, latent: np.ndarray) -> float:
        if figure == "fppi":
            return fppi(machine, classes, latent)
        return fn_rate(population, machine, classes, latent)

    told: dict[str, object] = {"number": number}
    at_policy = []
    for place, (machine, entrant) in enumerate(zip(population.machines, entrants, strict=True)):
        score = entrant.by_label[0]
        used = np.array([latent_of(machine, one) if np.isfinite(one) else np.inf for one in score])
        at_policy.append(truth(machine, np.array(thresholds(population, place, scenario.policy, classes))))
        estimate = getattr(figures(entrant), figure)
        told["ab"[place]] = {
            "threshold": _told(estimate.this_threshold, truth(machine, used)),
            "policy": _told(estimate.this_policy, at_policy[-1]),
            "value": estimate.rate.value,
            "measured": entrant.measured,
        }
    between = difference(*entrants, figure, number, tested=True)
    return told | {"difference": _told(between.interval, at_policy[0] - at_policy[1]), "p": between.p}


def _told(interval: Interval | None, truth: float) -> list[float | None]:
    return [interval.low, interval.high, truth] if interval is not None else [None, None, truth]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    for scenario in (one for one in POLICIES if not said.only or one.name in said.only):
        records.fill(said.out, scenario.name, said.datasets, partial(simulate, scenario, resamples=said.resamples))


if __name__ == "__main__":
    main()
