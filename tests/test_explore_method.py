"""`method="defect_detect"` on any FiftyOne dataset: FiftyOne's own counts where rules agree, ours where they differ."""

import dataclasses
import uuid

import numpy as np
import pytest

from defect_detect import geometry
from defect_detect.errors import ConfigError, PredictionsError
from defect_detect.evaluation import ledger
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.lrp import lrp
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import rates, scored
from defect_detect.evaluation.reasons import judge
from defect_detect.explore import figures
from tests import scenes
from tests.explored import another

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def make(fiftyone):
    """A plain FiftyOne dataset, as people bring it: nothing of ours in it."""
    made = []

    def dataset(truth, said, *, masks=False, size=True, undeclared=False):
        new = fiftyone.Dataset(f"theirs-{uuid.uuid4().hex}")
        made.append(new)

        def labels(table, row, **more):
            one = []
            for k in np.flatnonzero(table.image == row).tolist():
                x0, y0, x1, y1 = table.box[k] / scenes.SIDE
                extra = {name: column[k].item() for name, column in more.items()}
                if masks:
                    whole = geometry.to_mask(table.region[k], scenes.SIDE, scenes.SIDE)
                    a, b, c, d = np.rint(table.box[k]).astype(int)
                    extra["mask"] = whole[b : max(d, b + 1), a : max(c, a + 1)]
                name = truth.categories[table.label[k]].name
                one.append(fiftyone.Detection(label=name, bounding_box=[x0, y0, x1 - x0, y1 - y0], **extra))
            return fiftyone.Detections(detections=one)

        defects, size = truth.defects, fiftyone.ImageMetadata(width=scenes.SIDE, height=scenes.SIDE) if size else None
        new.add_samples(
            [
                fiftyone.Sample(
                    filepath=f"/nowhere/{row}.png", metadata=size, part=str(truth.images.group[row]),
                    ground_truth=labels(defects, row, iscrowd=defects.crowd, ignore=defects.ignore),
                    said=labels(said, row, confidence=said.score),
                )
                for row in range(len(truth.images))
            ],
            dynamic=not undeclared, progress=False,
        )  # fmt: skip
        return new

    yield dataset
    for one in made:
        one.delete()


def by_ours(dataset, key="ours", **options):
    return dataset.evaluate_detections(
        "said", gt_field="ground_truth", eval_key=key, method="defect_detect", progress=False, **options
    )


def by_theirs(dataset, key="theirs", **options):
    return dataset.evaluate_detections("said", eval_key=key, progress=False, **options)


def column(dataset, field, key, end):
    return dataset.values(f"{field}.detections.{key}{end}", unwind=True)


@pytest.mark.parametrize(("seed", "options"), [(3, {}), (4, {"iou": 0.3}), (4, {"classwise": False})])
def test_without_crowds_it_is_fiftyones_own(make, seed, options):
    truth, _ = scenes.scene(seed, images=10, special=False)
    dataset = make(truth, another(truth, seed))
    ours, theirs = by_ours(dataset, **options), by_theirs(dataset, **options)
    for end in ("tp", "fp", "fn"):
        assert dataset.values(f"ours_{end}") == dataset.values(f"theirs_{end}")
    for field in ("ground_truth", "said"):
        for end in ("", "_id"):
            assert column(dataset, field, "ours", end) == column(dataset, field, "theirs", end)
        left, right = (column(dataset, field, key, "_iou") for key in ("ours", "theirs"))
        assert left == [None if iou is None else pytest.approx(iou, abs=1e-9) for iou in right]
    assert ours.metrics() == theirs.metrics()
    assert np.array_equal(ours.confusion_matrix(include_missing=True), theirs.confusion_matrix(include_missing=True))
    kinds = [dataset.to_evaluation_patches(key).count_values("type") for key in ("ours", "theirs")]
    assert kinds[0] == kinds[1]
    if not options:
        assert dataset.sum("ours_tp") > 5 < dataset.sum("ours_fn")


def whole(table):
    """Boxes of whole pixels, filled by their masks: FiftyOne cuts a mask at its box."""
    box = np.rint(table.box)
    box[:, 2:] = np.maximum(box[:, 2:], box[:, :2] + 1)
    return dataclasses.replace(table, box=box, region=tuple(scenes._disc(one) for one in box))


def test_masks_are_compared_as_they_lie_in_the_picture(make):
    """FiftyOne stretches masks to a common size instead, so its IoUs are near ours and not the same."""
    truth, _ = scenes.scene(3, images=10, masks=True)
    said = whole(another(truth, 3, masks=True))
    truth = dataclasses.replace(truth, defects=whole(truth.defects))
    dataset = make(truth, said, masks=True)
    by_ours(dataset, use_masks=True)
    judged = judge("said", 0, evaluate(truth, said, Rule(geometry="mask")), np.full(3, -np.inf))
    assert dataset.sum("ours_tp") == judged.found.sum() > 10
    assert dataset.sum("ours_fp") == (~np.isin(judged.outcome, ("hit", "absorbed"))).sum()
    overlaps = [iou for iou in column(dataset, "ground_truth", "ours", "_iou") if iou is not None]
    assert sorted(overlaps) == pytest.approx(sorted(judged.evaluation.matching.iou[judged.found]))


