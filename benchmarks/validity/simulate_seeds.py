"""Detectors trained several times: do the policy's intervals cover the mean over all trainings there might be?

python benchmarks/validity/simulate_seeds.py [--out DIR] [--datasets 1000] [--resamples 500] [--only NAME ...]

Each training's FN rate at the population's threshold is a draw: normal on the probit scale, so that the mean over all
trainings is known by formula. Both detectors have the same.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import records
from population import Machine, Population, tables
from scenarios import SEEDS, Seeds
from scipy import special

from defect_detect.evaluation.comparison import Interval
from defect_detect.evaluation.entrant import Draws, enter
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.froc_figures import DrawnFroc
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.pairs import pairs, shown
from defect_detect.evaluation.resampling import draw


def simulate(scenario: Seeds, number: int, resamples: int) -> dict[str, object]:
    """What the comparison says of two detectors of several seeds each, beside the truth."""
    rng = np.random.default_rng([zlib.crc32(scenario.name.encode()), number])
    middle = special.ndtri(scenario.fn_rate) * np.sqrt(1 + scenario.varies**2)
    rates = special.ndtr(middle + scenario.varies * rng.normal(size=2 * scenario.seeds))
    machines = tuple(Machine(fn_rate=float(rate), budget=scenario.budget) for rate in rates)
    population = Population(machines=machines)
    validation, before = tables(population, rng, scenario.validation, "val")
    test, said = tables(population, rng, scenario.test, "test")
    sizes = ((scenario.test, 0), (scenario.validation, 1))
    drawn = [draw(np.random.default_rng([0, which]), units, resamples) for units, which in sizes]
    draws = Draws(seed=number, test=drawn[0], validation=drawn[1])
    runs = [
        Run(seed=place, test=evaluate(test, one), validation=evaluate(validation, old), manifest=None)
        for place, (one, old) in enumerate(zip(said, before, strict=True))
    ]
    contenders = (
        Contender(name="A", runs=tuple(runs[: scenario.seeds])),
        Contender(name="B", runs=tuple(runs[scenario.seeds :])),
    )
    policy = parse_policy(f"fppi<={scenario.budget}")
    entrants = [enter(contender, policy, draws) for contender in contenders]
    none = DrawnFroc(fppi=np.zeros(0), recall=np.zeros((resamples, 0)), area=np.nan, areas=np.full(resamples, np.nan))
    pair = pairs(entrants, draws, dict.fromkeys("AB", none), "fn_rate")[0]
    return {
        "number": number,
        "policy": _told(figures(entrants[0]).fn_rate.this_policy, scenario.fn_rate),
        "difference": _told(pair.fn_rate.interval, 0.0),
        "p": pair.fn_rate.p,
        "shown": shown(pair.fn_rate),
    }


def _told(interval: Interval | None, truth: float) -> list[float | None]:
    return [interval.low, interval.high, truth] if interval is not None else [None, None, truth]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    for scenario in (one for one in SEEDS if not said.only or one.name in said.only):
        records.fill(said.out, scenario.name, said.datasets, partial(simulate, scenario, resamples=said.resamples))


if __name__ == "__main__":
    main()
