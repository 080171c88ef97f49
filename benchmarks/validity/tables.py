"""The tables of docs/validity.md, from what simulate.py wrote.

python benchmarks/validity/tables.py [DIR] [--into docs/validity.md]   prints them, or renews them in the page
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import records
from scenarios import COVERAGE, GATE, POD, POLICIES, POWER, SEEDS, STEPS

from defect_detect.evaluation.statistics import ALPHA

BAND = (93.0, 97.0)
LEVEL_BAND = (3.0, 6.0)
FIGURES = ("fn_rate", "fppi", "escape_rate", "overkill_rate")
DIFFERENT = "different"
ENOUGH = 300
"""Fewer datasets are no row yet."""
Rows = list[dict[str, Any]]


def coverage(told: Sequence[Sequence[Any]]) -> tuple[float, float, float]:
    """Percent of the intervals that hold the truth; percent of truths below, and above them."""
    low, high, truth = (np.array([row[i] for row in told], float) for i in range(3))
    known = ~np.isnan(low)
    low, high, truth = low[known], high[known], truth[known]
    below, above = 100 * float(np.mean(truth < low)), 100 * float(np.mean(truth > high))
    return 100 - below - above, below, above


def _cell(told: Sequence[Sequence[Any]], band: tuple[float, float] = BAND) -> str:
    """`95.1 (2.3 / 2.6)`, bold outside the band."""
    covered, below, above = coverage(told)
    return f"{_marked(covered, band)} ({below:.1f} / {above:.1f})"


def _marked(value: float, band: tuple[float, float]) -> str:
    return f"{value:.1f}" if band[0] <= value <= band[1] else f"**{value:.1f}**"


def _detectors(rows: Rows, figure: str, kind: str) -> list[Any]:
    return [row[name][figure][kind] for row in rows for name in "ab"]


def main_table(data: dict[str, Rows]) -> Iterable[str]:
    """FN rate and difference."""
    yield "| scenario | units test / val | datasets | FN rate, this threshold | FN rate, this policy | difference |"
    yield "| --- | --- | ---: | --- | --- | --- |"
    for scenario in COVERAGE:
        rows = data[scenario.name]
        if rows:
            cells = [
                _cell(_detectors(rows, "fn_rate", "threshold")),
                _cell(_detectors(rows, "fn_rate", "policy")),
                _cell([row["difference"] for row in rows]),
            ]
            about = f"{scenario.name}: {scenario.says}"
            yield f"| {about} | {scenario.test} / {scenario.validation} | {len(rows):,} | {' | '.join(cells)} |"


def others_table(data: dict[str, Rows]) -> Iterable[str]:
    """The other figures."""
    yield (
        "| scenario | FPPI | escape, threshold | escape, policy | overkill, threshold | overkill, policy | "
        "FPPI, difference |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for scenario in COVERAGE:
        rows = data[scenario.name]
        if rows:
            cells = [
                _cell(_detectors(rows, "fppi", "threshold")),
                _cell(_detectors(rows, "escape_rate", "threshold")),
                _cell(_detectors(rows, "escape_rate", "policy")),
                _cell(_detectors(rows, "overkill_rate", "threshold")),
                _cell(_detectors(rows, "overkill_rate", "policy")),
                _cell([row["fppi_difference"] for row in rows]),
            ]
            yield f"| {scenario.name} | {' | '.join(cells)} |"


def tests_table(data: dict[str, Rows]) -> Iterable[str]:
    """Percent of datasets in which a true 'no difference' is rejected."""
    yield (
        "| scenario | sign flips, fixed score | Student's, policy | McNemar, fixed score | "
        "flips at the thresholds in use, policy |"
    )
    yield "| --- | ---: | ---: | ---: | ---: |"
    for scenario in COVERAGE:
        rows = data[scenario.name]
        if rows and scenario.name != DIFFERENT:
            fixed = 100 * float(np.mean([row["fixed"]["sign_flip"] < ALPHA for row in rows]))
            # Where none or all were missed the interval is wider than the test's; the verdict asks for both.
            anew = 100 * float(np.mean([not row["difference"][0] <= 0 <= row["difference"][1] for row in rows]))
            naive = 100 * float(np.mean([row["fixed"]["mcnemar"] < ALPHA for row in rows]))
            alone = 100 * float(np.mean([row["p_in_use"] < ALPHA for row in rows]))
            yield (
                f"| {scenario.name} | {_marked(fixed, LEVEL_BAND)} | {_marked(anew, LEVEL_BAND)} | {naive:.1f} | "
                f"{alone:.1f} |"
            )


def power_table(data: dict[str, Rows]) -> Iterable[str]:
    """Percent of datasets in which a true difference is shown, and what was said to be detectable there."""
    steps = " | ".join(f"+{100 * step:g} points" for step in STEPS)
    yield f"| units | datasets each | {steps} | 80 % at | said there | power at that |"
    yield "| --- |" + " ---: |" * (len(STEPS) + 4)
    for units in sorted({scenario.test for scenario in POWER}):
        rows = [data[scenario.name] for scenario in POWER if scenario.test == units]
        if all(rows):
            power = [float(np.mean([row["shown"] and row["value"] < 0 for row in part])) for part in rows]
            seen = float(np.interp(0.8, power, STEPS)) if power[-1] > 0.8 else float("nan")
            medians = [float(np.median([row["smallest_detectable"] for row in part])) for part in rows]
            said = float(np.interp(seen, STEPS, medians))
            at_said = 100 * float(np.interp(said, STEPS, power))
            cells = " | ".join(f"{100 * one:.0f}" for one in power)
            yield (
                f"| {units} | {len(rows[0])} | {cells} | {100 * seen:.1f} points | {100 * said:.1f} points | "
                f"{at_said:.0f} |"
            )


def methods_table(data: dict[str, Rows]) -> Iterable[str]:
    """How often exact bounds spoke for the FN rate in a scenario, and what its intervals cover all in all."""
    yield "| scenario | misses of a detector: median (least to most) | exact bound | this threshold | this policy |"
    yield "| --- | ---: | ---: | --- | --- |"
    for scenario in COVERAGE:
        rows = data[scenario.name]
        missed = [row[name]["missed"] for row in rows for name in "ab"]
        exact = [row[name]["fn_rate"]["threshold"][3].startswith("exact") for row in rows for name in "ab"]
        if any(exact):
            cells = " | ".join(_cell(_detectors(rows, "fn_rate", kind)) for kind in ("threshold", "policy"))
            yield (
                f"| {scenario.name} | {np.median(missed):.0f} ({min(missed)} to {max(missed)}) | "
                f"{100 * float(np.mean(exact)):.1f} % | {cells} |"
            )


def pod_table(data: dict[str, Rows]) -> Iterable[str]:
    """How often a90/95 lies at or over the true a90, among the datasets in which a90 could be told."""
    yield "| scenario | units | datasets | a90 told | a90/95 bounds a90 | no upper end | median a90/95 over a90 |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for scenario in POD:
        rows = data[scenario.name]
        told = [row for row in rows if row["status"] == "ok"]
        if told:
            bound = np.array([np.inf if row["a90_95"] is None else row["a90_95"] for row in told])
            truth = told[0]["truth"]
            covered, endless = 100 * float(np.mean(bound >= truth)), 100 * float(np.isinf(bound).mean())
            yield (
                f"| {scenario.name}: {scenario.says} | {scenario.units} | {len(rows):,} | "
                f"{100 * len(told) / len(rows):.1f} % | {_marked(covered, BAND)} | {endless:.1f} % | "
                f"{float(np.median(bound)) / truth:.2f} |"
            )


def seeds_table(data: dict[str, Rows]) -> Iterable[str]:
    """Detectors trained several times."""
    yield "| scenario | datasets | FN rate, this policy | difference | test rejects | test and interval |"
    yield "| --- | ---: | --- | --- | ---: | ---: |"
    for scenario in SEEDS:
        rows = data[scenario.name]
        if rows:
            cells = " | ".join(_cell([row[name] for row in rows]) for name in ("policy", "difference"))
            level = 100 * float(np.mean([row["p"] < ALPHA for row in rows]))
            both = 100 * float(np.mean([row["shown"] for row in rows]))
            yield f"| {scenario.name} | {len(rows):,} | {cells} | {_marked(level, LEVEL_BAND)} | {both:.1f} |"


def gate_table(data: dict[str, Rows]) -> Iterable[str]:
    """Percent of datasets in which a detector as good as its baseline is told from it, and fails the gate."""
    yield "| scenario | baseline's validation | datasets | p < 0.05 | gate fails | flips at the thresholds in use |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for scenario in GATE:
        rows = data[scenario.name]
        if len(rows) >= ENOUGH:
            level = _marked(100 * float(np.mean([row["p"] < ALPHA for row in rows])), LEVEL_BAND)
            fails = 100 * float(np.mean([row["failed"] for row in rows]))
            alone = 100 * float(np.mean([row["p_in_use"] < ALPHA for row in rows]))
            on = "other units" if scenario.own_validation else "the same units"
            yield f"| {scenario.like.name} | {on} | {len(rows):,} | {level} | {fails:.1f} | {alone:.1f} |"


def policies_table(data: dict[str, Rows]) -> Iterable[str]:
    """The compared figure under other policies. `on test`: its mean at the thresholds chosen, and the population's."""
    columns = ("policy", "units test / val", "datasets", "figure", "on test (truth)", "this threshold", "this policy")
    yield f"| {' | '.join(columns)} | difference |"
    yield "| --- | --- | ---: | --- | --- | --- | --- | --- |"
    for scenario in POLICIES:
        rows = data[scenario.name]
        if len(rows) >= ENOUGH:
            kinds = [[row[name][kind] for row in rows for name in "ab"] for kind in ("threshold", "policy")]
            cells = [_cell(told) for told in (*kinds, [row["difference"] for row in rows])]
            mean = float(np.mean([row[name]["value"] for row in rows for name in "ab" if row[name]["measured"]]))
            figure = "FPPI" if scenario.policy.startswith("recall") else "FN rate"
            yield (
                f"| `{scenario.policy}` | {scenario.test} / {scenario.validation} | {len(rows):,} | {figure} | "
                f"{mean:.3f} ({np.mean([one[2] for one in kinds[1]]):.3f}) | {' | '.join(cells)} |"
            )


TABLES = {
    "coverage": main_table,
    "others": others_table,
    "tests": tests_table,
    "gate": gate_table,
    "policies": policies_table,
    "power": power_table,
    "exact": methods_table,
    "seeds": seeds_table,
    "pod": pod_table,
}


def written(page: str, tables: dict[str, str]) -> str:
    """The page with each table in place of what stands between its two marks, `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        if page.count(start) != 1:
            raise SystemExit(f"The page has no place for the table {name!r}.")
        before, rest = page.split(start)
        page = f"{before}{start}{table}\n{end}{rest.split(end, 1)[1]}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--into", type=Path, metavar="PAGE")
    said = parser.parse_args()
    data = {one.name: records.read(said.root, one.name) for one in (*COVERAGE, *POWER, *POD, *SEEDS, *GATE, *POLICIES)}
    made = {name: "\n".join(table(data)) for name, table in TABLES.items()}
    if said.into is None:
        print("\n\n".join(f"### {name}\n\n{table}" for name, table in made.items()))
    else:
        said.into.write_text(written(said.into.read_text(), made))


if __name__ == "__main__":
    main()
