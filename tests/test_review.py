"""Decisions of people correct the labels for all detectors alike, or are refused all at once."""

import numpy as np
import pytest
from msgspec.structs import replace

from defect_detect import geometry
from defect_detect.errors import DatasetError
from defect_detect.evaluation import adjudicate, review
from defect_detect.evaluation.compare import compare
from defect_detect.evaluation.comparison import Rate
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.reasons import judge
from defect_detect.evaluation.review import Entry, Header, Review
from defect_detect.evaluation.review_template import template
from defect_detect.evaluation.reviewed_truth import corrected
from defect_detect.explore.reviewed import decisions
from defect_detect.explore.rows import defect_id, prediction_id
from tests import scenes
from tests.test_compare import FACTS

A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 60, 60]
TRUTH = scenes.dataset(image=[0, 0, 1], label=[0, 1, 0], box=[A, B, C], images=3)
ALARM = [30, 0, 40, 10]


def contender(name, boxes, truth=TRUTH, region=None):
    """Says each (image, label, box) at 0.9."""
    said = scenes.predictions(
        image=[i for i, _, _ in boxes], label=[k for _, k, _ in boxes], box=[b for _, _, b in boxes],
        score=[0.9] * len(boxes), region=region,
    )  # fmt: skip
    one = evaluate(truth, said)
    return Contender(name=name, runs=(Run(seed=0, test=one, validation=one, manifest=None),))


# a misses B and alarms in pictures 1 and 2; b misses A and B, and alarms almost where a does in picture 2.
BOTH = [
    contender("a", [(0, 0, A), (1, 0, C), (1, 1, ALARM), (2, 0, ALARM)]),
    contender("b", [(1, 0, C), (2, 0, [30, 0, 40, 11])]),
]


def entry(decision, annotation=None, image=0, box=ALARM, **how):
    how.setdefault("category", "class0")
    return Entry(decision=decision, image=f"test/{image:05d}.png", annotation=annotation, box=tuple(box), **how)


def decided(*entries):
    return Review(header=Header(review=1, dataset="test-fingerprint", split="test"), entries=list(entries))


def figures(said, contenders=BOTH):
    comparison, _ = compare(
        contenders, policy=parse_policy("score=0.5"), facts=FACTS, versions={}, resamples=50, review=said
    )
    return comparison


def counts(comparison):
    return [(d.test.fn_rate.rate, d.test.fppi.rate.count) for d in comparison.detectors]


def test_each_decision_has_its_effect_on_all_detectors() -> None:
    before = figures(None)
    assert counts(before) == [(Rate(count=1, of=3), 2), (Rate(count=2, of=3), 1)]
    assert before.adjudication is None

    assert counts(figures(decided(entry("label error", 2, box=B)))) == [
        (Rate(count=0, of=2), 2),
        (Rate(count=1, of=2), 1),
    ]
    # A label error that was found leaves a false alarm behind, one of a borderline defect is absorbed.
    assert counts(figures(decided(entry("label error", 1)))) == [(Rate(count=1, of=2), 3), (Rate(count=1, of=2), 1)]
    assert counts(figures(decided(entry("borderline", 1)))) == [(Rate(count=1, of=2), 2), (Rate(count=1, of=2), 1)]
    new = decided(entry("unlabelled defect", image=2, detector="a"))
    assert counts(figures(new)) == [(Rate(count=1, of=4), 1), (Rate(count=2, of=4), 0)]
    maybe = decided(entry("borderline", image=2, detector="a"))
    assert counts(figures(maybe)) == [(Rate(count=1, of=3), 1), (Rate(count=2, of=3), 0)]
    right = decided(
        entry("true miss", 2), entry("true hit", 3, image=1), entry("true false alarm", image=2, detector="a")
    )
    assert counts(figures(right)) == counts(before)


