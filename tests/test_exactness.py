"""What must hold exactly: equality with pycocotools and FiftyOne, and the laws of counting."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.evaluation.average_precision import average_precision
from defect_detect.evaluation.froc import froc
from defect_detect.evaluation.judged import Contender, Rule, Run
from defect_detect.evaluation.matching import evaluate, match
from defect_detect.evaluation.missed import found, found_any_class, rates, scored
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.reasons import REASONS, judge
from defect_detect.evaluation.slices import parts
from defect_detect.tables import Predictions
from tests import coco_reference, scenes
from tests.test_average_precision import figures
from tests.test_compare import compared
from tests.test_matching import ours

TEN = np.linspace(0.5, 0.95, 10)


def ap_of(truth, said, kind="bbox"):
    run = coco_reference.reference(truth, said, kind=kind)
    return coco_reference.summarized(run)


def at(value, classes):
    return np.full(classes, value, np.float64)


@settings(max_examples=120, deadline=None)
@given(scenes.scenes(max_classes=3))
def test_ap_and_ar_of_small_scenes_equal_pycocotools(scene):
    # Crowds, ignored defects, ties, classes without truth or predictions, empty images: hypothesis draws them all.
    truth, said = scene

    assert figures(average_precision(truth, said)) == pytest.approx(ap_of(truth, said), abs=1e-9)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ap_and_ar_at_the_cap_of_a_hundred_with_ties_equal_pycocotools(kind):
    truth, said = scenes.scene(11, images=3, classes=2, defects=30, said=900, masks=kind == "segm")
    assert np.bincount(said.image * 2 + said.label).max() > 100
    assert len(np.unique(said.score)) < len(said) / 40

    got = average_precision(truth, said, "mask" if kind == "segm" else "box")

    assert figures(got) == pytest.approx(ap_of(truth, said, kind), abs=1e-9)


def test_ap_of_what_is_empty_equals_pycocotools():
    nothing, said = scenes.scene(0, defects=0)
    truth, _ = scenes.scene(0)
    only_ignored = dataclasses.replace(truth, defects=dataclasses.replace(
        truth.defects, crowd=np.zeros(40, bool), ignore=np.ones(40, bool)
    ))  # fmt: skip

    for scene in ((nothing, said), (truth, Predictions.none()), (nothing, Predictions.none()), (only_ignored, said)):
        assert figures(average_precision(*scene)) == pytest.approx(ap_of(*scene), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_annotation_id_0_is_an_id_like_any_other(seed):
    # COCOeval writes the id that was matched and reads 0 as none (cocoapi#664), so it is given ids from 1.
    truth, said = scenes.scene(seed, first_id=0)
    assert truth.defects.id[0] == truth.images.id[0] == 0

    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=[0.5])

    assert coco_reference.pairs(run) == ours(match(truth, said, Rule()))
    assert figures(average_precision(truth, said)) == pytest.approx(ap_of(truth, said), abs=1e-9)
    from_one = dataclasses.replace(truth, defects=dataclasses.replace(truth.defects, id=truth.defects.id + 1))
    assert np.array_equal(match(from_one, said, Rule()).defect_of, match(truth, said, Rule()).defect_of)


@pytest.mark.parametrize("masks", [False, True])
def test_pairs_equal_pycocotools_at_every_iou_of_ap(masks):
    truth, said = scenes.scene(21, images=5, defects=40, said=150, masks=masks)
    run = coco_reference.reference(truth, said, kind="segm" if masks else "bbox", max_dets=(1000,), ious=TEN)

    for tind, iou in enumerate(TEN):
        rule = Rule(iou=float(iou), geometry="mask" if masks else "box")
        assert coco_reference.pairs(run, tind) == ours(match(truth, said, rule))


@settings(max_examples=80, deadline=None)
@given(scenes.scenes())
def test_pairs_of_small_scenes_equal_pycocotools_at_every_iou_of_ap(scene):
    truth, said = scene
    run = coco_reference.reference(truth, said, max_dets=(1000,), ious=TEN)

    for tind, iou in enumerate(TEN):
        assert coco_reference.pairs(run, tind) == ours(match(truth, said, Rule(iou=float(iou))))


FIFTYONE = """
import json, sys
import fiftyone as fo
from fiftyone.utils.eval.coco import COCOEvaluation, COCOEvaluationConfig

told = []
for case in json.load(sys.stdin):
    config = COCOEvaluationConfig("said", "truth", iou=case["iou"], classwise=case["classwise"])
    judge = COCOEvaluation(config)
    judge.gt_field, judge.pred_field = "truth", "said"
    pairs = []
    for truth, said in case["images"]:
        sample = fo.Sample(filepath="/none.png")
        for name, rows in (("truth", truth), ("said", said)):
            sample[name] = fo.Detections(detections=[
                fo.Detection(label=str(label), bounding_box=box, confidence=score) for label, box, score in rows
            ])
        judge.evaluate(sample, "e")
        place = {one.id: k for k, one in enumerate(sample["truth"].detections)}
        pairs.append([
            [k, place[one["e_id"]]] for k, one in enumerate(sample["said"].detections) if one["e_id"] in place
        ])
    told.append(pairs)
