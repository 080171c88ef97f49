from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from defect_detect.errors import ConfigError, DatasetError, NotComparable
from defect_detect.evaluation import contract, verdict
from defect_detect.evaluation.compare import compare
from defect_detect.evaluation.comparison import Comparison, DatasetFacts, Difference, Estimate, Rate
from defect_detect.evaluation.froc import POINTS, froc
from defect_detect.evaluation.froc_resampling import drawn_curve
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.ledger import rows
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import scored
from defect_detect.evaluation.operating import parse_policy
from defect_detect.job import Manifest
from defect_detect.tables import Predictions
from tests import scenes

FACTS = DatasetFacts(
    name="scene", fingerprints={}, categories=[], images={}, units={}, defective={}, defect_free={}, defects={},
    masks=False, quarantined={}, scale=None, unit="px",
)  # fmt: skip


def split(name, images=120, **more):
    """Half of the images defective, two defects in each, far apart."""
    defective = images // 2
    image = np.repeat(np.arange(defective), 2)
    box = np.tile([[4, 4, 20, 20], [36, 36, 60, 60]], (defective, 1))
    first = 1 if name == "test" else 100_000
    return scenes.dataset(
        image=image, label=np.tile([0, 1], defective), box=box, images=images, split=name, first_id=first, **more
    )


def detector(truth, seed, *, recall, alarms=0.05, shift=0.0, floor=0.0):
    """Finds each defect with probability `recall`, raises so many false alarms an image, all by chance."""
    rng = np.random.default_rng(seed)
    d = truth.defects
    hit = rng.random(len(d)) < recall
    false = rng.random(len(truth.images)) < alarms
    box = d.box[hit] + shift
    return scenes.predictions(
        image=np.concatenate([d.image[hit], np.flatnonzero(false)]),
        label=np.concatenate([d.label[hit], np.zeros(false.sum(), int)]),
        box=np.concatenate([box, np.tile([22.0, 2, 34, 14], (false.sum(), 1))]),
        score=np.concatenate([rng.uniform(0.3, 1, hit.sum()), rng.uniform(max(floor, 0.05), 0.9, false.sum())]),
    )


def manifest(name, **more):
    plain = {
        "detector": name, "framework": "classical", "model": "threshold", "family": "yolo", "seed": 0, "versions": {},
        "checkpoint_sha256": "c", "dataset_fingerprint": "f", "split": "test", "images_sha256": "i", "images": 120,
        "categories": ["class0", "class1"], "score_floor": 0.001, "max_detections": 100, "decode_policy": "d",
        "tiling": "none", "nms_iou": 0.5, "input_size": "64", "initial_weights": "none", "masks": "none", "epochs": 5,
        "images_seen": 120, "defect_free_seen": 60, "stopped_early": True, "under_trained": False,
        "predictions_sha256": "p",
    }  # fmt: skip
    return Manifest(**(plain | more))


def contender(name, *, seeds=1, test=None, val=None, on_val=True, entry=None, **how):
    test, val = test or split("test"), val or split("val")
    base = sum(map(ord, name))
    return Contender(
        name=name,
        runs=tuple(
            Run(
                seed=seed,
                test=evaluate(test, detector(test, [base, seed, 0], **how)),
                validation=evaluate(val, detector(val, [base, seed, 1], **how)) if on_val else None,
                manifest=entry,
            )
            for seed in range(seeds)
        ),
    )


def compared(*contenders, policy="fppi<=0.1", resamples=300, **more):
    costs = {"escape": 10.0, "overkill": 1.0}
    chosen = parse_policy(policy, costs, 0.1)
    return compare(contenders, policy=chosen, facts=FACTS, versions={"numpy": "2"}, resamples=resamples, **more)


def test_a_clear_winner_is_named_in_plain_words():
    comparison, judged = compared(contender("good", recall=0.97), contender("poor", recall=0.6))

    pair = comparison.pairs[0]
    assert pair.outcome == "a"
    assert comparison.verdict.startswith("good misses the fewest defects at a budget of 0.1 false alarms per image: ")
    assert f"{comparison.detectors[0].test.fn_rate.rate.count} of 120" in comparison.verdict
    assert "good misses fewer defects than poor" in pair.sentence
    assert "at least 3 seeds" in comparison.verdict
    assert pair.fn_rate.interval.high < 0
    assert pair.fn_rate.p_holm < 0.05
    assert len(rows(judged)) == 240


