"""One long crack covered by five boxes is one catch; a box around everything is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.rank_stability import rank_stability, unstable
from defect_detect.evaluation.reasons import judge
from defect_detect.evaluation.union_coverage import covered
from tests import scenes

CRACK = [2, 20, 62, 24]


def found(truth, said, threshold=0.5, **how):
    judged = judge("a", 0, evaluate(truth, said), np.full(len(truth.categories), threshold))
    return covered(judged, **how).tolist()


def boxes(*box, score=0.9, label=0):
    count = len(box)
    return scenes.predictions(image=[0] * count, label=[label] * count, box=box, score=[score] * count)


FIVE = [[2 + 12 * k, 20, 12 + 12 * k, 24] for k in range(5)]


@pytest.mark.parametrize(
    ("said", "is_found"),
    [
        (boxes(*FIVE), True),
        (boxes(*FIVE[:2]), False),
        (boxes([2, 20, 32, 24]), True),  # half of it, exactly
        (boxes([2, 20, 31.75, 24]), False),
        (boxes([2, 16, 62, 24]), False),  # half of the union outside, exactly
        (boxes([2, 16.25, 62, 24]), True),
        (boxes(*FIVE, [0, 0, 64, 64]), False),  # the union is mostly elsewhere
        (boxes(*FIVE, score=0.4), False),
        (boxes(*FIVE, label=1), False),
        (boxes(), False),
    ],
)
def test_a_crack_in_boxes(said, is_found) -> None:
    truth = scenes.dataset(image=[0], label=[0], box=[CRACK], images=1)

    assert found(truth, said) == [is_found]


def test_what_lies_on_neighbours_is_not_outside() -> None:
    pair = [[0, 0, 10, 10], [12, 0, 22, 10]]
    both = boxes([0, 0, 22, 10])

    assert found(scenes.dataset(image=[0, 0], label=[0, 0], box=pair, images=1), both) == [True, True]
    assert found(scenes.dataset(image=[0, 0], label=[0, 1], box=pair, images=1), both) == [False, False]
    ignored = scenes.dataset(image=[0, 0], label=[0, 0], box=pair, images=1, ignore=[False, True])
    assert found(ignored, both) == [True, False]


def test_masks_measure_what_boxes_overstate() -> None:
    def region(box):
        pixels = np.zeros((scenes.SIDE, scenes.SIDE), np.bool_)
        pixels[box[1] : box[3], box[0] : box[2]] = True
        return geometry.from_mask(pixels)

    # The box of the prediction covers the crack, its mask but a third of it.
    truth = scenes.dataset(image=[0], label=[0], box=[CRACK], images=1, region=(region(CRACK),))
    said = scenes.predictions(image=[0], label=[0], box=[CRACK], score=[0.9], region=(region([2, 20, 22, 24]),))

    assert found(truth, said) == [True]
    assert found(truth, said, masks=True) == [False]


@settings(max_examples=60, deadline=None)
@given(scenes.scenes(max_images=2), st.integers(1, 10))
def test_areas_by_pixels_agree(scene, tenths: int) -> None:
    truth, said = scene  # all corners are whole, so pixels are exact
    threshold = tenths / 10
    expected = np.zeros(len(truth.defects), np.bool_)
    for d in np.flatnonzero(truth.defects.counts):
        image, label = truth.defects.image[d], truth.defects.label[d]
        own = filled(truth.defects.box[[d]])
        kept = filled(truth.defects.box[(truth.defects.image == image) & (truth.defects.label == label)])
        counting = (said.image == image) & (said.label == label) & (said.score >= threshold)
        near = [box for box in said.box[counting] if (filled(box[None]) & own).any()]
        if near:
            union = filled(np.array(near))
            expected[d] = (union & own).sum() >= 0.5 * own.sum() and (union & ~kept).sum() < 0.5 * union.sum()

    assert found(truth, said, threshold) == expected.tolist()


def filled(box):
    pixels = np.zeros((32, 32), np.bool_)
    for x0, y0, x1, y1 in box.astype(int):
        pixels[y0:y1, x0:x1] = True
    return pixels


def test_only_an_order_that_turns_round_is_told() -> None:
    steady = {"IoU 0.1": {"a": 3.0, "b": 4.0}, "IoU 0.5": {"a": 4.0, "b": 4.0}, "union": {"a": 1.0, "b": 2.0}}
    assert unstable(steady) == []
    assert rank_stability(steady)["IoU 0.5"] == ["a", "b"]

    turned = {rule: {"a": a, "b": b, "c": 99.0} for rule, a, b in (("x", 1.0, 2.0), ("y", 1.0, 3.0), ("z", 2.0, 1.5))}
    (told,) = unstable(turned)
    assert told.endswith("hit rule: a under x (1 against 2) and y (1 against 3), b under z (1.5 against 2).")
    assert unstable({}) == []
