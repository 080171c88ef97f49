from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.ledger import rows
from defect_detect.evaluation.localization import localization, touched_iou
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.reasons import FALSE_ALARMS, REASONS, covered_share, judge
from tests import scenes

BOX = [0, 0, 20, 20]


def judged(said, s=0.5, truth_box=(BOX,), truth_label=(0,), rule=None, **more):
    """One image with these defects; `said` rows are (label, box, score)."""
    truth = scenes.dataset(image=[0] * len(truth_box), label=truth_label, box=truth_box, images=1, **more)
    predictions = scenes.predictions(
        image=[0] * len(said), label=[p[0] for p in said], box=[p[1] for p in said], score=[p[2] for p in said]
    )
    return judge("d", 0, evaluate(truth, predictions, rule), np.full(2, s))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("below_threshold", [(0, BOX, 0.3)]),
        ("misclassified", [(1, BOX, 0.9)]),
        ("fragmented", [(0, [0, 0, 20, 9], 0.9), (0, [0, 11, 20, 20], 0.8)]),
        ("mislocalized", [(0, [0, 0, 20, 8], 0.9)]),
        ("low_overlap_and_label", [(1, [0, 0, 20, 8], 0.9)]),
        ("unseen", [(0, [40, 40, 60, 60], 0.9)]),
        ("unseen", []),
        ("unseen", [(0, [0, 0, 5, 5], 0.9)]),
        # The first that applies: a lower threshold would have found it, whatever else is there.
        ("below_threshold", [(0, BOX, 0.3), (1, BOX, 0.9)]),
        ("misclassified", [(1, BOX, 0.9), (0, [0, 0, 20, 8], 0.9)]),
        # Two fragments that together cover less than half are only badly placed.
        ("mislocalized", [(0, [0, 0, 20, 4], 0.9), (0, [0, 16, 20, 20], 0.8)]),
    ],
)
def test_each_reason(reason, said):
    got = judged(said)

    assert got.reason.tolist() == [reason]
    assert not got.found[0]
    assert (got.candidate[0] >= 0) == (reason != "unseen")


def test_merged_is_covered_by_the_hit_of_a_neighbour():
    got = judged([(0, [0, 0, 22, 20], 0.9)], truth_box=([0, 0, 20, 20], [18, 0, 22, 20]), truth_label=(0, 0))

    assert got.found.tolist() == [True, False]
    assert got.reason.tolist() == ["", "merged"]
    assert got.candidate.tolist() == [0, 0]


def test_the_nearest_prediction_explains_the_miss():
    got = judged([(0, [0, 0, 20, 4], 0.95), (0, [0, 0, 20, 9], 0.6)])

    assert got.evaluation.predictions.score[got.candidate[0]] == 0.6


def test_each_false_alarm():
    got = judged([
        (0, BOX, 0.95),
        (0, [0, 0, 20, 18], 0.9),
        (1, BOX, 0.85),
        (0, [0, 0, 20, 8], 0.8),
        (0, [40, 40, 60, 60], 0.7),
        (0, [40, 40, 60, 60], 0.4),
    ])  # fmt: skip

    assert got.outcome.tolist() == [
        "hit", "duplicate", "misclassified", "mislocalized", "background", "below_threshold",
    ]  # fmt: skip


def test_what_doesnt_count_has_no_fate():
    got = judged([(0, BOX, 0.9)], ignore=[True])

    assert got.reason.tolist() == [""]
    assert got.outcome.tolist() == ["absorbed"]


def test_an_unreachable_policy_misses_all():
    got = judged([(0, BOX, 0.9)], s=np.inf)

    assert got.reason.tolist() == ["below_threshold"]
    assert got.outcome.tolist() == ["below_threshold"]
    assert rows([got])[0].threshold is None


@settings(max_examples=100, deadline=None)
@given(scenes.scenes(), st.integers(0, 11))
def test_every_miss_has_one_reason_and_every_prediction_one_outcome(scene, tenths):
    truth, said = scene
    got = judge("d", 0, evaluate(truth, said), np.full(len(truth.categories), tenths / 10))

    counts = truth.defects.counts
    missed = counts & ~got.found
    assert np.isin(got.reason[missed], REASONS).all()
    assert (got.reason[~missed] == "").all()
    assert np.isin(got.outcome, (*FALSE_ALARMS, "hit", "absorbed", "below_threshold")).all()
    assert (got.outcome == "hit").sum() == (got.found & counts).sum()
    over = got.evaluation.predictions.score >= tenths / 10
    assert np.array_equal(got.outcome == "below_threshold", ~over)
    # Exactly the misses that a lower threshold recovers.
    lower = judge("d", 0, got.evaluation, np.zeros(len(truth.categories)))
    assert np.array_equal(got.reason == "below_threshold", missed & lower.found)
    assert len(rows([got])) == counts.sum()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-4, 12)] * 2, *[st.integers(1, 10)] * 2), max_size=5))
def test_covered_share_equals_counting_pixels(places):
    box = np.array([0.0, 0, 10, 10])
    by = np.array([(x, y, x + w, y + h) for x, y, w, h in places], float).reshape(-1, 4)

    grid = np.zeros((10, 10), bool)
    for x0, y0, x1, y1 in by.astype(int):
        grid[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True

    assert covered_share(box, by) == pytest.approx(grid.mean())


def test_masks_are_explained_by_masks():
    top, bottom, whole = (np.zeros((64, 64), bool) for _ in range(3))
    whole[:20, :20] = True
    top[:8, :20] = True
    bottom[12:20, :20] = True
    truth = scenes.dataset(image=[0], label=[0], box=[BOX], images=1, region=(geometry.from_mask(whole),))
    said = scenes.predictions(
        image=[0, 0], label=[0, 0], box=[[0, 0, 20, 8], [0, 12, 20, 20]], score=[0.9, 0.8],
        region=(geometry.from_mask(top), geometry.from_mask(bottom)),
    )  # fmt: skip

    got = judge("d", 0, evaluate(truth, said, Rule(geometry="mask")), np.full(2, 0.5))

    assert got.reason.tolist() == ["fragmented"]
    assert localization([got]).hits == 0
    assert judge("d", 0, evaluate(truth, said.take(np.array([0])), Rule(geometry="mask")), np.full(2, 0.5)).reason[
        0
    ] == ("mislocalized")


def test_localization_of_a_hit_counted_by_hand():
    got = localization([judged([(0, [2, 0, 22, 20], 0.9)])])

    assert got.hits == 1
    assert got.iou_mean == pytest.approx(18 / 22)
    assert got.share_075.count == 1
    assert got.centre_offset_px == pytest.approx(2.0)
    assert got.centre_offset_relative == pytest.approx(0.1)
    assert got.width_ratio == got.height_ratio == 1.0
    assert got.mask_iou_mean is None


def test_masks_of_hits_are_compared():
    truth, _ = scenes.scene(2, masks=True, special=False)
    d = truth.defects
    said = scenes.predictions(image=d.image, label=d.label, box=d.box, score=np.full(len(d), 0.9), region=d.region)

    got = localization([judge("d", 0, evaluate(truth, said), np.full(3, 0.5))])

    assert got.mask_iou_mean == pytest.approx(1.0)


def test_common_hits_are_taken_at_a_low_bar():
    loose, none = judged([(0, [0, 0, 20, 8], 0.9)]), judged([])

    assert touched_iou([loose]).tolist() == pytest.approx([0.4])
    assert np.isnan(touched_iou([none])).all()
    assert touched_iou([loose, loose, none]).tolist() == pytest.approx([0.4])
    assert np.isnan(touched_iou([loose, none])).all()