def test_before_and_after_are_both_told() -> None:
    told = figures(decided(entry("label error", 2), entry("true false alarm", image=2))).adjudication

    assert told.verdicts["label error"] == 1
    assert told.verdicts["true miss"] == 0
    assert [(one.before.rate, one.after.rate) for one in told.detectors] == [
        (Rate(count=1, of=3), Rate(count=0, of=2)),
        (Rate(count=2, of=3), Rate(count=1, of=2)),
    ]
    assert told.optimistic
    verdict = figures(decided(entry("label error", 2))).verdict
    assert "reviewed misses only, optimistic" in verdict
    assert "Before it, missed: a 1 of 3 (33.3 %), b 2 of 3 (66.7 %)." in verdict


def test_a_whole_sample_of_hits_takes_the_reservation_away() -> None:
    sampled = entry("label error", 3, image=1, sampled=True)
    whole = figures(decided(sampled, entry("true miss", 2))).adjudication
    assert not whole.optimistic
    assert whole.reviewed_hits == 1
    assert "1 of 1 sampled hits are not defects" in whole.notes[0]

    half = figures(decided(sampled, entry("", 1, sampled=True))).adjudication
    assert half.optimistic
    assert "1 of the 2 sampled hits are undecided" in half.notes[1]


def test_two_detectors_at_one_place_found_one_defect() -> None:
    both = decided(
        entry("unlabelled defect", image=2, detector="a"),
        entry("unlabelled defect", image=2, box=[30, 0, 40, 11], detector="b"),
    )
    truth = corrected(TRUTH, both, BOTH)

    assert len(truth.defects) == 4
    assert truth.defects.box[3].tolist() == ALARM
    assert truth.defects.id[3] not in TRUTH.defects.id
    assert truth.fingerprint != TRUTH.fingerprint
    assert corrected(TRUTH, decided(*reversed(both.entries)), BOTH).fingerprint == truth.fingerprint


def test_what_was_said_can_be_put_right() -> None:
    right = entry("unlabelled defect", image=2, detector="a", true_category="class1", true_box=(1, 2, 9, 12))
    truth = corrected(TRUTH, decided(right), BOTH)

    assert truth.defects.label[3] == 1
    assert truth.defects.box[3].tolist() == [1, 2, 9, 12]


def test_a_new_defect_has_the_mask_that_was_predicted() -> None:
    def region(box):
        pixels = np.zeros((scenes.SIDE, scenes.SIDE), np.bool_)
        pixels[box[1] : box[3], box[0] : box[2]] = True
        pixels[box[1], box[0]] = False
        return geometry.from_mask(pixels)

    truth = scenes.dataset(
        image=[0], label=[0], box=[A], images=3, region=(region(A),), attribute={"lot": np.array([7])}
    )  # fmt: skip
    one = contender("a", [(2, 0, ALARM)], truth, region=(region(ALARM),))
    found = corrected(truth, decided(entry("unlabelled defect", image=2), entry("borderline", image=1)), [one])

    assert found.defects.area.tolist() == [100, 100, 99]  # by picture: a box where nothing was predicted
    assert found.defects.ignore.tolist() == [False, True, False]
    assert found.defects.attribute["lot"].tolist() == [7, None, None]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([entry("label eror", 2)], "Did you mean 'label error'"),
        ([entry("unlabelled defect", 2)], "true miss | true hit | label error | borderline"),
        ([entry("label error", 99)], "no such annotation"),
        ([entry("label error", 2, image=1)], "test/00000.png"),
        ([entry("label error", 2), entry("borderline", 2)], "'label error' and 'borderline'"),
        ([entry("true false alarm", image=9)], "a picture of this split"),
        ([entry("true false alarm", category="clas0")], "Did you mean 'class0'"),
        ([entry("true false alarm", image=2, box=[3, 0, 3, 9])], "a box with an area"),
        ([entry("true false alarm", image=2, box=[0, 0, 9, 9], detector="a")], "a prediction of a"),
        (
            [entry("true false alarm", image=2), entry("unlabelled defect", image=2, box=[30, 0, 40, 11])],
            "one decision about one place",
        ),
        ([entry("unlabelled defect", image=0, box=A)], "annotation 1 of the same class"),
    ],
)
def test_wrong_decisions_are_refused_all_at_once(wrong, says) -> None:
    with pytest.raises(DatasetError) as refused:
        figures(decided(*wrong, entry("nonsense", 3, image=1)))

    faults = [str(fault) for fault in refused.value.faults]
    assert len(faults) == 2
    assert any(says in fault for fault in faults)


