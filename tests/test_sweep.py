"""The slider's data and the FROC's band, as a comparison holds them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from defect_detect.evaluation.entrant import Draws, enter
from defect_detect.evaluation.froc import curve, recall_at
from defect_detect.evaluation.froc_figures import GRID, drawn_froc, froc_figures
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import rates, tally
from defect_detect.evaluation.operating import parse_policy, threshold
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.sweep import MOST, sweep
from defect_detect.evaluation.units import units
from defect_detect.tables import Predictions
from tests import scenes

COLUMNS = {"fn_rate": "missed", "fppi": "false_alarms", "escape_rate": "escaped", "overkill_rate": "overkilled"}
DENOMINATORS = {"fn_rate": "defects", "fppi": "images", "escape_rate": "defective", "overkill_rate": "defect_free"}


def entered(policy, *, seeds=1, images=40, said=400, ties=False, validation=True, silent=False, resamples=40):
    """An entrant with so many seeds, all on one test and one validation split."""

    def evaluation(seed, split, first_id):
        truth, _ = scenes.scene(0 if split == "test" else 1, images=images, defects=70, split=split, first_id=first_id)
        rng = np.random.default_rng([seed, first_id])
        near = rng.integers(0, len(truth.defects), said)
        hit = rng.random(said) < 0.4
        box = np.where(hit[:, None], truth.defects.box[near], truth.defects.box[near][:, [1, 0, 3, 2]])
        score = rng.integers(1, 21, said) / 20 if ties else rng.random(said)
        predictions = scenes.predictions(
            image=np.where(hit, truth.defects.image[near], rng.integers(0, images, said)),
            label=truth.defects.label[near], box=box, score=score,
        )  # fmt: skip
        return evaluate(truth, Predictions.none() if silent else predictions)

    runs = tuple(
        Run(
            seed=seed, test=evaluation(seed, "test", 1),
            validation=evaluation(seed, "val", 10_000) if validation else None, manifest=None,
        )
        for seed in range(seeds)
    )  # fmt: skip
    test = draw(np.random.default_rng(0), len(units(runs[0].test.truth)), resamples)
    val = runs[0].validation
    drawn = None if val is None else draw(np.random.default_rng(1), len(units(val.truth)), resamples)
    draws = Draws(seed=0, test=test, validation=drawn)
    return enter(Contender(name="one", runs=runs), parse_policy(policy), draws), draws


@pytest.mark.parametrize(
    ("policy", "more"),
    [
        ("fppi<=0.5", {}), ("fppi<=2", {"said": 3000, "images": 300}), ("recall>=0.4", {"ties": True}),
        ("score=0.35", {"seeds": 3, "said": 900}), ("score=0.5", {"validation": False}),
    ],
)  # fmt: skip
def test_the_sweep_says_at_its_thresholds_what_counting_there_says(policy, more):
    entrant, _ = entered(policy, **more)
    swept = sweep(entrant)
    labels = len(entrant.test[0].evaluation.truth.categories)

    assert len(swept.threshold) <= MOST
    assert (np.diff(swept.threshold) < 0).all()
    for place in {0, len(swept.threshold) // 3, len(swept.threshold) - 1, swept.threshold.index(entrant.threshold[0])}:
        vector = np.full(labels, swept.threshold[place])
        counted = [rates(table, vector) for table in entrant.test]
        for figure, column in COLUMNS.items():
            assert getattr(swept, column)[place] == sum(one[figure].count for one in counted)
            assert getattr(swept, DENOMINATORS[figure]) == sum(one[figure].of for one in counted)
        if entrant.validation:
            false = [rates(table, vector)["fppi"] for table in entrant.validation]
            assert swept.validation_fppi[place] == sum(r.count for r in false) / sum(r.of for r in false)
    assert (swept.validation_fppi is None) == (not entrant.validation)


@pytest.mark.parametrize("policy", ["fppi<=0.3", "score=0.41", "f1"])
def test_the_sweep_at_the_operating_point_is_the_figures(policy):
    entrant, _ = entered(policy, said=4000, images=200)
    swept = sweep(entrant)
    place = swept.threshold.index(entrant.threshold[0])

    for figure, column in COLUMNS.items():
        assert getattr(swept, column)[place] / getattr(swept, DENOMINATORS[figure]) == entrant.rate(figure)


def test_a_budget_set_on_validation_is_there_exactly():
    entrant, _ = entered("fppi<=0.1", said=4000, images=200)
    swept = sweep(entrant)
    validation = entrant.contender.runs[0].validation

    assert MOST // 2 < len(swept.threshold) <= MOST
    for budget in (0.02, 0.1, 0.25, 1.0, 2.0, *GRID[5:].tolist()):
        within = [s for s, fppi in zip(swept.threshold, swept.validation_fppi, strict=True) if fppi <= budget]
        assert min(within) == threshold(parse_policy(f"fppi<={budget}"), validation)


@pytest.mark.parametrize("validation", [True, False])
def test_few_thresholds_are_all_there(validation):
    entrant, _ = entered("score=0.5", ties=True, validation=validation)
    run = entrant.contender.runs[0]
    said = (run.validation or run.test).predictions.score
    table = (entrant.validation or entrant.test)[0]
    swept = sweep(entrant)

    scores = np.unique(said)[::-1]
    counts = [tally(table, np.full(3, s)).sum(axis=0)[[0, 2, 4, 5]].tolist() for s in [2.0, *scores]]
    changing = [before != after for before, after in itertools.pairwise(counts)]
    assert set(scores[changing].tolist()) <= set(swept.threshold) <= set(said.tolist())
    everything = rates(entrant.test[0], np.zeros(3))
    if not validation:
        assert (swept.missed[-1], swept.false_alarms[-1]) == (everything["fn_rate"].count, everything["fppi"].count)


def test_a_silent_detector_has_nothing_to_sweep():
    entrant, draws = entered("fppi<=0.5", silent=True)
    swept = sweep(entrant)
    figures = froc_figures(entrant, drawn_froc(entrant, draws, 0.5))

    assert swept.threshold == swept.missed == swept.validation_fppi == []
    # No defect was found; how many would be elsewhere is not known to be none.
    assert figures.band.low == [0.0] * len(figures.band.low)
    assert all(0 < high < 0.3 for high in figures.band.high)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_band_lies_around_the_curve(seeds):
    entrant, draws = entered("fppi<=0.5", seeds=seeds, said=1200, images=60, resamples=400)
    told = froc_figures(entrant, drawn_froc(entrant, draws, 0.5))
    grid = np.array(told.band.fppi)
    recall = np.mean([_recall(run.test, grid) for run in entrant.contender.runs], axis=0)

    assert grid.tolist() == [point for point in GRID.tolist() if point * 60 >= 1]
    assert (np.array(told.band.low) <= recall).all()
    assert (recall <= np.array(told.band.high)).all()
    assert (np.diff([told.band.low, told.band.high], axis=0) > 0).all()
    assert told.score_interval.low < told.score < told.score_interval.high


def _recall(evaluation, grid):
    return recall_at(*curve(evaluation.truth, evaluation.predictions, evaluation.matching), grid)