def test_equals_are_not_told_apart_and_the_needed_number_is_said():
    comparison, _ = compared(contender("one", recall=0.8), contender("two", recall=0.8))

    pair = comparison.pairs[0]
    assert pair.outcome == "indistinguishable"
    assert "The data can't tell" in comparison.verdict
    assert "takes about" in pair.sentence
    assert pair.smallest_detectable > 0
    assert pair.defects_needed > 0


def test_a_fixed_score_speaks_without_validation():
    policy = "score=0.3"
    comparison, _ = compared(
        contender("good", recall=0.97, on_val=False), contender("poor", recall=0.6, on_val=False), policy=policy
    )

    point = comparison.detectors[0].operating_point
    assert point.status == "fixed"
    assert point.validation is None
    assert comparison.detectors[0].test.fn_rate.this_policy is None
    assert comparison.pairs[0].outcome == "a"
    assert "at score 0.3" in comparison.verdict


def test_other_policies_need_validation():
    with pytest.raises(ConfigError, match=r"good: expected predictions on val.*score=0.5"):
        compared(contender("good", recall=0.9, on_val=False))


def test_fewer_misses_bought_with_false_alarms_win_nothing():
    # Both find by chance the same defects; one uses a lower score, where false alarms crowd in.
    test, val = split("test", 400), split("val", 400)
    loud = contender("loud", recall=0.95, alarms=0.9, test=test, val=val)
    quiet = contender("quiet", recall=0.8, alarms=0.0, test=test, val=val)

    comparison, _ = compared(loud, quiet, policy="score=0.05")

    pair = comparison.pairs[0]
    assert pair.fppi.interval.low > 0
    assert pair.fn_rate.p_holm < 0.05
    assert pair.fn_rate.interval.high < 0
    # At few false alarms the curve doesn't favour the loud one, so its misses aren't fewer at a matched budget.
    favoured = pair.partial_froc.interval.low > 0
    assert pair.matched_budget == favoured
    assert pair.outcome == ("a" if favoured else "indistinguishable")


def test_an_unmatched_budget_is_said():
    test = split("test", 200)
    d, n = test.defects, len(test.images)
    every = np.ones(len(d), bool)

    def said(hit, score, alarm_score, alarms):
        return scenes.predictions(
            image=np.concatenate([d.image[hit], np.arange(alarms)]), label=np.concatenate([d.label[hit], [0] * alarms]),
            box=np.concatenate([d.box[hit], np.tile([22.0, 2, 34, 14], (alarms, 1))]),
            score=np.concatenate([np.full(hit.sum(), score), np.full(alarms, alarm_score)]),
        )  # fmt: skip

    def run(predictions):
        return Run(seed=0, test=evaluate(test, predictions), validation=None, manifest=None)

    # The loud one finds everything, but only after an alarm in every image.
    loud = Contender(name="loud", runs=(run(said(every, 0.5, 0.9, n)),))
    quiet = Contender(name="quiet", runs=(run(said(np.arange(len(d)) % 5 > 0, 0.8, 0.6, 4)),))

    comparison, _ = compared(quiet, loud, policy="score=0.4")

    pair = comparison.pairs[0]
    assert not pair.matched_budget
    assert pair.outcome == "indistinguishable"
    assert "loud misses fewer defects than quiet (0 of 200" in pair.sentence
    assert "but raises more false alarms (1 against 0.02)" in pair.sentence
    assert pair.partial_froc.value > 0


def test_the_under_trained_get_no_verdict():
    entry = manifest("young", under_trained=True)
    comparison, _ = compared(
        contender("young", recall=0.5, entry=entry), contender("old", recall=0.95, entry=manifest("old"))
    )

    assert comparison.pairs[0].outcome == "no_verdict"
    assert comparison.pairs[0].fn_rate.p_holm is None
    assert "young was still improving" in comparison.pairs[0].sentence
    assert "Only old can be judged" in comparison.verdict
    assert comparison.detectors[0].under_trained


