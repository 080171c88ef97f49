"""Two models of one kind, the second held against the first as its baseline: how often does the gate fail for nothing?

python benchmarks/validity/simulate_gate.py [--out DIR] [--datasets 1000] [--resamples 500] [--only NAME ...]

Both have the same FN rate at the policy's threshold in the population, and are judged on the same test units. Each
threshold is chosen on validation: on the same units, or on units of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import records
from population import tables
from scenarios import GATE, Gate

from defect_detect.evaluation import gate
from defect_detect.evaluation.baseline import worse
from defect_detect.evaluation.entrant import Draws, enter
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.statistics import sign_flip
from defect_detect.tables import Column

(WORSE,) = [one for one in gate.parse(["worse than baseline, p < 0.05"]) if isinstance(one, gate.Regression)]


@cache
def _weights(units: int, resamples: int, which: int) -> Column:
    # As in `compare`: the seed is fixed, so datasets of a size share their resamples.
    return draw(np.random.default_rng([0, which]), units, resamples)


def simulate(scenario: Gate, number: int, resamples: int) -> dict[str, object]:
    """What the gate says of one dataset."""
    of = scenario.like
    rng = np.random.default_rng([zlib.crc32(scenario.name.encode()), number])
    validation, before = tables(of.population, rng, of.validation, "val")
    test, said = tables(of.population, rng, of.test, "test")
    draws = Draws(
        seed=number,
        test=_weights(of.test, resamples, 0),
        validation=_weights(of.validation, resamples, 1),
    )
    splits = [(validation, before[0], draws), (validation, before[1], draws)]
    if scenario.own_validation:
        own, then = tables(of.population, rng, of.validation, "val")
        weights = _weights(of.validation, resamples, 2)
        splits[1] = (own, then[1], replace(draws, validation=weights))
    now, old = (
        enter(
            Contender(
                name=name,
                runs=(Run(seed=0, test=evaluate(test, one), validation=evaluate(on, past), manifest=None),),
            ),
            parse_policy(f"fppi<={of.budget}"),
            weights,
        )
        for name, one, (on, past, weights) in zip(("new", "old"), said, splits, strict=True)
    )
    (told,) = worse(WORSE, [(now, old)], figure="fn_rate", seed=number)
    flips = sign_flip(np.subtract(now.per_unit("fn_rate")[0], old.per_unit("fn_rate")[0]), seed=number)
    return {"number": number, "p": told.value, "failed": told.failed, "p_in_use": flips}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    for scenario in (one for one in GATE if not said.only or one.name in said.only):
        records.fill(said.out, scenario.name, said.datasets, partial(simulate, scenario, resamples=said.resamples))


if __name__ == "__main__":
    main()
