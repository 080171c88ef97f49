from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.errors import NotMeasurable
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import (
    FIGURES,
    fn_rate_at_budget,
    found,
    froc,
    mean_froc_recall,
    opportunities,
    rates,
    scored,
    tally,
)
from defect_detect.evaluation.training_curve import under_trained
from defect_detect.evaluation.units import units
from defect_detect.tables import Predictions
from tests import scenes


def at(value, classes=2):
    return np.full(classes, value, np.float64)


@settings(max_examples=100, deadline=None)
@given(scenes.scenes(), st.integers(0, 11))
def test_found_and_missed_add_up_to_the_defects_at_every_threshold(scene, tenths):
    truth, said = scene
    evaluation = evaluate(truth, said)
    s = at(tenths / 10)

    got = rates(scored(evaluation), s)

    hits = int((found(evaluation, s) & truth.defects.counts).sum())
    assert hits + got["fn_rate"].count == got["fn_rate"].of == int(truth.defects.counts.sum())
    over = evaluation.predictions.score >= tenths / 10
    absorbed = int((evaluation.matching.absorbed & over).sum())
    assert hits + got["fppi"].count + absorbed == int(over.sum())
    assert got["fn_rate_any_class"].count <= got["fn_rate"].of


@settings(max_examples=100, deadline=None)
@given(scenes.scenes(), st.integers(0, 11))
def test_unit_rates_equal_the_definitions_spelled_out(scene, tenths):
    truth, said = scene
    evaluation = evaluate(truth, said)
    s = tenths / 10
    got = rates(scored(evaluation), at(s))

    escapes = overkill = defective = free = 0
    for name in set(truth.images.group.tolist()):
        images = set(np.flatnonzero(truth.images.group == name).tolist())
        notes = [row for row in range(len(truth.defects)) if truth.defects.image[row] in images]
        alarmed = any(
            image in images and score >= s and not absorbed
            for image, score, absorbed in zip(
                evaluation.predictions.image, evaluation.predictions.score, evaluation.matching.absorbed, strict=True
            )
        )
        is_defective = any(truth.defects.counts[row] for row in notes)
        defective += is_defective
        free += not notes
        escapes += is_defective and not alarmed
        overkill += not notes and alarmed

    assert (got["escape_rate"].count, got["escape_rate"].of) == (escapes, defective)
    assert (got["overkill_rate"].count, got["overkill_rate"].of) == (overkill, free)


def test_each_figure_on_a_scene_counted_by_hand():
    # Part a: two defects, one found, one of the wrong class. Part b: alarmed elsewhere only.
    # Part c: escaped. Part d: defect-free, alarmed twice. Part e: defect-free, silent. Part f: crowd only.
    truth = scenes.dataset(
        image=[0, 0, 1, 2, 5],
        label=[0, 1, 0, 0, 0],
        box=[[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 40, 40]],
        crowd=[False, False, False, False, True],
        images=6,
        group=list("abcdef"),
    )
    said = scenes.predictions(
        image=[0, 0, 1, 2, 3, 3, 5],
        label=[0, 0, 0, 0, 0, 1, 0],
        box=[[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60], [0, 0, 10, 10], *[[0, 0, 9, 9]] * 3],
        score=[0.9, 0.8, 0.7, 0.2, 0.9, 0.6, 0.9],
    )

    got = rates(scored(evaluate(truth, said)), at(0.5))

    assert {name: (rate.count, rate.of) for name, rate in got.items()} == {
        "fn_rate": (3, 4),
        "fn_rate_any_class": (2, 4),
        "escape_rate": (1, 3),
        "alarmed_elsewhere": (1, 3),
        "overkill_rate": (1, 2),
        "fppi": (4, 6),
        "fppi_defect_free": (2, 2),
    }


def test_thresholds_by_label_apply_to_the_predictions_label():
    truth = scenes.dataset(image=[0, 0], label=[0, 1], box=[[0, 0, 10, 10], [20, 20, 30, 30]], images=1)
    said = scenes.predictions(
        image=[0, 0, 0],
        label=[0, 1, 1],
        box=[[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]],
        score=[0.4, 0.6, 0.6],
    )
    table = scored(evaluate(truth, said))

    got = rates(table, np.array([0.3, 0.7]))

    assert got["fn_rate"].count == 1
    assert got["fn_rate_any_class"].count == 1
    assert got["fppi"].count == 0
    assert rates(table, np.array([0.5, 0.5]))["fn_rate_any_class"].count == 0


@settings(max_examples=50, deadline=None)
@given(scenes.scenes(), st.integers(0, 11))
def test_tallies_stay_within_their_opportunities(scene, tenths):
    truth, said = scene
    table = scored(evaluate(truth, said))

    count, of = tally(table, at(tenths / 10)), opportunities(table)

    assert count.shape == of.shape == (len(units(truth)), len(FIGURES))
    assert (count >= 0).all()
    assert (count[:, :5] <= of[:, :5]).all()


