"""The simulated population is what its formulas say, and a simulation goes on where it stopped."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parents[1] / "benchmarks" / "validity"
NAMES = (
    "population", "policies", "records", "scenarios", "simulate", "simulate_pod", "simulate_gate",
    "simulate_policies", "tables",
)  # fmt: skip


@pytest.fixture(scope="module")
def validity():
    kept = {name: sys.modules.pop(name, None) for name in NAMES}
    sys.path.insert(0, str(HERE))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(HERE))
        for name in NAMES:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in kept.items() if module is not None})


@pytest.mark.parametrize("informative", [0.0, 0.5])
def test_the_true_rates_are_those_of_many_units(validity, informative):
    population = validity["population"]
    machines = (
        population.Machine(fn_rate=0.2, budget=0.1),
        population.Machine(fn_rate=0.05, budget=0.5, alarms=3.0, scale=0.5),
    )
    many = population.Population(machines=machines, informative=informative)
    sample = population.draw_units(many, np.random.default_rng(1), 60_000)

    for place, machine in enumerate(machines):
        at = population.limit(machine)
        score = float(population.score_of(machine, at))
        assert score == pytest.approx(0.5)
        assert population.latent_of(machine, score) == pytest.approx(at)
        assert (sample.latent[place] < at).mean() == pytest.approx(machine.fn_rate, abs=0.006)
        assert population.fn_rate(many, machine, score) == pytest.approx(machine.fn_rate)
        alarms = (sample.alarm_latent[place] >= at).sum() / sample.images.sum()
        assert alarms == pytest.approx(machine.budget, rel=0.04)
        assert population.fppi(machine, score) == pytest.approx(machine.budget)


def test_units_miss_alike_and_detectors_miss_the_same(validity):
    population = validity["population"]
    machines = (population.Machine(fn_rate=0.2, budget=0.1),) * 2
    sample = population.draw_units(population.Population(machines=machines), np.random.default_rng(2), 20_000)
    missed = [latent < population.limit(machines[0]) for latent in sample.latent]
    of = np.bincount(sample.unit, minlength=20_000)
    count = np.bincount(sample.unit, missed[0], minlength=20_000)

    between = ((count - 0.2 * of) ** 2).sum() / of.sum()

    # Were the defects of a unit independent, the variance would be p (1 - p).
    assert between > 1.2 * 0.2 * 0.8
    assert (missed[0] & missed[1]).mean() > 1.5 * 0.2**2


def test_a_simulation_goes_on_where_it_stopped_and_is_the_same(validity, tmp_path, capsys):
    simulate, scenarios, records = validity["simulate"], validity["scenarios"], validity["records"]
    few = next(one for one in scenarios.COVERAGE if one.name == "few, small")

    def one(number):
        return simulate.simulate(few, number, 40)

    records.fill(tmp_path / "at once", few.name, 3, one)
    records.fill(tmp_path / "twice", few.name, 1, one)
    path = records.path_of(tmp_path / "twice", few.name)
    path.write_text(path.read_text() + '{"number": 1, "a": {')
    records.fill(tmp_path / "twice", few.name, 3, one)

    assert path.read_text() == records.path_of(tmp_path / "at once", few.name).read_text()
    rows = records.read(tmp_path / "twice", few.name)
    assert [row["number"] for row in rows] == [0, 1, 2]
    for row in rows:
        low, high, truth, _ = row["a"]["fn_rate"]["policy"]
        assert truth == 0.2
        assert 0 <= low < high <= 1
        assert 0 <= row["p"] <= 1


def test_tables_tell_what_was_covered(validity, tmp_path):
    tables = validity["tables"]

    covered, below, above = tables.coverage([[0.1, 0.3, 0.2], [0.1, 0.3, 0.05], [0.1, 0.3, 0.4], [0.1, 0.3, 0.3]])

    assert (covered, below, above) == (50.0, 25.0, 25.0)
    scenario = validity["scenarios"].POD[0]
    rows = [validity["simulate_pod"].simulate(scenario, number, 40) for number in range(2)]
    validity["records"].path_of(tmp_path, scenario.name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = list(tables.pod_table({one.name: validity["records"].read(tmp_path, one.name) for one in tables.POD}))
    assert len(lines) == 3
    assert "| 2 |" in lines[-1]


def test_tables_are_renewed_in_their_place(validity):
    tables = validity["tables"]
    page = "Before\n<!-- power -->\nold\n<!-- end -->\nafter\n<!-- pod -->\n<!-- end -->\n"

    got = tables.written(page, {"power": "| new |", "pod": "| too |"})

    assert got == "Before\n<!-- power -->\n| new |\n<!-- end -->\nafter\n<!-- pod -->\n| too |\n<!-- end -->\n"
    assert tables.written(got, {"power": "| new |"}) == got
    with pytest.raises(SystemExit, match="no place for the table 'seeds'"):
        tables.written(page, {"seeds": ""})


def test_the_page_has_a_place_for_every_table(validity):
    page = (HERE.parents[1] / "docs" / "validity.md").read_text()

    assert all(page.count(f"<!-- {name} -->\n") == 1 for name in validity["tables"].TABLES)


def test_thresholds_of_the_population_meet_their_policies(validity):
    policies, scenarios, population = (validity[name] for name in ("policies", "scenarios", "population"))
    many = scenarios.POLICIES[0].population
    machine = many.machines[0]

    def at(policy, classes=policies.ONE):
        return np.array(policies.thresholds(many, 0, policy, classes))

    assert policies.fppi(machine, policies.ONE, at("fppi<=0.1")) == pytest.approx(0.1)
    assert policies.fn_rate(many, machine, policies.ONE, at("recall>=0.8")) == pytest.approx(0.2, abs=1e-4)
    assert population.unit_rates(many)[0].overkill(at("overkill<=0.1")[0]) == pytest.approx(0.1, abs=1e-3)
    by_class = at("per class fppi<=0.1", policies.THREE)
    assert policies.fppi(machine, policies.THREE, by_class) == pytest.approx(0.1, abs=2e-3)
    least = policies.fn_rate(many, machine, policies.THREE, by_class)
    for step in (np.array([0.2, 0, 0]), np.array([0, -0.2, 0]), np.array([0, 0, 0.2])):
        # Whoever buys misses of one class with false alarms of the others pays more.
        moved, others = by_class + step, step == 0
        for _ in range(60):
            off = policies.fppi(machine, policies.THREE, moved) - 0.1
            moved[others] += 0.5 * off
        assert policies.fn_rate(many, machine, policies.THREE, moved) > least


def test_classes_have_the_rates_that_they_were_given(validity):
    policies, scenarios, population = (validity[name] for name in ("policies", "scenarios", "population"))
    many, rng = scenarios.POLICIES[0].population, np.random.default_rng(3)
    sample = policies.with_classes(population.draw_units(many, rng, 40_000), policies.THREE, rng)
    machine, at = many.machines[0], np.array([1.2, 1.8, 1.5])

    missed = (sample.latent[0] < at[sample.label]).mean()
    alarms = (sample.alarm_latent[0] >= at[sample.alarm_label[0]]).sum() / sample.images.sum()

    assert missed == pytest.approx(policies.fn_rate(many, machine, policies.THREE, at), abs=0.008)
    assert alarms == pytest.approx(policies.fppi(machine, policies.THREE, at), rel=0.04)


def test_the_other_simulations_run_through(validity):
    scenarios = validity["scenarios"]
    own = next(one for one in scenarios.GATE if one.own_validation and one.like.test < 50)
    told = validity["simulate_gate"].simulate(own, 0, 50)
    assert 0 <= told["p"] <= 1
    assert told["failed"] <= (told["p"] < 0.05)

    by_class = next(one for one in scenarios.POLICIES if one.policy.startswith("per class"))
    low, high, truth = validity["simulate_policies"].simulate(by_class, 0, 50)["a"]["threshold"]
    assert 0 < low < high < 1
    assert 0 < truth < 1
