"""Placement of hits: offsets, ratios, histogram, masks near their outline; by class and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.evaluation.boundary import boundary_iou, width_of
from defect_detect.evaluation.localization import localization, localization_slices, placed
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.reasons import judge
from tests import scenes


def judged(truth, said, threshold=0.5):
    return judge("a", 0, evaluate(truth, said), np.full(len(truth.categories), threshold))


def eroded(pixels, rounds):
    """3 x 3 erosion, as often as `rounds`, with background outside the picture."""
    for _ in range(rounds):
        framed = np.pad(pixels, 1)
        height, width = pixels.shape
        shifts = [framed[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        pixels = np.logical_and.reduce(shifts)
    return pixels


def boundaries_compared(a, b):
    reach = max(round(0.02 * float(np.hypot(*a.shape))), 1)
    ours, theirs = (one & ~eroded(one, reach) for one in (a, b))
    union = (ours | theirs).sum()
    return (ours & theirs).sum() / union if union else 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(20, 30), (60, 90), (120, 70)]))
def test_boundary_iou_equals_erosion_spelled_out(seed, shape):
    rng = np.random.default_rng(seed)

    def blob():
        pixels = np.zeros(shape, bool)
        for _ in range(rng.integers(0, 4)):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            pixels[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)] = True
        return pixels & (rng.random(shape) < 0.999)

    a, b = blob(), blob()

    got = boundary_iou(geometry.from_mask(a), geometry.from_mask(b))

    assert got == pytest.approx(boundaries_compared(a, b))


def test_the_boundary_is_as_wide_as_the_paper_says():
    assert width_of(480, 640) == 16
    assert width_of(10, 10) == 1


def test_a_loose_mask_has_a_lower_boundary_iou_than_mask_iou():
    whole, shifted = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    whole[10:90, 10:90] = True
    shifted[14:94, 10:90] = True
    a, b = geometry.from_mask(whole), geometry.from_mask(shifted)

    assert geometry.mask_iou([a], [b])[0, 0] == pytest.approx(76 / 84)
    assert boundary_iou(a, b) < 0.5
    assert boundary_iou(a, a) == 1.0


def spelled_out(truth, said, one):
    """Each hit's figures, one at a time."""
    rows = []
    for d in np.flatnonzero(one.found & truth.defects.counts):
        p = one.evaluation.matching.prediction_of[d]
        x0, y0, x1, y1 = one.evaluation.predictions.box[p]
        tx0, ty0, tx1, ty1 = truth.defects.box[d]
        shared = max(min(x1, tx1) - max(x0, tx0), 0) * max(min(y1, ty1) - max(y0, ty0), 0)
        true_area = (tx1 - tx0) * (ty1 - ty0)
        offset = np.sqrt(((x0 + x1 - tx0 - tx1) / 2) ** 2 + ((y0 + y1 - ty0 - ty1) / 2) ** 2)
        rows.append((
            shared / ((x1 - x0) * (y1 - y0) + true_area - shared), offset, offset / np.sqrt(true_area),
            (x1 - x0) / (tx1 - tx0), (y1 - y0) / (ty1 - ty0),
        ))  # fmt: skip
    return np.array(rows).reshape(-1, 5)


@pytest.mark.parametrize("seed", range(4))
def test_offsets_and_ratios_equal_those_computed_one_by_one(seed):
    truth, said = scenes.scene(seed)
    one = judged(truth, said, 0.3)
    rows = spelled_out(truth, said, one)

    got = localization([one])

    assert got.hits == len(rows) > 0
    iou, offset, relative, width, height = rows.T
    assert got.iou_mean == pytest.approx(iou.mean(), rel=1e-12)
    assert got.iou_median == pytest.approx(np.median(iou), rel=1e-12)
    assert got.iou_p05 == pytest.approx(np.percentile(iou, 5), rel=1e-12)
    assert got.share_075.count == (iou >= 0.75).sum()
    assert got.centre_offset_px == pytest.approx(np.median(offset), rel=1e-12)
    assert got.centre_offset_relative == pytest.approx(np.median(relative), rel=1e-12)
    assert got.width_ratio == pytest.approx(np.median(width), rel=1e-12)
    assert got.height_ratio == pytest.approx(np.median(height), rel=1e-12)
    assert got.iou_histogram == np.histogram(iou, np.arange(21) / 20)[0].tolist()


def test_a_perfect_box_is_in_the_last_bar():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=1)
    got = localization([judged(truth, scenes.predictions(image=[0], label=[0], box=[[0, 0, 10, 10]], score=[0.9]))])

    assert got.iou_histogram == [0] * 19 + [1]
    assert (
        localization([judged(truth, scenes.predictions(image=[], label=[], box=[], score=[]))]).iou_histogram
        == [0] * 20
    )


def test_slices_hold_each_hit_once_by_class_and_by_size():
    truth, said = scenes.scene(5, masks=True)
    one = judged(truth, said, 0.3)

    slices = localization_slices(placed([one, one]), [one, one])

    whole = localization([one, one])
    for by in ("class", "size"):
        own = [part.localization for part in slices if part.by == by]
        assert sum(part.hits for part in own) == whole.hits
        for name in ("iou_mean", "mask_iou_mean", "boundary_iou_mean"):
            total = sum(getattr(part, name) * part.hits for part in own if part.hits)
            assert total / whole.hits == pytest.approx(getattr(whole, name))
    sized = localization_slices(placed([one]), [one], edges=(10.0,))
    assert [part.value for part in sized if part.by == "size"] == ["under 10 px", "10 px and over"]


def test_seeds_without_masks_have_no_mask_figures():
    truth, said = scenes.scene(5, masks=True)
    _, boxes = scenes.scene(5)
    with_masks, without = judged(truth, said, 0.3), judged(truth, boxes, 0.3)

    assert localization([with_masks]).boundary_iou_mean is not None
    assert localization([with_masks, without]).boundary_iou_mean is None
