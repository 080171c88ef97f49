"""What is read off running counts in each resample is what counting on the resampled dataset gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.evaluation.froc import POINTS, curve, recall_at
from defect_detect.evaluation.froc_resampling import drawn_curve
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import FIGURES, opportunities, rates, scored, tally
from defect_detect.evaluation.operating import choose, least_reaching, most_within, parse_policy
from defect_detect.evaluation.parts import parts
from defect_detect.evaluation.recount import recount
from defect_detect.evaluation.resampling import draw, weighted
from defect_detect.evaluation.running import BLOCK, Running
from tests import scenes

POLICIES = ("fppi<=0", "fppi<=0.2", "fppi<=1", "overkill<=0", "overkill<=0.5", "recall>=0", "recall>=0.4", "recall>=1",
            "f1", "cost", "score=0.4")  # fmt: skip
ALL = len(FIGURES)


def policy_of(text):
    return parse_policy(text, {"escape": 10, "overkill": 3}, 0.2)


def copied(truth, said, groups, often):
    """The dataset in which each unit is written out as often as it was drawn, each time as a unit of its own."""
    copies = [(i, c) for i in range(len(truth.images)) for c in range(often[groups.of_image[i]])]
    d = truth.defects
    true = [(row, n) for n, (i, _) in enumerate(copies) for row in np.flatnonzero(d.image == i)]
    told = [(row, n) for n, (i, _) in enumerate(copies) for row in np.flatnonzero(said.image == i)]
    at, of = [row for row, _ in true], [row for row, _ in told]
    again = scenes.dataset(
        image=[n for _, n in true], label=d.label[at], box=d.box[at], images=len(copies),
        classes=len(truth.categories), crowd=d.crowd[at], ignore=d.ignore[at],
        group=[f"{truth.images.group[i]}/{c}" for i, c in copies],
    )  # fmt: skip
    said = scenes.predictions(image=[n for _, n in told], label=said.label[of], box=said.box[of], score=said.score[of])
    return evaluate(again, said)


def distinct(said, seed):
    """The predictions with scores of which no two are alike."""
    score = np.random.default_rng(seed).permutation(len(said)) / max(len(said), 1)
    return scenes.predictions(image=said.image, label=said.label, box=said.box, score=score)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.booleans(), st.booleans())
def test_every_figure_of_a_resample_is_that_of_the_resampled_dataset(seed, images, ties, special):
    rng = np.random.default_rng(seed)
    truth, said = scenes.scene(
        seed, images=images, defects=int(rng.integers(0, 60)), said=int(rng.integers(1, 200)),
        groups=int(rng.integers(1, images + 1)), special=special,
    )  # fmt: skip
    said = said if ties else distinct(said, seed)
    table = scored(evaluate(truth, said))
    weights = draw(rng, len(table.units), 3)
    threshold = rng.choice(np.append(said.score, [np.inf, 0.0]), 3)
    grid = np.array([0.01, 0.125, 0.4, 1.0, 3.0, 50.0])

    counts, of = recount(table, threshold, weights), weighted(weights, opportunities(table))
    drawn = drawn_curve(table, grid, 0.7, weights)

    for row, often in enumerate(weights):
        again = copied(truth, said, table.units, often)
        direct = rates(scored(again), np.full(len(truth.categories), threshold[row]))
        assert counts[row].tolist() == [direct[name].count for name in FIGURES]
        assert of[row].tolist() == [direct[name].of for name in FIGURES]
        if not again.truth.defects.counts.any():
            assert np.isnan(drawn.recall[row]).all()
            assert np.isnan(drawn.area[row])
            continue
        steps = curve(again.truth, again.predictions, again.matching)
        assert drawn.recall[row] == pytest.approx(recall_at(*steps, grid))
        edges = np.append(np.minimum(steps[0], 0.7), 0.7)
        assert drawn.area[row] == pytest.approx((np.diff(edges) * steps[1]).sum() / 0.7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(POLICIES), st.booleans())
def test_the_threshold_of_a_resample_counts_what_that_of_the_resampled_dataset_counts(seed, text, ties):
    rng = np.random.default_rng(seed)
    truth, said = scenes.scene(seed, images=20, defects=int(rng.integers(0, 60)), said=int(rng.integers(1, 300)),
                               groups=int(rng.integers(1, 21)))  # fmt: skip
    said = said if ties else distinct(said, seed)
    table, policy = scored(evaluate(truth, said)), policy_of(text)
    weights = draw(rng, len(table.units), 3)

    chosen = choose(policy, table, weights)

    for often, value in zip(weights, chosen, strict=True):
        again = scored(copied(truth, said, table.units, often))
        one = choose(policy, again, np.ones((1, len(again.units)), int))[0]
        labels = len(truth.categories)
        # A threshold lies between scores: one that wasn't drawn lets the same alarms through.
        ours, theirs = (tally(again, np.full(labels, at)).sum(axis=0) for at in (value, one))
        if text == "recall>=0" or not len(again.evaluation.predictions):
            # The highest score that occurs: in the resample it may be one that wasn't drawn.
            continue
        if text == "cost" and not (again.evaluation.predictions.score >= value).any():
            # A score that wasn't drawn, over all that were: silence costs least, and no score that was drawn is silent.
            continue
        assert ours.tolist() == theirs.tolist()


def slowly(policy, table, weights):
    """The chosen threshold of one resample, trying every score."""
    tried = []
    for s in np.unique(table.evaluation.predictions.score)[::-1]:
        count = weights @ tally(table, np.full(len(table.evaluation.truth.categories), s))
        of = np.maximum(weights @ opportunities(table), 1)
        rate = dict(zip(FIGURES, count / of, strict=True))
        found = weights @ table.units.defects - count[0]
        value = {
            "fppi": rate["fppi"] <= policy.value,
            "overkill": rate["overkill_rate"] <= policy.value,
            "recall": found / of[0] >= policy.value,
            "f1": 2 * found / max(found + count[FIGURES.index("fppi")] + of[0], 1),
            "cost": -(policy.prevalence * (1 - (weights @ table.units.defective - count[2]) / of[2]) * policy.escape
                      + (1 - policy.prevalence) * rate["overkill_rate"] * policy.overkill),
        }[policy.kind]  # fmt: skip
        tried.append((s, value))
    if policy.kind in ("fppi", "overkill"):
        return min((s for s, met in tried if met), default=np.inf)
    if policy.kind == "recall":
        return max((s for s, met in tried if met), default=np.inf)
    best = max(value for _, value in tried)
    return min(s for s, value in tried if value == best) if policy.kind == "cost" or best > 0 else np.inf


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([text for text in POLICIES if text != "score=0.4"]), st.booleans())
def test_the_chosen_threshold_is_the_one_that_trying_every_score_gives(seed, text, ties):
    rng = np.random.default_rng(seed)
    truth, said = scenes.scene(seed, images=15, defects=int(rng.integers(0, 50)), said=int(rng.integers(1, 120)),
                               groups=int(rng.integers(1, 16)))  # fmt: skip
    table = scored(evaluate(truth, said if ties else distinct(said, seed)))
    weights = np.vstack([draw(rng, len(table.units), 2), np.zeros((1, len(table.units)), np.uint8)]).astype(int)

    assert choose(policy_of(text), table, weights).tolist() == [slowly(policy_of(text), table, w) for w in weights]


@given(st.integers(0, 10_000), st.integers(0, 5 * BLOCK), st.sampled_from([1, 300, 5000]))
@settings(max_examples=60, deadline=None)
def test_running_counts_are_cumulative_sums(seed, length, highest):
    rng = np.random.default_rng(seed)
    unit, weights = rng.integers(0, 7, length), rng.integers(0, highest, (7, 4))
    running = Running(unit, weights.astype(np.uint16 if highest < 2048 else np.int64))
    whole = np.vstack([np.zeros((1, 4), int), np.cumsum(weights[unit], axis=0)])
    ends, most = rng.integers(0, length + 1, (3, 4)), rng.integers(-1, whole.max() + 2, (3, 4))

    assert running.of_first(ends).tolist() == whole[ends, np.arange(4)].tolist()
    assert running.within(most).tolist() == (whole[1:, None] <= most).sum(axis=0).tolist()


@given(st.integers(1, 2000), st.floats(0, 3))
def test_counts_within_a_rate_are_compared_as_rates_are(of, share):
    within, reaching = int(most_within(share, np.array([of]))[0]), int(least_reaching(share, np.array([of]))[0])

    assert within / of <= share < (within + 1) / of
    assert (reaching - 1) / of < share <= reaching / of


def test_a_resample_without_pictures_of_its_own_has_no_recall():
    truth, said = scenes.scene(0, images=4)
    drawn = drawn_curve(scored(evaluate(truth, said)), np.array(POINTS), 1.0, np.zeros((2, 4), np.uint8))

    assert np.isnan(drawn.recall).all()
    assert np.isnan(drawn.area).all()


@pytest.mark.parametrize("threads", ["1", "2", "7"])
def test_any_number_of_threads_gives_the_same_bits(threads, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    table = scored(evaluate(*scenes.scene(5, images=40, defects=80, said=600)))
    monkeypatch.setattr("defect_detect.evaluation.parts._MOST", 64)

    def everything():
        weights = draw(np.random.default_rng(1), 40, 300)
        chosen = choose(parse_policy("fppi<=0.5"), table, weights)
        real = weighted(weights, np.random.default_rng(2).random((40, 3)))
        drawn = drawn_curve(table, np.array(POINTS), 0.4, weights)
        return [weights, chosen, recount(table, chosen, weights), drawn.recall, drawn.area, real]

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    expected = everything()
    monkeypatch.setenv("OMP_NUM_THREADS", threads)

    assert len(parts(40, 300)) == 5
    assert [one.tobytes() for one in everything()] == [one.tobytes() for one in expected]


@pytest.mark.parametrize("units", [3, 300])
def test_a_resample_draws_as_many_units_as_there_are(units):
    weights = draw(np.random.default_rng(0), units, 2500)

    assert (weights.sum(axis=1, dtype=int) == units).all()
    # Var of a unit's count over resamples: that of a binomial.
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / units, rel=0.1)
    assert np.array_equal(weights, draw(np.random.default_rng(0), units, 2500))


def test_sums_of_counts_and_of_measures_are_matrix_products():
    rng = np.random.default_rng(0)
    weights, counts, measures = draw(rng, 2100, 70), rng.integers(0, 9, (2100, 3)), rng.random(2100)

    assert np.array_equal(weighted(weights, counts), weights.astype(int) @ counts)
    assert weighted(weights, measures) == pytest.approx(weights.astype(float) @ measures, rel=1e-12)
    huge = counts * 10**7 + 1
    assert np.array_equal(weighted(weights, huge), weights.astype(int) @ huge)