def test_several_of_whom_the_same_is_to_be_said_share_a_sentence():
    names = ("young", "green")
    field = [contender(name, recall=0.7, entry=manifest(name, under_trained=True)) for name in names]
    silent = [contender(name, recall=0.0, alarms=0.0) for name in ("mute", "still")]
    told = compared(*field, contender("old", recall=0.7, entry=manifest("old")), *silent)[0].verdict

    said = "young and green were still improving when their training ended: no verdict on them; train them longer."
    assert said in told
    assert "mute and still can't keep the policy at any threshold and count as missing every defect." in told


def test_one_common_hit_shows_no_difference_in_placement():
    truth = scenes.dataset(image=range(12), label=[0] * 12, box=[[0, 0, 10, 10]] * 12, images=20, split="test")

    def one(name, rows, box):
        said = scenes.predictions(image=rows, label=[0] * len(rows), box=[box] * len(rows), score=[0.9] * len(rows))
        run = Run(seed=0, test=evaluate(truth, said), validation=None, manifest=None)
        return Contender(name=name, runs=(run,))

    def told(common):
        field = [one("a", [0, *range(1, 6)], [0, 0, 10, 10]), one("b", [*common, *range(6, 12)], [0, 0, 10, 8])]
        return compare(field, policy=parse_policy("score=0.5"), facts=FACTS, versions={}, resamples=300)[0].pairs[0]

    pair = told([0])
    assert (pair.common_hits, pair.localization.value) == (1, pytest.approx(0.2))
    assert pair.localization.interval is None
    assert "places its boxes better" not in pair.sentence
    assert told([]).common_hits == 0


def test_three_seeds_speak_of_the_detectors():
    comparison, judged = compared(contender("good", recall=0.97, seeds=3), contender("poor", recall=0.6, seeds=3))

    good = comparison.detectors[0]
    assert good.test.fn_rate.rate.of == 360
    assert len(good.operating_point.thresholds) == 3
    assert len(judged) == 6
    assert "Trained 3 times each" in comparison.verdict
    assert comparison.pairs[0].outcome == "a"
    assert all(np.diff(good.froc.curve.fppi) >= 0)


def test_a_silent_detector_misses_all_and_says_so():
    test, val = split("test"), split("val")
    silent = Contender(
        name="silent",
        runs=(Run(seed=0, test=evaluate(test, Predictions.none()), validation=evaluate(val, Predictions.none()),
                  manifest=None),),
    )  # fmt: skip
    comparison, judged = compared(silent, contender("good", recall=0.97))

    detector_ = comparison.detectors[0]
    assert detector_.test.fn_rate.rate.value == 1.0
    assert detector_.test.fn_rate.this_policy.low < 1.0
    assert detector_.froc.lamr == 1.0
    assert detector_.operating_point.status == "unreachable"
    assert detector_.operating_point.thresholds == [None]
    assert "silent can't keep the policy at any threshold" in comparison.verdict
    assert comparison.pairs[0].outcome == "b"
    assert detector_.miss_reasons["unseen"] == 120
    assert rows(judged)[0].candidate_score is None


def test_a_recall_policy_compares_false_alarms():
    test, val = split("test", 300), split("val", 300)
    noisy = contender("noisy", recall=0.95, alarms=0.9, test=test, val=val)
    calm = contender("calm", recall=0.95, alarms=0.02, test=test, val=val)

    comparison, _ = compared(noisy, calm, policy="recall>=0.9")

    assert comparison.pairs[0].outcome == "b"
    assert comparison.pairs[0].fppi.p_holm < 0.05
    assert comparison.pairs[0].fn_rate.p is None
    assert "calm raises fewer false alarms than noisy" in comparison.pairs[0].sentence
    assert "calm raises the fewest false alarms" in comparison.verdict


