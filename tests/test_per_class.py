"""Thresholds by class: each policy against every combination there is, and the fast counts against plain ones."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.errors import NotMeasurable, Unreachable
from defect_detect.evaluation import operating, per_class, per_class_counts
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import FIGURES, opportunities, scored, tally
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.resampling import draw
from tests import scenes

COSTS = {"escape": 100.0, "overkill": 7.0}
POLICIES = ["fppi<=0.5", "fppi<=2", "overkill<=0.4", "recall>=0.6", "recall>=0.2", "f1", "cost"]


def policy(text):
    return parse_policy(text, costs=COSTS, prevalence=0.3)


def combinations(table):
    """Every vector of thresholds from the scores of each class, and silence."""
    alarms = table.alarms
    scores = [np.append(np.unique(alarms.score[alarms.label == k]), np.inf) for k in range(2)]
    return [np.array(one) for one in itertools.product(*scores)]


def counted(table, threshold, weights):
    """FIGURES' counts and denominators in one resample, the plain way."""
    return dict(zip(FIGURES, weights @ tally(table, threshold), strict=True)), dict(
        zip(FIGURES, weights @ opportunities(table), strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(scenes.scenes(max_images=3), st.sampled_from(POLICIES), st.integers(0, 5))
def test_nothing_is_better_than_what_is_chosen(scene, text, seed) -> None:
    table = scored(evaluate(*scene))
    weights = draw(np.random.default_rng(seed), len(table.units), 3)
    chosen = per_class.choose(policy(text), table, weights)
    if seed == 0:
        weights[0] = 1
        chosen = per_class.choose(policy(text), table, weights)

    for row, threshold in zip(weights.astype(int), chosen, strict=True):
        count, of = counted(table, threshold, row)
        every = [counted(table, one, row)[0] for one in combinations(table)]
        images, defects, free = max(of["fppi"], 1), max(of["fn_rate"], 1), max(of["overkill_rate"], 1)
        if text.startswith("fppi"):
            kept = [one for one in every if one["fppi"] / images <= policy(text).value]
            assert count["fppi"] / images <= policy(text).value
            assert count["fn_rate"] == min(one["fn_rate"] for one in kept)
        elif text.startswith("overkill"):
            assert count["overkill_rate"] / free <= policy(text).value
        elif text.startswith("recall"):
            kept = [one for one in every if 1 - one["fn_rate"] / defects >= policy(text).value - 1e-12]
            if of["fn_rate"] and np.isfinite(threshold).any():
                assert 1 - count["fn_rate"] / defects >= policy(text).value - 1e-12
                assert count["fppi"] == min(one["fppi"] for one in kept)
            elif of["fn_rate"]:
                assert not kept
        elif text == "f1":
            value = f1(count, of)
            assert value == pytest.approx(max(f1(one, of) for one in every), abs=1e-12)


def f1(count, of):
    hits = of["fn_rate"] - count["fn_rate"]
    return 2 * hits / max(hits + count["fppi"] + of["fn_rate"], 1)


def cost(count, of):
    escape = count["escape_rate"] / max(of["escape_rate"], 1)
    overkill = count["overkill_rate"] / max(of["overkill_rate"], 1)
    return 0.3 * escape * 100 + 0.7 * overkill * 7


@settings(max_examples=100, deadline=None)
@given(scenes.scenes(max_images=3), st.sampled_from(POLICIES), st.integers(0, 3))
def test_one_threshold_for_all_is_never_better(scene, text, seed) -> None:
    table = scored(evaluate(*scene))
    weights = draw(np.random.default_rng(seed), len(table.units), 3)
    chosen = per_class.choose(policy(text), table, weights)
    single = operating.choose(policy(text), table, weights)

    for row, threshold, one in zip(weights.astype(int), chosen, single, strict=True):
        (count, of), (same, _) = counted(table, threshold, row), counted(table, np.full(2, one), row)
        if text.startswith(("fppi", "overkill")):
            assert count["fn_rate"] <= same["fn_rate"]
        elif text == "cost":
            assert cost(count, of) <= cost(same, of) + 1e-9
        elif text == "f1":
            assert f1(count, of) >= f1(same, of) - 1e-12
        elif np.isfinite(one):
            assert count["fppi"] <= same["fppi"]


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_counts_of_every_resample_are_the_plain_ones(seed, masks) -> None:
    table = scored(evaluate(*scenes.scene(seed, images=20, groups=9, defects=40, said=160, masks=masks)))
    rng = np.random.default_rng(seed)
    weights = draw(rng, len(table.units), 12)
    threshold = rng.integers(1, 22, (12, 3)) / 20
    threshold[0], threshold[1, 1] = np.inf, np.inf

    fast = per_class_counts.recount(table, threshold, weights)

    plain = [row.astype(int) @ tally(table, one) for row, one in zip(weights, threshold, strict=True)]
    assert fast.tolist() == np.array(plain).tolist()


def test_the_rest_of_a_budget_is_spent_by_score() -> None:
    # Class 0 finds its defect without a false alarm; class 1 finds nothing. Two false alarms may be raised.
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=2)
    said = scenes.predictions(
        image=[0, 1, 1, 1, 1], label=[0, 1, 0, 1, 1], score=[0.5, 0.9, 0.45, 0.4, 0.3],
        box=[[0, 0, 10, 10], *[[40, 40, 50, 50]] * 4],
    )  # fmt: skip
    table = scored(evaluate(truth, said))

    # The 0.9 and the 0.45 are raised; 0.4 would be the third.
    assert per_class.thresholds_of(policy("fppi<=1"), table).tolist() == [0.45, 0.45]
    assert per_class.thresholds_of(policy("fppi<=0.5"), table).tolist() == [0.5, 0.5]
    # Without any false alarm class 1 stays silent; one threshold for all could find nothing.
    assert per_class.thresholds_of(policy("fppi<=0"), table).tolist() == [0.5, np.inf]
    with pytest.raises(Unreachable):
        operating.threshold_of(policy("fppi<=0"), table)


@pytest.mark.parametrize("coins", [1, 3])
@pytest.mark.parametrize("text", ["fppi<=3", "overkill<=0.7", "recall>=0.3"])
def test_large_budgets_in_coins_are_kept_and_nearly_spent(monkeypatch, coins, text) -> None:
    table = scored(evaluate(*scenes.scene(7, images=60, classes=3, defects=60, said=400)))
    weights = draw(np.random.default_rng(0), len(table.units), 20)
    exact = per_class.choose(policy(text), table, weights)
    monkeypatch.setattr(per_class, "_COINS", coins)

    chosen = per_class.choose(policy(text), table, weights)

    for row, threshold, best in zip(weights.astype(int), chosen, exact, strict=True):
        (count, of), (least, _) = counted(table, threshold, row), counted(table, best, row)
        if text.startswith("recall"):
            assert 1 - count["fn_rate"] / of["fn_rate"] >= 0.3
            assert count["fppi"] >= least["fppi"]
        else:
            figure = text.partition("<")[0].replace("overkill", "overkill_rate")
            assert count[figure] / of[figure] <= policy(text).value
            assert count["fn_rate"] >= least["fn_rate"] or text.startswith("overkill")


def test_names_not_places_break_ties() -> None:
    truth, said = scenes.scene(5, classes=3, images=16, defects=50, said=200)
    turned = np.array([2, 0, 1])
    other = scenes.dataset(
        image=truth.defects.image, label=turned[truth.defects.label], box=truth.defects.box, images=16, classes=3,
        crowd=truth.defects.crowd, ignore=truth.defects.ignore,
    )  # fmt: skip
    named = [truth.categories[k] for k in np.argsort(turned)]
    other = dataclasses.replace(other, categories=tuple(named))
    said_other = dataclasses.replace(said, label=turned[said.label])

    for text in POLICIES:
        first = per_class.choose(policy(text), scored(evaluate(truth, said)), np.ones((1, 16), int))[0]
        second = per_class.choose(policy(text), scored(evaluate(other, said_other)), np.ones((1, 16), int))[0]
        assert second[turned].tolist() == first.tolist(), text


def test_what_cannot_be_met_or_measured_is_said() -> None:
    truth = scenes.dataset(image=[0, 0], label=[0, 1], box=[[0, 0, 10, 10], [20, 20, 30, 30]], images=1)
    said = scenes.predictions(image=[0], label=[0], box=[[0, 0, 10, 10]], score=[0.5])
    none = scenes.predictions(image=[], label=[], box=[], score=[])

    with pytest.raises(Unreachable, match="best recall is 1 of 2"):
        per_class.thresholds_of(policy("recall>=0.6"), scored(evaluate(truth, said)))
    with pytest.raises(NotMeasurable, match="defect-free"):
        per_class.thresholds_of(policy("overkill<=0.1"), scored(evaluate(truth, said)))
    with pytest.raises(Unreachable, match="no prediction"):
        per_class.thresholds_of(policy("fppi<=0.1"), scored(evaluate(truth, none)))
