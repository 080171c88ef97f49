"""Calibration of scores, attribute agreement over units, and expected cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from defect_detect.evaluation.attribute_agreement import attribute_agreement, kappa, repeated, table
from defect_detect.evaluation.calibration import calibration, reliability
from defect_detect.evaluation.comparison import Rate
from defect_detect.evaluation.expected_cost import expected_cost
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import rates, scored
from defect_detect.evaluation.reasons import judge
from defect_detect.tables import Predictions
from tests import scenes


def judged(truth, said, threshold=0.5):
    return judge("a", 0, evaluate(truth, said), np.full(len(truth.categories), threshold))


def test_ten_bins_of_equal_mass_and_their_error():
    rng = np.random.default_rng(0)
    score = rng.permutation(1000) / 1000
    hit = rng.random(1000) < score**2

    got = reliability(score, hit)

    order = np.argsort(score)
    expected = [(score[rows].mean(), hit[rows].mean()) for rows in np.array_split(order, 10)]
    assert [one.hits.of for one in got.bins] == [100] * 10
    assert np.array([(one.mean_score, one.hits.value) for one in got.bins]) == pytest.approx(np.array(expected))
    assert got.ece == pytest.approx(np.mean([abs(a - b) for a, b in expected]))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_bins_hold_each_prediction_once_and_keep_equal_scores_together(rows, random):
    score, hit = np.array([s / 8 for s, _ in rows]), np.array([h for _, h in rows])

    got = reliability(score, hit)

    assert sum(one.hits.of for one in got.bins) == len(rows)
    assert sum(one.hits.count for one in got.bins) == hit.sum()
    assert all(one.high < other.low for one, other in zip(got.bins, got.bins[1:], strict=False))
    assert 0 <= got.ece <= 1
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = reliability(score[order], hit[order])
    assert shuffled.ece == pytest.approx(got.ece)
    assert [one.hits for one in shuffled.bins] == [one.hits for one in got.bins]


def test_scores_that_are_probabilities_have_no_error():
    score = np.repeat([0.25, 0.5, 0.75], 40)
    hit = np.tile(np.arange(40), 3) < np.repeat([10, 20, 30], 40)

    assert reliability(score, hit).ece == 0.0
    assert reliability(score, ~hit).ece == pytest.approx(1 / 3)


def test_absorbed_predictions_say_nothing_of_calibration():
    truth = scenes.dataset(
        image=[0, 0], label=[0, 0], box=[[0, 0, 10, 10], [20, 20, 40, 40]], images=2, crowd=[False, True]
    )
    said = scenes.predictions(
        image=[0, 0, 1], label=[0, 0, 1], box=[[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 9, 9]], score=[0.9, 0.8, 0.3]
    )

    got = calibration([evaluate(truth, said), evaluate(truth, said)])

    assert sum(one.hits.of for one in got.bins) == 4
    assert sum(one.hits.count for one in got.bins) == 2
    assert got.ece == pytest.approx((0.1 + 0.3) / 2)
    assert calibration([evaluate(truth, Predictions.none())]).ece is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_kappa_equals_statsmodels(cells):
    square = np.array(cells).reshape(2, 2)
    got = kappa(square)

    total, chance = square.sum(), (square.sum(axis=0) * square.sum(axis=1)).sum()
    if total == 0 or chance == total**2:
        assert got is None
    else:
        assert got == pytest.approx(cohens_kappa(square, return_results=False))


@settings(max_examples=80, deadline=None)
@given(scenes.scenes(), st.integers(0, 11))
def test_agreement_is_told_by_escapes_and_overkill(scene, tenths):
    truth, said = scene
    got = attribute_agreement([judged(truth, said, tenths / 10)])
    told = rates(scored(evaluate(truth, said)), np.full(len(truth.categories), tenths / 10))

    assert got.miss_rate == told["escape_rate"]
    assert got.false_alarm_rate == told["overkill_rate"]
    assert got.effectiveness.of == got.miss_rate.of + got.false_alarm_rate.of
    wrong = got.miss_rate.count + got.false_alarm_rate.count
    assert got.effectiveness.count == got.effectiveness.of - wrong
    assert got.repeatability is None


def test_agreement_by_hand():
    # Units: a found, b escaped, c overkilled, d and e accepted, f has a crowd only and no reference.
    truth = scenes.dataset(
        image=[0, 1, 5], label=[0] * 3, box=[[0, 0, 10, 10]] * 3, crowd=[False, False, True], images=6,
        group=list("abcdef"),
    )  # fmt: skip
    said = scenes.predictions(image=[0, 1, 2, 5], label=[0] * 4, box=[[0, 0, 10, 10]] * 4, score=[0.9, 0.2, 0.8, 0.9])

    got = attribute_agreement([judged(truth, said), judged(truth, said)])

    assert (got.effectiveness.count, got.effectiveness.of) == (6, 10)
    assert (got.miss_rate.count, got.miss_rate.of) == (2, 4)
    assert (got.false_alarm_rate.count, got.false_alarm_rate.of) == (2, 6)
    assert got.kappa == pytest.approx(1 / 6)
    assert table(np.array([True, False]), np.array([False, True]), np.array([True, True])).tolist() == [[0, 1], [0, 1]]


def test_repeatability_needs_a_dataset_that_names_repeats():
    # Part a: two alike; b: one alarmed, one not; c: one image; d: the same repeat twice, so no repeats; e: unnamed.
    groups = ["a", "a", "b", "b", "c", "d", "d", "e", "e"]
    said = scenes.predictions(image=[0, 1, 2, 5], label=[0] * 4, box=[[0, 0, 10, 10]] * 4, score=[0.9] * 4)

    def on(repeat):
        return scenes.dataset(
            image=[0], label=[0], box=[[0, 0, 10, 10]], images=9, group=groups,
            image_attribute={} if repeat is None else {"repeat": np.array(repeat, object)},
        )  # fmt: skip

    named = judged(on([1, 2, 1, 2, 1, 1, 1, None, None]), said)

    assert repeated(named) == Rate(count=1, of=2)
    numbers = on([1, 2, 1, 2, 1, 1, 1, float("nan"), float("nan")])
    assert repeated(judged(numbers, said)) == Rate(count=1, of=2)
    assert attribute_agreement([named, named]).repeatability == Rate(count=2, of=4)
    assert repeated(judged(on(None), said)) is None
    assert repeated(judged(on([None] * 9), said)) is None
    assert attribute_agreement([judged(on([""] * 9), said)]).repeatability is None


def test_expected_cost_weighs_by_the_lines_prevalence():
    escape, overkill = Rate(count=1, of=10), Rate(count=1, of=4)

    got = expected_cost(escape, overkill, prevalence=0.02, escape=100.0, overkill=3.0)

    assert got == pytest.approx(0.02 * 0.1 * 100 + 0.98 * 0.25 * 3)
    assert expected_cost(escape, Rate(count=0, of=0), prevalence=0.02, escape=100.0, overkill=3.0) is None
    assert expected_cost(Rate(count=0, of=0), overkill, prevalence=0.02, escape=100.0, overkill=3.0) is None
