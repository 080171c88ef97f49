"""LRP against an implementation that follows the paper prediction by prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from defect_detect import geometry
from defect_detect.evaluation.judged import Rule, Run
from defect_detect.evaluation.lrp import at_threshold, lrp, optimum
from defect_detect.evaluation.matching import evaluate, match
from defect_detect.evaluation.reasons import judge
from defect_detect.tables import Predictions
from tests import scenes


def spelled_out(truth, said, label, threshold, t=0.5):
    """LRP and its parts, with the predictions over the threshold matched alone."""
    said = said.take((said.label == label) & (said.score >= threshold))
    matching = match(truth, said, Rule(iou=t))
    hits, far, false = 0, 0.0, 0
    for row in range(len(said)):
        defect = matching.defect_of[row]
        if defect >= 0:
            hits += 1
            far += 1 - geometry.iou(said.box[row : row + 1], truth.defects.box[defect : defect + 1])[0, 0]
        elif not matching.absorbed[row]:
            false += 1
    missed = sum(truth.defects.counts[d] and truth.defects.label[d] == label for d in range(len(truth.defects))) - hits
    total = hits + false + missed
    return (
        (far / (1 - t) + false + missed) / total,
        far / hits if hits else None,
        false / (hits + false) if hits + false else None,
        missed / (hits + missed),
    )


def judged(truth, said, threshold=0.5, t=0.5):
    run = Run(seed=0, test=evaluate(truth, said, Rule(iou=t)), validation=None, manifest=None)
    return judge("a", 0, run.test, np.full(len(truth.categories), threshold))


@pytest.mark.parametrize("t", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("seed", range(4))
def test_every_threshold_and_the_optimum_equal_the_papers_formula(seed, t):
    truth, said = scenes.scene(seed)
    evaluation = evaluate(truth, said, Rule(iou=t))

    for label in np.unique(truth.defects.label[truth.defects.counts]):
        every = {s: spelled_out(truth, said, label, s, t) for s in [*np.unique(said.score)[::-1], np.inf]}
        for s, expected in every.items():
            got = at_threshold(evaluation, label, s)
            parts = (got.lrp, got.localization, got.false_positive, got.false_negative)
            assert parts == pytest.approx(expected, nan_ok=True)
        best = optimum(evaluation, label)
        assert best.lrp == pytest.approx(min(value[0] for value in every.values()))
        assert best.lrp == pytest.approx(every[np.inf if best.threshold is None else best.threshold][0])


@settings(max_examples=60, deadline=None)
@given(scenes.scenes())
def test_the_optimum_is_between_0_and_1_and_none_is_better(scene):
    truth, said = scene
    evaluation = evaluate(truth, said)

    got = lrp([judged(truth, said)])

    if not truth.defects.counts.any():
        assert got is None
        return
    labels = np.unique(truth.defects.label[truth.defects.counts])
    assert got.olrp == pytest.approx(np.mean([optimum(evaluation, label).lrp for label in labels]))
    assert 0 <= got.olrp <= got.at_operating_point <= 1
    assert list(got.optimal_thresholds) == [truth.categories[label].name for label in labels]


def test_lrp_by_hand():
    truth = scenes.dataset(image=[0, 1, 2], label=[0] * 3, box=[[0, 0, 10, 10]] * 3, images=4, classes=1)
    said = scenes.predictions(
        image=[0, 1, 3], label=[0] * 3, box=[[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 10]], score=[0.9, 0.8, 0.7]
    )

    got = lrp([judged(truth, said, 0.7)])

    # Two hits of IoU 1 and 0.8, one false alarm, one miss; without the false alarm it is least.
    assert got.at_operating_point == pytest.approx((0.2 / 0.5 + 1 + 1) / 4)
    assert got.olrp == pytest.approx((0.2 / 0.5 + 1) / 3)
    assert got.olrp_localization == pytest.approx(0.1)
    assert got.olrp_false_positive == 0.0
    assert got.olrp_false_negative == pytest.approx(1 / 3)
    assert got.optimal_thresholds == {"class0": 0.8}


def test_a_silent_and_a_perfect_detector():
    truth, _ = scenes.scene(1, special=False)
    d = truth.defects
    silent = lrp([judged(truth, Predictions.none())])
    perfect = lrp([judged(truth, scenes.predictions(image=d.image, label=d.label, box=d.box, score=[0.9] * len(d)))])

    assert (silent.olrp, silent.at_operating_point, silent.olrp_false_negative) == (1.0, 1.0, 1.0)
    assert (silent.olrp_localization, silent.olrp_false_positive) == (None, None)
    assert set(silent.optimal_thresholds.values()) == {None}
    assert (perfect.olrp, perfect.olrp_localization, perfect.olrp_false_positive) == (0.0, 0.0, 0.0)


def test_at_an_iou_of_one_hits_cost_nothing():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=1)
    said = scenes.predictions(image=[0], label=[0], box=[[0, 0, 10, 10]], score=[0.9])

    assert lrp([judged(truth, said, t=1.0)]).olrp == 0.0


def test_seeds_are_averaged():
    truth, said = scenes.scene(2)
    _, other = scenes.scene(3)
    one, two = judged(truth, said), judged(truth, other)

    got = lrp([one, two])

    for name in ("olrp", "at_operating_point", "olrp_localization", "olrp_false_negative"):
        alone = [getattr(lrp([each]), name) for each in (one, two)]
        assert getattr(got, name) == pytest.approx(np.mean(alone))
