from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.errors import ConfigError, NotMeasurable, Unreachable
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import fn_rate_at_budget, rates, scored
from defect_detect.evaluation.operating import choose, parse_policy, threshold
from defect_detect.tables import Predictions
from tests import scenes

BOX = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("fppi<=0.1", "fppi", 0.1), ("FPPI <= 2", "fppi", 2.0), ("overkill<=0.05", "overkill", 0.05),
        ("recall>=.9", "recall", 0.9), ("score=0.5", "score", 0.5), ("f1", "f1", 0.0), ("fppi<=1e-2", "fppi", 0.01),
    ],
)  # fmt: skip
def test_policies_are_read(text, kind, value):
    policy = parse_policy(text)

    assert (policy.kind, policy.value) == (kind, value)


@pytest.mark.parametrize("text", ["", "fppi", "fppi>=0.1", "recall<=0.9", "recall>=1.5", "score=2", "fppi<=-1", "f2"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError, match="policy"):
        parse_policy(text)


def test_cost_needs_both_costs_and_a_prevalence():
    with pytest.raises(ConfigError) as caught:
        parse_policy("cost")
    assert len(caught.value.faults) == 3
    assert parse_policy("cost", {"escape": 100, "overkill": 1}, 0.01).prevalence == 0.01


def spelled_out(policy, evaluation):
    """The definitions, threshold by threshold."""
    best = None
    for s in np.unique(evaluation.predictions.score):
        got = rates(scored(evaluation), np.full(len(evaluation.truth.categories), s))
        fppi, overkill = got["fppi"].value, got["overkill_rate"].value or 0.0
        recall = 1 - got["fn_rate"].value if got["fn_rate"].of else 0.0
        if policy.kind == "fppi" and fppi <= policy.value and best is None:
            best = s
        if policy.kind == "overkill" and overkill <= policy.value and best is None:
            best = s
        if policy.kind == "recall" and recall >= policy.value:
            best = s
    return best


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(), st.sampled_from(["fppi<=0", "fppi<=0.34", "fppi<=1", "overkill<=0.5", "overkill<=1",
                                         "recall>=0.5", "recall>=1", "recall>=0"]))  # fmt: skip
def test_the_choice_equals_its_definition(scene, text):
    truth, said = scene
    policy, evaluation = parse_policy(text), evaluate(truth, said)

    try:
        got = threshold(policy, evaluation)
    except NotMeasurable:
        return
    except Unreachable:
        got = None

    assert got == (spelled_out(policy, evaluation) if len(said) else None)


@settings(max_examples=50, deadline=None)
@given(scenes.scenes(), st.sampled_from([0.0, 0.34, 1.0]))
def test_the_budget_policy_agrees_with_the_curve(scene, budget):
    truth, said = scene
    evaluation = evaluate(truth, said)
    if not truth.defects.counts.any():
        return

    try:
        s = threshold(parse_policy(f"fppi<={budget}"), evaluation)
        rate = rates(scored(evaluation), np.full(len(truth.categories), s))["fn_rate"].value
    except Unreachable:
        rate = 1.0

    assert fn_rate_at_budget(evaluation, budget) == pytest.approx(rate)


def two_images(scores=(0.9, 0.8, 0.7)):
    """A hit, a false alarm on the defect-free image, a second hit."""
    truth = scenes.dataset(image=[0, 0], label=[0, 0], box=[BOX, [20, 20, 30, 30]], images=2, classes=1)
    said = scenes.predictions(image=[0, 1, 0], label=[0] * 3, box=[BOX, BOX, [20, 20, 30, 30]], score=scores)
    return evaluate(truth, said)


def test_f1_and_cost():
    assert threshold(parse_policy("f1"), two_images()) == 0.7
    assert threshold(parse_policy("f1"), two_images((0.9, 0.5, 0.1))) == 0.1
    strict = parse_policy("cost", {"escape": 1, "overkill": 100}, 0.5)
    assert threshold(strict, two_images()) == 0.9
    assert threshold(parse_policy("score=0.25"), two_images()) == 0.25


