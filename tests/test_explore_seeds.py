"""Detectors of several seeds in the Missed defects panel: every count is what its click opens."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from defect_detect.evaluation.compare import drawn
from defect_detect.evaluation.judged import Contender, Rule, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.sliced import sliced
from defect_detect.explore import columns, selected
from defect_detect.explore.plugin import sheets
from defect_detect.explore.plugin.asked import asked
from defect_detect.explore.plugin.shown import show
from tests import scenes
from tests.explored import another, compared, judged_by

SEEDS = {"three": (0, 1, 2), "two": (4, 5), "one": (7,)}
INTERVAL = r"\d+\.\d %( \[[\d.]+\u00a0to\u00a0[\d.]+\])?"


@pytest.fixture(scope="module")
def held():
    truth, _ = scenes.scene(5, images=16, groups=9)
    line = {"line": np.array([f"L{row % 2}" for row in range(16)])}
    truth = dataclasses.replace(truth, images=dataclasses.replace(truth.images, attribute=line))
    said = {(name, seed): another(truth, seed) for name, seeds in SEEDS.items() for seed in seeds}
    contenders = tuple(
        Contender(name=name, runs=tuple(
            Run(seed=seed, test=evaluate(truth, said[name, seed]), validation=None, manifest=None) for seed in seeds
        ))
        for name, seeds in SEEDS.items()
    )  # fmt: skip
    draws = dataclasses.replace(drawn(contenders, 0, 40), validation=None)
    return columns.laid_out(Path("nowhere"), compared(judged_by(truth, said)), contenders, Rule(), draws)


@pytest.fixture
def shown(held, monkeypatch):
    monkeypatch.setattr(columns, "load", lambda _folder: held)
    return show(held.folder, asked({"operating": "score", "score": 0.4}, held))


def missed(shown) -> dict[str, set[int]]:
    """Detector -> the defects that more than half of its seeds miss, defect by defect."""
    return {
        one.name: {
            row
            for row in np.flatnonzero(shown.held.truth.defects.counts).tolist()
            if sum(not seed.found[row] for seed in one.judged) > len(one.judged) / 2
        }
        for one in shown.entrants
    }


def opened(click: sheets.Click) -> set[int]:
    return set(np.flatnonzero(click.where).tolist())


def test_rates_are_means_over_seeds_and_counts_what_most_seeds_miss(shown):
    sheet, lost = sheets.figures(shown), missed(shown)
    total = int(shown.held.truth.defects.counts.sum())
    assert sheet.columns[1:3] == ("most seeds miss", "FN rate, mean of seeds")
    differ = []
    for number, row in enumerate(sheet.rows):
        name, seeds = row[0], SEEDS[row[0]]
        click = sheet.clicked(number, 0)
        assert opened(click) == lost[name]
        assert row[1] == f"{len(lost[name])}/{total}"
        mean = np.mean([(shown.held.truth.defects.counts & ~one.found).sum() for one in shown.entrants[number].judged])
        assert row[2].startswith(f"{100 * mean / total:.1f}\u00a0% [")
        assert ("most seeds of" in click.title) == (len(seeds) > 1)
        differ.append(mean != len(lost[name]))
    # Else the two would be told apart by nothing.
    assert differ == [True, True, False]


def test_parts_count_what_a_click_opens_and_have_the_comparisons_intervals(shown):
    sheet, lost = sheets.by_part(shown), missed(shown)
    assert {row[0] for row in sheet.rows} == {"class", "size", "line"}
    for column, one in enumerate(shown.entrants, 2):
        told = {(part.by, part.value): part.fn_rate for part in sliced(one, shown.held.draws)}
        for number, row in enumerate(sheet.rows):
            within = set(np.flatnonzero(selected.in_part(shown.held, row[0], row[1])).tolist())
            assert opened(sheet.clicked(number, column)) == lost[one.name] & within
            count = f"{len(lost[one.name] & within)}/{len(within)}"
            cell, estimate = row[column].replace("\u00a0%", " %"), told[row[0], row[1]]
            assert cell.endswith(f"(most seeds: {count})" if one.seeds > 1 else f" ({count})")
            assert re.match(INTERVAL, cell)[1] is not None
            assert cell.startswith(
                f"{100 * estimate.rate.value:.1f} % [{100 * estimate.this_threshold.low:.1f}\u00a0to\u00a0"
                f"{100 * estimate.this_threshold.high:.1f}]"
            )


def test_every_missed_defect_has_one_reason(shown):
    sheet, lost = sheets.by_reason(shown), missed(shown)
    for column, one in enumerate(shown.entrants, 2):
        clicks = [opened(sheet.clicked(number, column)) for number in range(len(sheet.rows))]
        assert [len(click) for click in clicks] == [int(row[column]) for row in sheet.rows]
        assert sum(map(len, clicks)) == len(lost[one.name])
        assert set.union(*clicks) == lost[one.name]
    # The list tells the same ones.
    listed = selected.misses(shown.held, shown.entrants, shown.held.truth.defects.counts, most=1000)
    for column, one in enumerate(shown.entrants, 2):
        told = [miss.reason[one.name].replace("_", " ") for miss in listed if one.name in miss.reason]
        assert {row[0]: told.count(row[0]) for row in sheet.rows} == {row[0]: int(row[column]) for row in sheet.rows}


def test_the_agreement_counts_what_a_click_opens(shown):
    sheet, lost = sheets.agreement(shown), missed(shown)
    assert sum(int(row[1]) for row in sheet.rows) == shown.held.truth.defects.counts.sum()
    for number, row in enumerate(sheet.rows):
        assert sheet.clicked(number, 0).where.sum() == int(row[1])
    assert opened(sheet.clicked(0, 0)) == set.intersection(*lost.values())


@pytest.mark.fiftyone
@pytest.mark.usefixtures("fiftyone")
def test_the_panel_says_that_seeds_are_counted_by_most(held, shown):
    from defect_detect.explore.plugin import drawing

    assert "most of its seeds miss" in drawing._note(shown, None)
    single = show(held.folder, asked({"operating": "score", "score": 0.4, "detectors": ["one"]}, held))
    assert sheets.figures(single).columns[1:3] == ("missed", "FN rate")
    assert "seeds" not in drawing._note(single, None)


def test_a_detector_that_is_not_measured_opens_nothing(shown):
    silent = dataclasses.replace(shown.entrants[0], measured=False)
    one = dataclasses.replace(shown, entrants=(silent, *shown.entrants[1:]))
    assert sheets.figures(one).rows[0][1] == "n/a"
    assert sheets.figures(one).clicked(0, 0) is None
    assert sheets.by_part(one).rows[0][2] == "n/a"
    assert sheets.by_part(one).clicked(0, 2) is None