def test_curves_are_fiftyones_own_without_crowds(make):
    truth, _ = scenes.scene(6, images=10, special=False)
    dataset = make(truth, another(truth, 7))
    ours, theirs = by_ours(dataset), by_theirs(dataset, compute_mAP=True)
    assert ours.mAP() == pytest.approx(theirs.mAP())
    assert ours.mAR() == pytest.approx(theirs.mAR())
    assert ours.classes.tolist() == theirs.classes.tolist()
    assert ours.precision == pytest.approx(theirs.precision)
    assert ours.thresholds == pytest.approx(theirs.thresholds)
    assert len(ours.plot_pr_curves(iou_thresh=0.5).data) == 3


def test_crowds_and_ignored_defects_are_counted_by_our_rules(make):
    truth, said = scenes.scene(5, images=16)
    dataset = make(truth, said)
    results = by_ours(dataset)
    judged = judge("said", 0, evaluate(truth, said), np.full(3, -np.inf))
    assert results.metrics()["support"] == truth.defects.counts.sum() < len(truth.defects)
    assert dataset.sum("ours_tp") == judged.found.sum()
    assert dataset.sum("ours_fn") == (truth.defects.counts & ~judged.found).sum()
    assert dataset.sum("ours_fp") == (~np.isin(judged.outcome, ("hit", "absorbed"))).sum()
    assert dataset.sum("ours_tp") + dataset.sum("ours_fn") == results.confusion_matrix(include_missing=True)[:-1].sum()
    crowd = np.array(dataset.values("ground_truth.detections.iscrowd", unwind=True))
    ignore = np.array(dataset.values("ground_truth.detections.ignore", unwind=True))
    flag = np.array(column(dataset, "ground_truth", "ours", ""))
    assert set(flag[crowd | ignore]) == {None}
    assert set(flag[~(crowd | ignore)]) == {"tp", "fn"}
    absorbed = dict(zip(column(dataset, "said", "ours", "_outcome"), column(dataset, "said", "ours", ""), strict=True))
    assert absorbed["absorbed"] is None
    by_theirs(dataset)
    assert dataset.sum("theirs_tp") + dataset.sum("theirs_fn") > truth.defects.counts.sum()


def test_an_undeclared_attribute_is_seen(make):
    truth, said = scenes.scene(5, images=16)
    dataset = make(truth, said, undeclared=True)
    assert not dataset.has_field("ground_truth.detections.ignore")
    assert by_ours(dataset).metrics()["support"] == truth.defects.counts.sum()


@pytest.mark.parametrize("per_class", [False, True])
def test_objects_carry_what_the_ledger_says_at_a_threshold(make, per_class):
    truth, said = scenes.scene(9, images=12)
    vector = np.array([0.3, 0.6, np.inf]) if per_class else np.full(3, 0.4)
    threshold = {"class0": 0.3, "class1": 0.6, "class2": None} if per_class else 0.4
    dataset = make(truth, said)
    by_ours(dataset, threshold=threshold)
    judged = judge("said", 0, evaluate(truth, said), vector)
    told = {row.annotation_id: row for row in ledger.rows([judged])}
    order = np.argsort(truth.defects.image, kind="stable")
    seen = set()
    for row, one in zip(order, (d for s in dataset for d in s.ground_truth.detections), strict=True):
        line = told.get(int(truth.defects.id[row]))
        if line is None:
            assert [one.has_field("ours"), one["ours_id"], one.has_field("ours_reason")] == [False, "", False]
            continue
        assert one["ours"] == ("tp" if line.found else "fn")
        reason = one.get_attribute_value("ours_reason", None)
        assert reason == (line.reason or None)
        seen.add(reason)
        if line.found:
            assert (one["ours_found_at"], one["ours_iou"]) == (line.score, pytest.approx(line.iou))
        else:
            assert one.get_attribute_value("ours_candidate_score", None) == line.candidate_score
            assert one.has_field("ours_candidate_iou") == one.has_field("ours_candidate_id")
    assert {None, "below_threshold", "unseen"} <= seen
    outcomes = dataset.count_values("said.detections.ours_outcome")
    names, counts = np.unique(judged.outcome, return_counts=True)
    assert outcomes == dict(zip(names.tolist(), counts.tolist(), strict=True))
    flags = zip(column(dataset, "said", "ours", "_outcome"), column(dataset, "said", "ours", ""), strict=True)
    assert {flag for outcome, flag in flags if outcome in ("below_threshold", "absorbed")} == {None}