def test_a_wrong_label_may_be_replaced_by_a_right_one() -> None:
    fixed = decided(entry("label error", 1, box=A), entry("unlabelled defect", box=[0, 0, 10, 11]))

    assert len(corrected(TRUTH, fixed, BOTH).defects) == 3


def test_a_review_of_other_labels_is_refused() -> None:
    other = replace(decided(), header=Header(review=1, dataset="another", split="test"))

    with pytest.raises(DatasetError, match="review again"):
        figures(other)


def judged(contenders=BOTH):
    return [judge(one.name, 0, one.runs[0].test, np.full(2, 0.5)) for one in contenders]


def test_a_template_asks_for_misses_false_alarms_and_some_hits(tmp_path) -> None:
    asked = template(judged(), seed=3)

    assert {e.annotation for e in asked.entries if e.annotation and not e.sampled} == {1, 2}
    assert [e.annotation for e in asked.entries if e.sampled] == [3]
    places = [(e.image, e.detector) for e in asked.entries if e.annotation is None]
    assert places == [("test/00001.png", "a"), ("test/00002.png", "a")]  # b alarms at the same place
    assert (asked.header.sample.drawn, asked.header.sample.of) == (1, 1)

    path = tmp_path / "review.jsonl"
    path.write_bytes(review.encode(asked))
    assert review.read(path) == asked
    assert counts(figures(review.read(path))) == counts(figures(None))


def test_a_template_keeps_what_was_decided_before() -> None:
    earlier = decided(entry("label error", 2, box=B, note="a smear"), entry("unlabelled defect", image=1, box=A))
    entries = template(judged(), earlier=earlier).entries

    assert [(e.decision, e.note) for e in entries if e.annotation == 2] == [("label error", "a smear")]
    assert [e for e in entries if e.box == tuple(A) and e.annotation is None] == [earlier.entries[1]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an empty file"),
        ("{}", "review.jsonl:1"),
        ('{"review": 2, "dataset": "d", "split": "test"}', "version 1"),
        ('{"review": 1, "dataset": "d", "split": "test"}\n{"decision": "", "typo": 1}\nnonsense', "review.jsonl:3"),
    ],
)
def test_what_is_no_review_is_said(tmp_path, text, says) -> None:
    path = tmp_path / "review.jsonl"
    path.write_text(text)

    with pytest.raises(DatasetError, match=says):
        review.read(path)
    with pytest.raises(DatasetError, match="No such file"):
        review.read(tmp_path / "nothing")


def test_tags_of_labels_become_decisions() -> None:
    runs = judged()
    row = int(np.flatnonzero(runs[0].evaluation.predictions.image == 2)[0])
    tagged = {
        defect_id(TRUTH, 1): ["missed by a", "label_error"],
        prediction_id(1, row): ["unlabelled defect", "false alarm"],
        defect_id(TRUTH, 0): ["seen"],
    }
    said = decisions(tagged, runs)

    assert counts(figures(said)) == [(Rate(count=0, of=3), 1), (Rate(count=1, of=3), 0)]
    with pytest.raises(DatasetError, match="borderline"):
        decisions({defect_id(TRUTH, 1): ["label error", "borderline"]}, runs)
    with pytest.raises(DatasetError, match="a label of this comparison"):
        decisions({"f" * 24: ["borderline"]}, runs)


def test_thresholds_stay_those_of_validation() -> None:
    said = decided(entry("label error", 1, box=A))
    after = adjudicate.reviewed(BOTH, said)

    assert all(one.runs[0].validation is first.runs[0].validation for one, first in zip(after, BOTH, strict=True))
    assert len(after[0].runs[0].test.truth.defects) == 2