def test_an_unreachable_recall_is_not_available():
    comparison, _ = compared(contender("blind", recall=0.3), contender("good", recall=0.97), policy="recall>=0.9")

    blind = comparison.detectors[0]
    assert blind.operating_point.status == "unreachable"
    assert blind.test.fn_rate.rate.value is None
    assert "best recall" in blind.operating_point.notes[0]
    assert comparison.pairs[0].outcome == "no_verdict"
    assert "blind has no threshold under this policy" in comparison.pairs[0].sentence


@pytest.mark.parametrize("policy", ["overkill<=0.2", "f1", "cost"])
def test_the_remaining_policies_run_through(policy):
    comparison, _ = compared(contender("good", recall=0.97), contender("poor", recall=0.6), policy=policy)

    assert comparison.protocol.policy == policy
    assert comparison.detectors[0].operating_point.status == "ok"
    assert comparison.detectors[0].test.fn_rate.this_policy is not None


def test_too_few_units_for_an_overkill_budget():
    comparison, _ = compared(contender("good", recall=0.97), policy="overkill<=0.001")

    assert comparison.detectors[0].operating_point.status == "not_measurable"
    assert comparison.verdict == "No detector can be judged."


def test_critical_defects_come_first():
    test = split("test", severity=("critical", "minor"))
    comparison, _ = compared(contender("good", recall=0.9, test=test), contender("poor", recall=0.6, test=test))

    part = next(s for s in comparison.detectors[0].slices if (s.by, s.value) == ("severity", "critical"))
    assert comparison.verdict.startswith(f"Critical defects missed: good {part.fn_rate.rate.count} of 60")
    assert [s.value for s in comparison.detectors[0].slices if s.by == "severity"] == ["critical", "minor"]


def test_slices_add_up_and_long_attributes_are_left_out():
    count = 120
    test = split(
        "test",
        attribute={"line": np.array(["A", "B"] * 60), "name": np.array([f"d{i}" for i in range(count)]),
                   "severity": np.array(["critical", ""] * 60)},
        image_attribute={"camera": np.array(["left", "right"] * 60)},
        severity=("minor", "minor"),
    )  # fmt: skip
    comparison, _ = compared(contender("good", recall=0.9, test=test))

    by = {}
    for part in comparison.detectors[0].slices:
        by.setdefault(part.by, []).append(part)
    assert set(by) == {"class", "size", "severity", "line", "camera"}
    for parts in by.values():
        assert sum(p.fn_rate.rate.of for p in parts) == count
        assert sum(p.fn_rate.rate.count for p in parts) == comparison.detectors[0].test.fn_rate.rate.count
        assert all(p.fn_rate.this_threshold.low < p.fn_rate.this_threshold.high for p in parts)


def test_permuting_the_detectors_permutes_the_result():
    entrants = [contender(n, recall=r) for n, r in (("one", 0.9), ("two", 0.8), ("three", 0.7))]
    first, _ = compared(*entrants)

    for order in itertools.permutations(entrants):
        again, _ = compared(*order)
        for detector_ in again.detectors:
            assert detector_ == next(d for d in first.detectors if d.name == detector_.name)
        assert again.agreement.union_fn_rate == first.agreement.union_fn_rate
        assert again.agreement.union_fppi == first.agreement.union_fppi
        assert again.rank_stability == first.rank_stability
        outcomes = {p.outcome if p.outcome not in ("a", "b") else getattr(p, p.outcome) for p in again.pairs}
        assert outcomes == {p.outcome if p.outcome not in ("a", "b") else getattr(p, p.outcome) for p in first.pairs}


def test_the_same_input_gives_the_same_bytes_and_reads_back():
    one, _ = compared(contender("good", recall=0.9), contender("poor", recall=0.7))
    two, _ = compared(contender("good", recall=0.9), contender("poor", recall=0.7))

    text = msgspec.json.encode(one)
    assert text == msgspec.json.encode(two)
    assert msgspec.json.decode(text, type=Comparison) == one