print(json.dumps(told))
"""


@pytest.mark.fiftyone
def test_pairs_equal_fiftyones_without_crowds(tmp_path):
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne isn't installed")
    truth, said = scenes.scene(7, images=8, said=200, special=False)
    order = np.lexsort((said.label, *said.box.T[::-1], -said.score))
    by_box = np.lexsort((truth.defects.label, *truth.defects.box.T[::-1]))
    rows = [(by_box[truth.defects.image[by_box] == image], order[said.image[order] == image]) for image in range(8)]

    def labelled(table, picked, score):
        box = table.box[picked]
        sides = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1) / scenes.SIDE
        return list(zip(table.label[picked].tolist(), sides.tolist(), score, strict=True))

    images = [(labelled(truth.defects, d, [None] * len(d)), labelled(said, p, said.score[p].tolist())) for d, p in rows]
    cases = [(True, 0.5), (False, 0.5), (True, 0.75), (False, 0.1)]
    # In a process of its own: FiftyOne fixes its database when it is imported, and this needs none.
    run = subprocess.run(
        [sys.executable, "-c", FIFTYONE], capture_output=True, text=True, check=True, cwd=tmp_path,
        input=json.dumps([{"images": images, "classwise": by_class, "iou": iou} for by_class, iou in cases]),
        env=os.environ | {"FIFTYONE_DO_NOT_TRACK": "1"},
    )  # fmt: skip

    for (by_class, iou), told in zip(cases, json.loads(run.stdout.splitlines()[-1]), strict=True):
        theirs = {(int(p[k]), int(d[g])) for (d, p), pairs in zip(rows, told, strict=True) for k, g in pairs}
        hits, absorbed = ours(match(truth, said, Rule(iou=iou, class_aware=by_class)))
        assert theirs == set(hits.items())
        assert len(theirs) > 10
        assert not absorbed


@settings(max_examples=80, deadline=None)
@given(scenes.scenes(max_classes=3), st.lists(st.integers(0, 11), min_size=3, max_size=3))
def test_found_and_missed_add_up_under_every_filter_and_threshold_by_class(scene, tenths):
    truth, said = scene
    lines = np.array(["a", "b"])[np.arange(len(truth.defects)) % 2]
    cameras = np.array(["left", "right"])[np.arange(len(truth.images)) % 2]
    truth = dataclasses.replace(
        truth,
        defects=dataclasses.replace(truth.defects, attribute={"line": lines}),
        images=dataclasses.replace(truth.images, attribute={"camera": cameras}),
    )
    evaluation = evaluate(truth, said)
    s = np.array(tenths[: len(truth.categories)], float) / 10
    hit, hit_any = found(evaluation, s), found_any_class(evaluation, s)
    whole = rates(scored(evaluation), s)["fn_rate"]

    by = {}
    for part in parts(truth):
        hits, misses = int((hit & part.defects).sum()), int((~hit & part.defects).sum())
        assert hits + misses == int(part.defects.sum())
        by.setdefault(part.by, []).append((hits, misses))
    assert not (hit & ~hit_any).any() or len(set(tenths[: len(truth.categories)])) > 1
    for name, counts in by.items():
        if name in ("class", "size"):
            assert sum(map(sum, counts)) == whole.of
            assert sum(misses for _, misses in counts) == whole.count
    judged = judge("a", 0, evaluation, s)
    told = [reason for reason in judged.reason.tolist() if reason]
    assert len(told) == whole.count
    assert set(told) <= set(REASONS)


@settings(max_examples=60, deadline=None)
@given(scenes.scenes(max_classes=3), st.sampled_from([0.1, 0.5, 0.9]), st.booleans())
def test_a_silent_detector_misses_everything_and_alarms_nobody(scene, iou, class_aware):
    truth, _ = scene
    evaluation = evaluate(truth, Predictions.none(), Rule(iou=iou, class_aware=class_aware))

    got = rates(scored(evaluation), at(0.0, len(truth.categories)))

    defects = int(truth.defects.counts.sum())
    assert (got["fn_rate"].count, got["fn_rate"].of) == (defects, defects)
    assert got["escape_rate"].count == got["escape_rate"].of
    assert got["overkill_rate"].count == got["fppi"].count == 0
    if defects:
        assert got["fn_rate"].value == 1.0


@settings(max_examples=80, deadline=None)
@given(scenes.scenes(), scenes.scenes(), st.integers(0, 10), st.booleans(), st.sampled_from([0.1, 0.5, 0.75]))
def test_more_predictions_never_lose_a_found_defect(scene, other, tenths, class_aware, iou):
    truth, said = scene
    _, extra = other
    inside = (extra.image < len(truth.images)) & (extra.label < len(truth.categories))
    more = Predictions.joined([said, extra.take(inside)], regions=False)
    rule = Rule(iou=iou, class_aware=class_aware)

    before = match(truth, said, rule).found_at >= tenths / 10
    after = match(truth, more, rule).found_at >= tenths / 10

    assert not (before & ~after).any()


@settings(max_examples=60, deadline=None)
@given(scenes.scenes(), st.integers(1, 3), st.integers(0, 10))
def test_empty_pictures_more_change_only_what_is_per_picture(scene, copies, tenths):
    truth, said = scene
    names = tuple(f"test/more{k}.png" for k in range(copies))
    images = truth.images
    larger = dataclasses.replace(truth, images=dataclasses.replace(
        images,
        file=images.file + names,
        id=np.concatenate([images.id, np.arange(copies) + 1000]),
        size=np.concatenate([images.size, np.full((copies, 2), scenes.SIDE)]),
        group=np.concatenate([images.group, names]),
        source_id=images.source_id + names,
    ))  # fmt: skip
    s = at(tenths / 10, len(truth.categories))

    few, many = (rates(scored(evaluate(one, said)), s) for one in (truth, larger))

    for name in ("fn_rate", "fn_rate_any_class", "escape_rate", "alarmed_elsewhere"):
        assert few[name] == many[name]
    for name, of in (("overkill_rate", copies), ("fppi", copies), ("fppi_defect_free", copies)):
        assert (many[name].count, many[name].of) == (few[name].count, few[name].of + of)
    if truth.defects.counts.any():
        assert froc(evaluate(truth, said)).curve.recall == froc(evaluate(larger, said)).curve.recall
    assert average_precision(truth, said) == average_precision(larger, said)


@settings(max_examples=60, deadline=None)
@given(scenes.scenes(max_classes=3), st.randoms(use_true_random=False), st.integers(0, 10))
def test_renaming_ids_files_and_classes_and_shuffling_rows_changes_nothing(scene, random, tenths):
    truth, said = scene
    images, labels = len(truth.images), len(truth.categories)
    rows, places, renamed, defects = (
        np.array(random.sample(range(n), n), np.int64) for n in (len(said), images, labels, len(truth.defects))
    )
    place = np.argsort(places)
    moved = dataclasses.replace(
        truth,
        categories=tuple(truth.categories[k] for k in np.argsort(renamed)),
        images=dataclasses.replace(truth.images.take(places), id=np.arange(images) * 7 + 3),
        defects=dataclasses.replace(
            truth.defects.take(defects),
            image=place[truth.defects.image[defects]],
            label=renamed[truth.defects.label[defects]],
            id=np.arange(len(defects)) * 5,
        ),
    )
    theirs = said.take(rows)
    theirs = dataclasses.replace(theirs, image=place[theirs.image], label=renamed[theirs.label])
    s = at(tenths / 10, labels)

    one, other = evaluate(truth, said), evaluate(moved, theirs)

    # Between boxes alike to the last digit the label breaks the tie, so any-class figures may follow their order.
    before, after = rates(scored(one), s), rates(scored(other), s)
    for name in ("fn_rate", "fppi", "escape_rate", "overkill_rate", "fppi_defect_free"):
        assert before[name] == after[name]
    assert froc(one).curve == froc(other).curve
    assert froc(one).lamr == pytest.approx(froc(other).lamr)


def test_permuting_three_detectors_permutes_everything_that_is_each_ones_own():
    truth, _ = scenes.scene(0, images=60, defects=150, groups=30)
    val, _ = scenes.scene(1, images=60, defects=150, groups=30, split="val", first_id=10_000)

    def one(name, seed):
        rng = np.random.default_rng(seed)
        both = []
        for split in (truth, val):
            d = split.defects
            keep = rng.random(len(d)) < 0.7
            both.append(evaluate(split, scenes.predictions(
                image=d.image[keep], label=d.label[keep], box=d.box[keep], score=rng.integers(1, 20, keep.sum()) / 20
            )))  # fmt: skip
        return Contender(name=name, runs=(Run(seed=0, test=both[0], validation=both[1], manifest=None),))

    field = [one("a", 1), one("b", 2), one("c", 3)]

    first, _ = compared(*field, resamples=100)
    again, _ = compared(*field[::-1], resamples=100)

    assert again.detectors == first.detectors[::-1]
    assert {frozenset((p.a, p.b)): abs(p.fn_rate.value) for p in again.pairs} == {
        frozenset((p.a, p.b)): abs(p.fn_rate.value) for p in first.pairs
    }
    assert {frozenset(s.missed_by): s.count for s in again.agreement.subsets} == {
        frozenset(s.missed_by): s.count for s in first.agreement.subsets
    }
    assert again.suspects.missed_by_all == first.suspects.missed_by_all
    assert again.protocol == first.protocol
    assert parse_policy("fppi<=0.1").text == first.protocol.policy
