"""Simulated datasets through the real comparison: does each interval cover the truth, does each test keep its level?

python benchmarks/validity/simulate.py [--out DIR] [--datasets 1000] [--resamples 500] [--only NAME ...]

One line of JSON a dataset, in DIR/<scenario>.jsonl; a later call goes on where an earlier one stopped. Each dataset is
drawn from a generator of its scenario and number, so any of them can be drawn again. The sums are small: run it with
OMP_NUM_THREADS=1. Then: tables.py DIR.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from functools import cache, partial
from pathlib import Path

import numpy as np
import records
from population import Machine, Population, UnitRates, fn_rate, fppi, latent_of, limit, tables, unit_rates
from scenarios import COVERAGE, POWER, Scenario

from defect_detect.evaluation.comparison import Estimate, Interval
from defect_detect.evaluation.entrant import Draws, Entrant, enter
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.froc_figures import DrawnFroc
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import FIGURES, Scored, tally
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.pairs import pairs, shown
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.statistics import mcnemar, sign_flip
from defect_detect.tables import Column

AT = 0.5
"""The score at which a machine's FPPI is its budget."""


@cache
def _weights(units: int, resamples: int, which: int) -> Column:
    # As in `compare`: the seed is fixed, so datasets of a size share their resamples.
    return draw(np.random.default_rng([0, which]), units, resamples)


def simulate(scenario: Scenario, number: int, resamples: int) -> dict[str, object]:
    """What the comparison says of one dataset, beside the truth."""
    population = scenario.population
    rng = np.random.default_rng([zlib.crc32(scenario.name.encode()), number])
    validation, said_before = tables(population, rng, scenario.validation, "val")
    test, said = tables(population, rng, scenario.test, "test")
    draws = Draws(
        seed=number,
        test=_weights(scenario.test, resamples, 0),
        validation=_weights(scenario.validation, resamples, 1),
    )
    policy = parse_policy(f"fppi<={scenario.budget}")
    entrants = [
        enter(Contender(name=name, runs=(_run(test, one, validation, before),)), policy, draws)
        for name, one, before in zip("AB", said, said_before, strict=True)
    ]
    # No verdict is asked for, so the area under FROC, which could only bring more of them, is left out.
    none = DrawnFroc(fppi=np.zeros(0), recall=np.zeros((resamples, 0)), area=np.nan, areas=np.full(resamples, np.nan))
    pair = pairs(entrants, draws, dict.fromkeys("AB", none), "fn_rate")[0]
    a, b = population.machines
    return {
        "number": number,
        "a": _detector(entrants[0], population, a, unit_rates(population)[0]),
        "b": _detector(entrants[1], population, b, unit_rates(population)[1]),
        "difference": _told(pair.fn_rate.interval, a.fn_rate - b.fn_rate),
        "value": pair.fn_rate.value,
        "p": pair.fn_rate.p,
        "shown": shown(pair.fn_rate),
        "outcome": pair.outcome,
        "smallest_detectable": pair.smallest_detectable,
        "fppi_difference": _told(pair.fppi.interval, _true_fppi(entrants[0], a) - _true_fppi(entrants[1], b)),
        "p_in_use": sign_flip(np.subtract(*(one.per_unit("fn_rate")[0] for one in entrants)), seed=number),
        "fixed": _at_fixed_scores([one.test[0] for one in entrants], number),
    }


def _run(test, said, validation, before) -> Run:  # noqa: ANN001 - tables, as `evaluate` takes them
    return Run(seed=0, test=evaluate(test, said), validation=evaluate(validation, before), manifest=None)


def _true_fppi(entrant: Entrant, machine: Machine) -> float:
    return fppi(machine, entrant.threshold[0])


def _detector(entrant: Entrant, population: Population, machine: Machine, rates: UnitRates) -> dict[str, object]:
    """Every interval with the truth that it should cover: at the threshold in use, and at the population's."""
    found = figures(entrant)
    score = entrant.threshold[0]
    used = latent_of(machine, score) if np.isfinite(score) else np.inf
    truth: dict[str, tuple[float, float]] = {
        "fn_rate": (fn_rate(population, machine, score), machine.fn_rate),
        "fppi": (fppi(machine, score), machine.budget),
        "escape_rate": (rates.escape(used), rates.escape(limit(machine))),
        "overkill_rate": (rates.overkill(used), rates.overkill(limit(machine))),
    }
    told: dict[str, object] = {"missed": int(entrant.count[0, :, 0].sum()), "reached": bool(np.isfinite(score))}
    for name, (at_score, at_policy) in truth.items():
        estimate: Estimate = getattr(found, name)
        told[name] = {"threshold": _told(estimate.this_threshold, at_score)}
        if name != "fppi":  # the policy fixes it: there is nothing to estimate
            told[name]["policy"] = _told(estimate.this_policy, at_policy)  # type: ignore[index]
    return told


def _told(interval: Interval | None, truth: float) -> list[float | str | None]:
    """Low, high, truth, and which method it was."""
    if interval is None:
        return [None, None, truth, None]
    return [interval.low, interval.high, truth, interval.method.split(",")[0].split(" over")[0]]


def _at_fixed_scores(tables: list[Scored], number: int) -> dict[str, float]:
    """Both tests at fixed scores, where the two FN rates are the same by construction (if they are at the policy)."""
    column = FIGURES.index("fn_rate")
    a, b = (tally(table, np.array([AT]))[:, column].astype(float) for table in tables)
    missed = [table.found_at < AT for table in tables]
    only = [int((one & ~other).sum()) for one, other in (missed, missed[::-1])]
    return {"sign_flip": sign_flip(a - b, seed=number), "mcnemar": mcnemar(*only)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    for scenario in (*COVERAGE, *POWER):
        if not said.only or any(scenario.name.startswith(name) for name in said.only):
            records.fill(said.out, scenario.name, said.datasets, partial(simulate, scenario, resamples=said.resamples))


if __name__ == "__main__":
    main()