def test_agreement_counts_every_subset_once():
    comparison, judged = compared(*[contender(n, recall=r) for n, r in (("a", 0.9), ("b", 0.8), ("c", 0.7))])

    agreement = comparison.agreement
    assert sum(s.count for s in agreement.subsets) == agreement.of == 120
    missed_by_all = int(np.all([~j.found for j in judged], axis=0).sum())
    assert agreement.union_fn_rate.count == missed_by_all == len(comparison.suspects.missed_by_all)
    most = max(d.test.fppi.rate.count for d in comparison.detectors)
    assert most <= agreement.union_fppi.count <= sum(d.test.fppi.rate.count for d in comparison.detectors)


def test_a_place_where_all_alarm_is_suspect():
    test, val = split("test", 60), split("val", 60)

    def one(name, shift):
        runs = []
        for truth in (test, val):
            d = truth.defects
            # Besides every defect, one unlabelled thing in the last (defect-free) image.
            runs.append(evaluate(truth, scenes.predictions(
                image=np.append(d.image, 59), label=np.append(d.label, 1),
                box=np.concatenate([d.box, [[30.0 + shift, 30, 50 + shift, 50]]]), score=np.full(len(d) + 1, 0.9),
            )))  # fmt: skip
        return Contender(name=name, runs=(Run(seed=0, test=runs[0], validation=runs[1], manifest=None),))

    comparison, _ = compared(one("a", 0.0), one("b", 1.0))

    assert [(p.image, p.category) for p in comparison.suspects.alarmed_by_all] == [("test/00059.png", "class1")]
    assert comparison.agreement.union_fppi.count == 1
    assert comparison.detectors[0].test.fn_rate.this_policy.high > 0


def test_better_placed_boxes_are_said():
    test, val = split("test"), split("val")
    exact = contender("exact", recall=0.9, test=test, val=val)
    loose = contender("loose", recall=0.9, shift=3.0, test=test, val=val)

    comparison, _ = compared(exact, loose)

    pair = comparison.pairs[0]
    assert pair.localization.value > 0.1
    assert pair.localization.interval.low > 0
    both = f"On the {pair.common_hits} defects that both found at IoU ≥ 0.1"
    assert f"{both}, exact places its boxes better" in pair.sentence


def test_a_threshold_at_the_floor_is_censored():
    comparison, _ = compared(contender("calm", recall=0.9, alarms=0.0), contender("loud", recall=0.9, alarms=0.9))

    assert comparison.detectors[0].operating_point.censored
    assert not comparison.detectors[1].operating_point.censored
    assert "lowest score" in comparison.detectors[0].operating_point.notes[0]
    fixed, _ = compared(contender("calm", recall=0.9, entry=manifest("calm", score_floor=0.2)), policy="score=0.1")
    assert fixed.detectors[0].operating_point.censored


def test_small_budgets_few_units_and_missing_good_parts_are_warned_of():
    test, val = split("test", 20), split("val", 60)
    comparison, _ = compared(contender("a", recall=0.9, test=test, val=val))
    text = " ".join(comparison.warnings)
    assert "fppi<=0.1 on 60 validation images is 6 false alarms: the threshold is itself uncertain" in text
    assert "Only 10 units of test are defective" in text
    over, _ = compared(contender("a", recall=0.9, test=test, val=val), policy="overkill<=0.2")
    assert "30 defect-free validation units is 6 needless rejects" in " ".join(over.warnings)
    full = scenes.dataset(image=range(100), label=[0] * 100, box=[[4, 4, 20, 20]] * 100, images=100)
    none, _ = compared(contender("a", recall=0.9, test=full, val=split("val", 200)))
    assert none.warnings == ["Test has no defect-free units: overkill can't be measured, and false alarms look rarer."]
    assert none.detectors[0].test.overkill_rate.rate.value is None


def test_nothing_to_compare_is_the_users_mistake():
    with pytest.raises(ConfigError, match="at least one"):
        compared()
    with pytest.raises(ConfigError, match="a name of its own"):
        compared(contender("a", recall=0.9), contender("a", recall=0.8))
    with pytest.raises(ConfigError, match="resamples"):
        compared(contender("a", recall=0.9), resamples=0)
    test, said = scenes.scene(0, defects=0)
    run = Run(seed=0, test=evaluate(test, said), validation=None, manifest=None)
    with pytest.raises(DatasetError, match="at least one defect"):
        compared(Contender(name="a", runs=(run,)), policy="score=0.5")