def test_unreachable_says_why():
    alarm_first = two_images((0.5, 0.9, 0.4))
    with pytest.raises(Unreachable, match="even its highest score exceeds the budget"):
        threshold(parse_policy("fppi<=0.1"), alarm_first)
    truth, _ = scenes.scene(0)
    silent = evaluate(truth, Predictions.none())
    with pytest.raises(Unreachable, match="no prediction at all"):
        threshold(parse_policy("fppi<=0.1"), silent)
    assert (
        choose(parse_policy("fppi<=0.1"), scored(silent), np.ones((3, len(truth.images)), int)).tolist() == [np.inf] * 3
    )
    half = evaluate(
        scenes.dataset(image=[0, 0], label=[0, 0], box=[BOX, [20, 20, 30, 30]], images=1),
        scenes.predictions(image=[0], label=[0], box=[BOX], score=[0.5]),
    )
    with pytest.raises(Unreachable, match="best recall is 1 of 2"):
        threshold(parse_policy("recall>=0.9"), half)
    blind = evaluate(half.truth, scenes.predictions(image=[0], label=[0], box=[[40, 40, 50, 50]], score=[0.5]))
    with pytest.raises(Unreachable, match="finds a defect"):
        threshold(parse_policy("f1"), blind)


def test_not_measurable_says_why():
    with pytest.raises(NotMeasurable, match="1 defect-free units"):
        threshold(parse_policy("overkill<=0.05"), two_images())
    empty = evaluate(*scenes.scene(0, defects=0))
    with pytest.raises(NotMeasurable, match="no defects"):
        threshold(parse_policy("recall>=0.5"), empty)
    with pytest.raises(NotMeasurable, match="0 defective"):
        threshold(parse_policy("cost", {"escape": 1, "overkill": 1}, 0.1), empty)


@pytest.mark.parametrize("text", ["fppi<=0.5", "fppi<=0.01", "overkill<=0.5", "recall>=0.3", "f1", "cost", "score=0.4"])
def test_resampled_choices_equal_choices_on_resampled_data(text):
    policy = parse_policy(text, {"escape": 10, "overkill": 1}, 0.2)
    truth, said = scenes.scene(7, images=30, defects=60, said=300, groups=12)
    table = scored(evaluate(truth, said))
    weights = np.random.default_rng(0).integers(0, 3, (20, len(table.units)))

    got = choose(policy, table, weights)

    for row, value in zip(weights, got, strict=True):
        # The same units, written out as many times as they were drawn.
        copies = [(i, c) for i in range(len(truth.images)) for c in range(row[table.units.of_image[i]])]
        if not copies:
            continue
        again = _copied(truth, said, copies)
        if not len(again.predictions):
            continue
        one = choose(policy, scored(again), np.ones((1, len(scored(again).units)), int))[0]
        candidates = np.isin(value, again.predictions.score) or not np.isfinite(value)
        # A threshold is a place between scores: what counts is the same, even where a candidate was not drawn.
        assert (again.predictions.score >= one).sum() == (again.predictions.score >= value).sum() or not candidates


def _copied(truth, said, copies):
    d = truth.defects
    rows = [(r, n) for n, (i, _) in enumerate(copies) for r in np.flatnonzero(d.image == i)]
    told = [(r, n) for n, (i, _) in enumerate(copies) for r in np.flatnonzero(said.image == i)]
    at = [r for r, _ in rows]
    again = scenes.dataset(
        image=[n for _, n in rows], label=d.label[at], box=d.box[at], images=len(copies),
        classes=len(truth.categories), crowd=d.crowd[at], ignore=d.ignore[at],
        group=[f"{truth.images.group[i]}/{c}" for i, c in copies],
    )  # fmt: skip
    pr = [r for r, _ in told]
    return evaluate(
        again,
        scenes.predictions(image=[n for _, n in told], label=said.label[pr], box=said.box[pr], score=said.score[pr]),
    )


def test_a_resample_without_the_noisy_units_reaches_the_lowest_score():
    noisy = 400
    truth = scenes.dataset(image=[0], label=[0], box=[BOX], images=2, classes=1)
    said = scenes.predictions(
        image=[0] + [1] * noisy, label=[0] * (noisy + 1), box=[BOX] * (noisy + 1),
        score=np.append(0.001, np.linspace(0.1, 0.9, noisy)),
    )  # fmt: skip
    table = scored(evaluate(truth, said))

    got = choose(parse_policy("fppi<=0.1"), table, np.array([[2, 0], [0, 2], [1, 1]]))

    assert got.tolist() == [0.001, np.inf, np.inf]
