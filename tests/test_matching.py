from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.errors import ConfigError, PredictionsError
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.matching import evaluate, match
from tests import coco_reference, scenes


def ours(matching):
    hits = {int(p): int(d) for p, d in enumerate(matching.defect_of) if d >= 0}
    return hits, set(np.flatnonzero(matching.absorbed).tolist())


@pytest.mark.parametrize("iou", [0.1, 0.5, 0.75, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_pairs_equal_pycocotools(seed, iou):
    truth, said = scenes.scene(seed, images=6, defects=40, said=200)

    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=[iou])

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule(iou=iou)))


@pytest.mark.parametrize("seed", range(4))
def test_any_class_pairs_equal_pycocotools_on_one_class(seed):
    truth, said = scenes.scene(seed)

    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=[0.5], one_class=True)

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule(class_aware=False)))


@pytest.mark.parametrize("seed", range(3))
def test_mask_pairs_equal_pycocotools(seed):
    truth, said = scenes.scene(seed, images=5, said=60, masks=True)

    run = coco_reference.reference(truth, said, kind="segm", max_dets=(1000,), ious=[0.5])

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule(geometry="mask")))


def test_more_than_a_hundred_detections_in_one_image_equal_pycocotools():
    truth, said = scenes.scene(3, images=1, classes=1, defects=30, said=400)

    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=[0.5])

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule()))


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(), st.sampled_from([0.1, 1 / 3, 0.5, 0.75]))
def test_small_scenes_pair_as_pycocotools_does(scene, iou):
    truth, said = scene

    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=[iou])

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule(iou=iou)))


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(), st.integers(1, 10), st.booleans())
def test_predictions_over_a_threshold_alone_get_the_same_assignment(scene, tenths, class_aware):
    truth, said = scene
    rule = Rule(class_aware=class_aware)
    full = match(truth, said, rule)
    over = said.score >= tenths / 10

    alone = match(truth, said.take(over), rule)

    assert np.array_equal(alone.found_at, np.where(full.found_at >= tenths / 10, full.found_at, -np.inf))
    assert np.array_equal(alone.defect_of, full.defect_of[over])
    assert np.array_equal(alone.absorbed, full.absorbed[over])


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(), st.randoms(use_true_random=False))
def test_matching_ignores_the_order_of_rows(scene, random):
    truth, said = scene
    rows = list(range(len(said)))
    defects = list(range(len(truth.defects)))
    random.shuffle(rows)
    random.shuffle(defects)
    shuffled = dataclasses.replace(truth, defects=truth.defects.take(np.array(defects, np.int64)))

    one = match(truth, said, Rule())
    other = match(shuffled, said.take(np.array(rows, np.int64)), Rule())

    # Exact duplicates may swap places, so compare what was found as a multiset of contents.
    assert _contents(truth, one) == _contents(shuffled, other)
    assert one.absorbed.sum() == other.absorbed.sum()


def _contents(truth, matching):
    d = truth.defects
    return sorted(
        zip(d.image, d.label, map(tuple, d.box), d.crowd, d.ignore, matching.found_at, matching.iou, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(), st.integers(0, 2), st.integers(1, 10))
def test_another_prediction_never_loses_a_found_defect(scene, image, tenths):
    truth, said = scene
    extra = scenes.predictions(image=[min(image, len(truth.images) - 1)], label=[0], box=[[2, 2, 9, 9]], score=[0.55])
    more = scenes.predictions(
        image=np.concatenate([said.image, extra.image]),
        label=np.concatenate([said.label, extra.label]),
        box=np.concatenate([said.box, extra.box]),
        score=np.concatenate([said.score, extra.score]),
    )
    s = tenths / 10

    before = match(truth, said, Rule()).found_at >= s
    after = match(truth, more, Rule()).found_at >= s

    assert not (before & ~after).any()


def test_a_counting_defect_is_preferred_to_an_ignored_one_of_higher_overlap():
    truth = scenes.dataset(
        image=[0, 0], label=[0, 0], box=[[0, 0, 10, 10], [0, 0, 10, 8]], images=1, ignore=[True, False]
    )
    said = scenes.predictions(image=[0, 0], label=[0, 0], box=[[0, 0, 10, 10]] * 2, score=[0.9, 0.8])

    result = match(truth, said, Rule())

    assert result.prediction_of.tolist() == [-1, 0]
    assert result.absorbed.tolist() == [False, True]
    assert result.iou.tolist() == [0.0, 0.8]


def test_a_crowd_absorbs_any_number_and_an_ignored_defect_one():
    box = [[0, 0, 20, 20], [30, 30, 40, 40]]
    truth = scenes.dataset(image=[0, 0], label=[0, 0], box=box, images=1, crowd=[True, False], ignore=[False, True])
    said = scenes.predictions(
        image=[0] * 5,
        label=[0] * 5,
        box=[[0, 0, 5, 5], [5, 5, 9, 9], [10, 10, 25, 25], *[[30, 30, 40, 40]] * 2],
        score=[0.9, 0.8, 0.7, 0.6, 0.5],
    )

    result = match(truth, said, Rule())

    assert result.absorbed.tolist() == [True, True, False, True, False]
    assert (result.defect_of == -1).all()


def test_ties_of_score_break_by_box():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=1)
    for box in ([[0, 0, 10, 8], [0, 2, 10, 10]], [[0, 2, 10, 10], [0, 0, 10, 8]]):
        said = scenes.predictions(image=[0, 0], label=[0, 0], box=box, score=[0.5, 0.5])

        result = match(truth, said, Rule())

        assert said.box[result.prediction_of[0]].tolist() == [0, 0, 10, 8]


def test_evaluate_sorts_by_content_and_matches_both_ways():
    truth = scenes.dataset(image=[1], label=[0], box=[[0, 0, 10, 10]], images=2)
    said = scenes.predictions(image=[1, 0, 1], label=[1, 0, 0], box=[[0, 0, 10, 10]] * 3, score=[0.9, 0.1, 0.4])

    result = evaluate(truth, said)

    assert result.predictions.score.tolist() == [0.1, 0.9, 0.4]
    assert result.matching.found_at.tolist() == [0.4]
    assert result.any_class.found_at.tolist() == [0.9]


def test_a_silent_detector_and_an_empty_truth_match_nothing():
    truth, said = scenes.scene(0, images=2, defects=0, said=4)

    assert (match(truth, said, Rule()).defect_of == -1).all()
    truth, said = scenes.scene(0, images=2, defects=3, said=0)
    assert (match(truth, said, Rule()).prediction_of == -1).all()
    truth, said = scenes.scene(0, images=2, defects=3, said=0, masks=True)
    assert (match(truth, said, Rule(geometry="mask")).prediction_of == -1).all()


@pytest.mark.parametrize("rule", [Rule(iou=0), Rule(iou=1.5), Rule(geometry="circle")])
def test_an_impossible_rule_is_refused(rule):
    truth, said = scenes.scene(0)

    with pytest.raises(ConfigError, match="expected"):
        match(truth, said, rule)


def test_masks_are_not_matched_where_there_are_none():
    truth, said = scenes.scene(0)
    with pytest.raises(PredictionsError, match="dataset"):
        match(truth, said, Rule(geometry="mask"))
    truth, _ = scenes.scene(0, masks=True)
    with pytest.raises(PredictionsError, match="predictions"):
        match(truth, said, Rule(geometry="mask"))