def test_the_metrics_are_the_evaluators(make):
    from defect_detect.explore import metrics

    truth, said = scenes.scene(12, images=16, groups=9)
    dataset = make(truth, said)
    results = by_ours(dataset, threshold=0.5, unit="part")
    judged = judge("said", 0, evaluate(truth, said), np.full(3, 0.5))
    expected = {name: rate.value for name, rate in rates(scored(judged.evaluation), judged.threshold).items()}
    expected["olrp"] = lrp([judged]).olrp
    operators = {one().config.name: one() for one in metrics.OPERATORS}
    assert operators.keys() == figures.TITLES.keys()
    for name, operator in operators.items():
        assert operator.config.aggregate_key == name
        assert operator.compute(dataset, results) == pytest.approx(expected[name])
    plain = by_theirs(dataset)
    assert operators["fn_rate"].compute(dataset, plain) == pytest.approx(
        rates(scored(evaluate(*_uncrowded(truth, said))), np.full(3, -np.inf))["fn_rate"].value
    )


def _uncrowded(truth, said):
    """FiftyOne's runs know no attribute `ignore`."""
    defects = dataclasses.replace(truth.defects, ignore=np.zeros(len(truth.defects), np.bool_))
    return dataclasses.replace(truth, defects=defects), said


def test_a_run_can_be_renamed_loaded_again_and_deleted(fiftyone, make):
    truth, said = scenes.scene(2)
    dataset = make(truth, said)
    before = set(dataset.get_field_schema(flat=True))
    by_ours(dataset, threshold=0.4)
    dataset.rename_evaluation("ours", "again")
    assert dataset.has_field("ground_truth.detections.again_reason")
    assert not dataset.has_field("ground_truth.detections.ours_reason")
    dataset.clear_cache()
    loaded = dataset.load_evaluation_results("again")
    assert type(loaded).__name__ == "MissResults"
    assert loaded.metrics()["support"] == truth.defects.counts.sum()
    assert dataset.get_evaluation_info("again").config.threshold == 0.4
    by_ours(dataset, key="again", threshold=0.9)
    dataset.delete_evaluation("again")
    assert set(dataset.get_field_schema(flat=True)) == before
    assert by_ours(dataset, key=None).metrics()["support"] == truth.defects.counts.sum()
    assert set(dataset.get_field_schema(flat=True)) == before


def test_a_view_is_evaluated_alone(make):
    truth, said = scenes.scene(2)
    dataset = make(truth, said)
    by_ours(dataset.limit(3))
    assert dataset.count_values("ours_tp")[None] == len(dataset) - 3


def test_scenario_subsets_are_counted(make):
    truth, said = scenes.scene(5, images=16)
    results = by_ours(make(truth, said))
    total = results.metrics()["support"]
    parts = []
    for name in ("class0", "class1", "class2"):
        with results.use_subset({"type": "attribute", "field": "label", "value": name}):
            parts.append(results.metrics()["support"])
    assert sum(parts) == total
    assert min(parts) > 0


def test_fiftyones_own_configuration_can_name_it(fiftyone, monkeypatch):
    from fiftyone.core.config import EvaluationConfig

    from defect_detect.explore.method import MissEvaluationConfig

    where = "defect_detect.explore.method.MissEvaluationConfig"
    config = EvaluationConfig({"detection_backends": {"defect_detect": {"config_cls": where}}})
    assert config.detection_backends["defect_detect"]["config_cls"] == where
    monkeypatch.setenv("FIFTYONE_DETECTION_BACKENDS", "*,defect_detect")
    monkeypatch.setenv("FIFTYONE_DETECTION_DEFECT_DETECT_CONFIG_CLS", where)
    config = EvaluationConfig({})
    assert config.detection_backends["defect_detect"]["config_cls"] == where
    assert "coco" in config.detection_backends
    monkeypatch.setattr(fiftyone, "evaluation_config", config)
    made = MissEvaluationConfig("p", "g")
    assert (made.iou, made.classwise, made.rule) == (0.5, True, Rule())


def test_what_cannot_be_judged_is_refused(fiftyone, make):
    truth, said = scenes.scene(2)
    dataset = make(truth, said, size=False)
    assert by_ours(dataset).metrics()["support"] == truth.defects.counts.sum()
    with pytest.raises(ConfigError, match="compute_metadata"):
        by_ours(dataset, key=None, use_masks=True)
    with pytest.raises(ConfigError, match="over 0 and up to 1"):
        by_ours(dataset, key=None, iou=0)
    with pytest.raises(ValueError, match="classwise"):
        by_ours(dataset, key=None, classwise=False, threshold={"class0": 1})
    dataset.set_values("said.detections.confidence", [[None] * len(r) for r in dataset.values("said.detections.id")])
    with pytest.raises(PredictionsError, match="confidence"):
        by_ours(dataset, key=None)
    for field in ("lines", "others"):
        dataset.add_sample_field(field, fiftyone.EmbeddedDocumentField, embedded_doc_type=fiftyone.Polylines)
    with pytest.raises(ConfigError, match="Detections of pictures"):
        dataset.evaluate_detections("lines", gt_field="others", method="defect_detect", progress=False)