def test_a_silent_detector_misses_all():
    truth, _ = scenes.scene(1)
    table = evaluate(truth, Predictions.none())

    curve = froc(table)

    assert curve.lamr == curve.lamr_class_mean == 1.0
    assert curve.score == 0.0
    assert mean_froc_recall(truth, Predictions.none()) == 0.0
    assert fn_rate_at_budget(table) == 1.0
    got = rates(scored(table), np.full(3, 0.5))
    assert got["fn_rate"].value == got["fn_rate_any_class"].value == got["escape_rate"].value == 1.0
    assert got["fppi"].value == got["overkill_rate"].value == 0.0


def test_a_perfect_detector_misses_nothing():
    truth, _ = scenes.scene(1, special=False)
    d = truth.defects
    said = scenes.predictions(image=d.image, label=d.label, box=d.box, score=np.full(len(d), 0.9))

    curve = froc(evaluate(truth, said))

    assert curve.score == 1.0
    assert curve.lamr == pytest.approx(1 / (2 * len(d)))
    assert fn_rate_at_budget(evaluate(truth, said), 0.0) == 0.0


def test_froc_of_a_scene_counted_by_hand():
    truth = scenes.dataset(image=[0, 1], label=[0, 0], box=[[0, 0, 10, 10]] * 2, images=4, classes=1)
    said = scenes.predictions(
        image=[0, 2, 1, 3],
        label=[0] * 4,
        box=[[0, 0, 10, 10]] * 4,
        score=[0.9, 0.8, 0.7, 0.6],
    )

    curve = froc(evaluate(truth, said))

    assert curve.curve.fppi == [0.0, 0.0, 0.25, 0.5]
    assert curve.curve.recall == [0.0, 0.5, 1.0, 1.0]
    assert curve.recall_at == {"0.125": 0.5, "0.25": 1.0, "0.5": 1.0, "1": 1.0, "2": 1.0, "4": 1.0, "8": 1.0}
    assert curve.score == pytest.approx(6.5 / 7)
    # Nine points from 0.01: 0.01 ... 0.178 below 0.25 miss half, the other four are clipped at 1/4.
    below = int((np.logspace(-2, 0, 9) < 0.25).sum())
    assert curve.lamr == pytest.approx(np.exp((below * np.log(0.5) + (9 - below) * np.log(0.25)) / 9))
    assert fn_rate_at_budget(evaluate(truth, said), 0.2) == 0.5


def test_budget_below_the_top_score_finds_nothing():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=2)
    said = scenes.predictions(image=[1, 0], label=[0, 0], box=[[0, 0, 10, 10]] * 2, score=[0.9, 0.8])

    assert fn_rate_at_budget(evaluate(truth, said), 0.1) == 1.0


def test_without_defects_there_is_no_recall():
    truth, said = scenes.scene(0, defects=0)

    assert froc(evaluate(truth, said)).score is None
    with pytest.raises(NotMeasurable, match="no defects"):
        mean_froc_recall(truth, said)
    with pytest.raises(NotMeasurable, match="no defects"):
        fn_rate_at_budget(evaluate(truth, said))


@settings(max_examples=60, deadline=None)
@given(scenes.scenes())
def test_the_validation_score_is_the_froc_score(scene):
    truth, said = scene
    if not truth.defects.counts.any():
        return

    assert mean_froc_recall(truth, said) == pytest.approx(froc(evaluate(truth, said)).score)


@pytest.mark.parametrize("seed", range(5))
def test_figures_ignore_ids_and_the_order_of_files(seed):
    truth, said = scenes.scene(seed, groups=5)
    order = np.random.default_rng(seed).permutation(len(truth.images))
    place = np.argsort(order)
    moved = dataclasses.replace(
        truth,
        images=truth.images.take(order),
        defects=dataclasses.replace(truth.defects, image=place[truth.defects.image], id=truth.defects.id + 1000),
    )
    theirs = dataclasses.replace(said, image=place[said.image])

    for s in (at(0.2, 3), at(0.5, 3), at(0.8, 3)):
        assert rates(scored(evaluate(truth, said)), s) == rates(scored(evaluate(moved, theirs)), s)
    assert froc(evaluate(truth, said)) == froc(evaluate(moved, theirs))


@pytest.mark.parametrize(
    ("scores", "stopped", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], False, True),
        ([0.1, 0.5, 0.5, 0.5, 0.505], False, False),
        ([0.1, 0.2, 0.3, 0.4, 0.5], True, False),
        ([0.5], False, True),
        ([], False, True),
        ([0.1, 0.6, 0.5, 0.5, 0.4], False, False),
        ([*np.linspace(0, 0.8, 9), 0.9], False, True),
        # Flat at the end under a falling learning rate, and most of it learned late: not done.
        ([0, 0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.13, 0.135, 0.138, 0.139, 0.14], False, True),
        ([0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.78, 0.8, 0.81, 0.815, 0.818, 0.82], False, False),
    ],
)
def test_under_trained(scores, stopped, expected):
    assert under_trained(scores, stopped) is expected