def test_detectors_measured_differently_are_refused_all_at_once():
    a = contender("a", recall=0.9, entry=manifest("a"))
    b = contender("b", recall=0.9, entry=manifest("b", score_floor=0.25, max_detections=300, initial_weights="coco"))

    with pytest.raises(NotComparable) as caught:
        contract.check([a, b])

    assert [fault.where for fault in caught.value.faults] == ["score floor", "cap on detections", "initial weights"]
    assert "0.001 for a; 0.25 for b" in str(caught.value)
    comparison, _ = compared(a, b, allow=True)
    assert "Not measured alike (allowed): score floor differs" in comparison.verdict
    assert any("score floor" in warning for warning in comparison.warnings)


def test_a_baseline_may_stand_beside_the_pretrained():
    a = contender("a", recall=0.9, entry=manifest("a", initial_weights="coco"))
    b = contender("b", recall=0.9, entry=manifest("b", family="baseline"))

    assert contract.check([a, b]) == []


def test_different_truths_are_never_compared():
    with pytest.raises(NotComparable, match="test images and ground truth"):
        contract.check([contender("a", recall=0.9), contender("b", recall=0.9, test=split("test", 60))], allow=True)


def test_files_without_a_manifest_are_taken_with_what_can_be_seen():
    comparison, _ = compared(contender("a", recall=0.9))
    assert "no manifest" in comparison.detectors[0].notes[0]
    assert "at most 3 predictions" in comparison.detectors[0].notes[0]
    entry = manifest("b", max_detections=3)
    capped, _ = compared(contender("b", recall=1.0, alarms=1.0, entry=entry))
    assert "60 images hold as many predictions as the cap of 3 allows" in capped.detectors[0].notes
    assert capped.detectors[0].measured["input_size"] == "64"


@pytest.mark.parametrize("seed", range(3))
def test_resampled_curves_with_all_weights_one_are_the_curve(seed):
    truth, said = scenes.scene(seed, images=40, defects=60, said=300, groups=15)
    evaluation = evaluate(truth, said)
    table, one = scored(evaluation), np.ones((2, 15), int)
    curve = froc(evaluation)

    recall = drawn_curve(table, np.array(POINTS), 1.0, one).recall
    assert recall.mean(axis=1) == pytest.approx([curve.score] * 2)
    for budget in (0.05, 0.3, 20.0):
        fppi, recall = np.array(curve.curve.fppi), np.array(curve.curve.recall)
        grid = (np.arange(200_000) + 0.5) / 200_000 * budget
        expected = recall[np.searchsorted(fppi, grid, side="right") - 1].mean()
        assert drawn_curve(table, np.zeros(0), budget, one).area == pytest.approx([expected] * 2, abs=1e-4)


def test_words_for_what_is_not_known():
    comparison, _ = compared(contender("one", recall=0.8), contender("two", recall=0.8))
    by_name = {d.name: d for d in comparison.detectors}
    blank = Difference(value=None, interval=None)
    bare = Difference(value=0.1, interval=None)
    policy = parse_policy("fppi<=0.1")
    pair = comparison.pairs[0]

    assert verdict.share(Rate(count=0, of=0)) == "n/a"
    assert "no difference measured, p not tested" in verdict.sentence(
        msgspec.structs.replace(pair, fn_rate=blank), by_name, policy
    )
    assert "10.0 points fewer, p not tested" in verdict.sentence(
        msgspec.structs.replace(pair, fn_rate=bare, smallest_detectable=None), by_name, policy
    )
    estimate = Estimate(rate=Rate(count=1, of=2))
    lone = msgspec.structs.replace(by_name["one"], test=msgspec.structs.replace(by_name["one"].test, fn_rate=estimate))
    assert verdict.verdict([lone], [], policy, []) == (
        "one misses 1 of 2 defects (50.0 %) at a budget of 0.1 false alarms per image."
    )
