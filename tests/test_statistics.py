from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from defect_detect.evaluation.exact_bounds import effective_size, mean_bound, share_bound
from defect_detect.evaluation.intervals import difference_interval, percentile, rate_interval, score_of_mean, wilson
from defect_detect.evaluation.resampling import draw, over_seeds, ratio, weighted
from defect_detect.evaluation.spread import Part, Spread, Trained, chosen_anew, own_chance, sampled
from defect_detect.evaluation.statistics import holm, mcnemar, needed, sign_flip, smallest_detectable


def test_mcnemar_equals_statsmodels():
    for b, c in [(0, 5), (3, 9), (12, 4), (7, 7)]:
        assert mcnemar(b, c) == pytest.approx(reference_mcnemar([[10, b], [c, 4]], exact=True).pvalue)
    assert mcnemar(0, 0) == 1.0


def test_holm_equals_statsmodels():
    p = [0.01, 0.04, 0.03, 0.005, 0.7]

    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert holm([]) == []


def test_the_exact_bound_is_clopper_pearson_where_units_are_defects():
    count = np.array([1.0] * 7 + [0.0] * 93)
    of = np.ones(100)

    got = share_bound(count, of)

    # With one defect a unit the design effect is that of a sample variance, n / (n - 1), and no more.
    size = effective_size(count, of)
    assert size == pytest.approx(100, rel=0.02)
    expected = proportion_confint(7, 100, method="beta")
    assert (got.low, got.high) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(("count", "expected"), [(0.0, (0.0, "high")), (1.0, ("low", 1.0))])
def test_none_or_all_missed_has_clopper_pearsons_bound_over_units(count, expected):
    of = np.ones(20)

    got = rate_interval(np.full(500, count), of * count, of)

    low, high = proportion_confint(20 * count, 20, method="beta")
    assert (got.low, got.high) == pytest.approx((low, high))
    assert got.low < got.high


def test_clustered_defects_are_worth_fewer():
    of = np.full(40, 5.0)
    together = np.where(np.arange(40) < 10, 5.0, 0.0)

    assert effective_size(together, of) == pytest.approx(40, rel=0.05)
    assert effective_size(np.zeros(40), of) == pytest.approx(40)
    rng = np.random.default_rng(0)
    alone = rng.binomial(5, 0.25, 40).astype(float)
    assert effective_size(alone, of) > 100


def test_the_mean_bound_is_garwoods():
    got = mean_bound(np.zeros(50), np.ones(50))

    assert (got.low, got.high) == pytest.approx((0.0, stats.chi2.ppf(0.975, 2) / 2 / 50))
    counts = np.array([1.0, 0, 1, 0, 1, 0, 1, 0])
    got = mean_bound(counts, np.ones(8))
    expected = stats.chi2.ppf(0.025, 8) / 2 / 8, stats.chi2.ppf(0.975, 10) / 2 / 8
    assert (got.low, got.high) == pytest.approx(expected)
    assert mean_bound(np.array([9.0, 0, 0, 0]), np.ones(4)).high > mean_bound(np.array([3.0, 2, 2, 2]), np.ones(4)).high


def test_one_unit_still_has_a_bound():
    got = rate_interval(np.full(100, 0.5), np.array([2.0]), np.array([4.0]))

    assert 0 <= got.low < 0.5 < got.high <= 1
    assert mean_bound(np.array([3.0]), np.array([2.0])).high > 1.5


def test_nothing_to_count_has_no_interval():
    assert rate_interval(np.full(10, np.nan), np.zeros(3), np.zeros(3)) is None
    assert percentile(np.full(10, np.nan), 3) is None
    # Units there are, but hardly a resample drew one: the exact bound speaks alone.
    alone = rate_interval(np.full(10, np.nan), np.array([1.0, 0.0]), np.ones(2))
    assert alone == share_bound(np.array([1.0, 0.0]), np.ones(2))


def test_few_units_have_the_exact_bound_on_the_effective_sample():
    rng = np.random.default_rng(1)
    of = np.ones(12)
    count = np.array([1.0] * 3 + [0.0] * 9)
    drawn = weighted(draw(rng, 12, 20_000), count) / 12

    got = rate_interval(drawn, count, of)

    # One defect a unit: the spread is that of 12 independent ones, but for n / (n - 1).
    size = 11 * 0.25 * 0.75 / (drawn.var() * 12)
    expected = proportion_confint(0.25 * 12, 12, method="beta")
    assert size == pytest.approx(11, rel=0.01)
    assert got.method == f"exact, effective sample {effective_size(count, of, sampled(drawn, 12)):.3g} of 12"
    assert (got.low, got.high) == pytest.approx(expected, abs=0.02)


def test_the_score_interval_is_wilsons():
    for count, n in [(4, 40), (36, 40), (500, 1000)]:
        expected = proportion_confint(count, n, method="wilson")
        assert wilson(count / n, n, stats.norm.ppf(0.975)) == pytest.approx(expected)
    # Of one hit in 60 the low end is Brown, Cai & DasGupta's: -log(0.95) / n.
    low, high = wilson(1 / 60, 60, stats.norm.ppf(0.975))
    assert low == pytest.approx(-np.log(0.95) / 60)
    assert high == pytest.approx(proportion_confint(1, 60, method="wilson")[1])
    assert wilson(59 / 60, 60, stats.norm.ppf(0.975)) == pytest.approx((1 - high, 1 - low))
    assert wilson(0.0, 30, 1.96)[0] == 0.0
    assert wilson(1.0, 30, 1.96)[1] == 1.0


def test_the_score_interval_of_a_mean_is_where_the_score_test_is_at_its_edge():
    low, high = score_of_mean(0.3, 50, 2.0)

    for end in (low, high):
        assert abs(0.3 - end) / np.sqrt(end / 50) == pytest.approx(2.0)


def test_many_independent_units_give_wilsons_interval_with_students_t():
    rng = np.random.default_rng(4)
    count, of = (rng.random(80) < 0.2).astype(float), np.ones(80)
    drawn = weighted(draw(rng, 80, 20_000), count) / 80

    got = rate_interval(drawn, count, of)

    rate = count.mean()
    assert (got.low, got.high) == pytest.approx(wilson(rate, 79, stats.t.ppf(0.975, 79)), abs=0.002)


def test_a_resample_draws_as_many_units_as_there_are():
    weights = draw(np.random.default_rng(0), 50, 400)

    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == 1.0
    assert np.array_equal(weights, draw(np.random.default_rng(0), 50, 400))


def test_many_seeds_widen_the_interval():
    rng = np.random.default_rng(0)
    values = np.stack([np.full(3000, 0.1), np.full(3000, 0.2), np.full(3000, 0.3)])

    spread = over_seeds(values, rng).std()

    # Three seeds 0.1 apart: the mean of three has the standard error of their sample deviation / sqrt(3).
    assert spread == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    assert over_seeds(values[:2], rng).std() == pytest.approx(0.0, abs=1e-12)


def brute_force(difference):
    """Every way to flip; those as far as the one seen count half."""
    told = difference[difference != 0]
    sums = np.array([np.dot(signs, told) for signs in itertools.product((-1, 1), repeat=len(told))])
    beyond = np.abs(sums) - abs(told.sum())
    return float(np.mean((beyond > 1e-9) + 0.5 * (np.abs(beyond) <= 1e-9)))


@pytest.mark.parametrize(
    "difference",
    [[3, 2, 1, -1, 0, 0], [1, 1, 1, 1, -1], [1, 1, -1, -1], [2, 2, 2], [-1, -2, 0.5], [0.1, 0.2, -0.3], [5]],
)
def test_sign_flip_is_every_flip_of_few_units(difference):
    difference = np.array(difference, float)

    assert sign_flip(difference) == pytest.approx(brute_force(difference))
    assert sign_flip(-difference) == sign_flip(difference)


def test_sign_flip_of_no_difference_says_nothing():
    assert sign_flip(np.zeros(5)) == 1.0


def test_sign_flip_of_differences_of_one_is_the_binomial_test_less_half_its_ties():
    difference = np.array([1.0] * 19 + [-1.0] * 8)

    plain = stats.binomtest(8, 27).pvalue
    assert sign_flip(difference) == pytest.approx(plain - stats.binom.pmf(8, 27, 0.5))


def test_drawn_flips_agree_with_scipys():
    rng = np.random.default_rng(3)
    difference = rng.normal(0.25, 1, 60)

    expected = stats.permutation_test(
        (difference,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=20000,
        rng=np.random.default_rng(0), vectorized=True,
    ).pvalue  # fmt: skip

    assert sign_flip(difference, seed=1) == pytest.approx(expected, abs=0.01)
    assert sign_flip(difference, seed=1) == sign_flip(difference, seed=1)
    assert sign_flip(-difference, seed=1) == pytest.approx(sign_flip(difference, seed=1), abs=0.01)


def test_sign_flip_keeps_its_level_under_no_difference():
    rng = np.random.default_rng(11)
    p = [sign_flip(rng.poisson(1.0, 40) - rng.poisson(1.0, 40).astype(float), seed=i) for i in range(200)]

    rejected = np.mean(np.array(p) < 0.05)

    assert 0.01 <= rejected <= 0.10


def test_the_bootstrap_covers_a_clustered_rate():
    # Units of 1 to 12 defects whose misses share a unit's own rate: mean 0.2, beta-distributed.
    rng = np.random.default_rng(5)
    covered = naive = 0
    rounds = 150
    for _ in range(rounds):
        size = rng.integers(1, 13, 120)
        missed = rng.binomial(size, rng.beta(0.5, 2.0, 120)).astype(float)
        of = size.astype(float)
        weights = draw(rng, 120, 600)
        got = rate_interval(ratio(weighted(weights, missed), weighted(weights, of)), missed, of)
        covered += got.low <= 0.2 <= got.high
        low, high = proportion_confint(missed.sum(), of.sum(), method="beta")
        naive += low <= 0.2 <= high

    assert 0.89 <= covered / rounds <= 0.99
    # The test can fail: an interval that ignores clustering covers too seldom.
    assert naive / rounds < 0.89


def test_power_of_what_was_seen():
    assert smallest_detectable(0.02) == pytest.approx(0.02 * 2.8016, abs=1e-5)
    assert needed(0.02, 500) == int(np.ceil(500 * (0.02 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / 0.05) ** 2))
    assert smallest_detectable(0.02, 5) == pytest.approx(0.02 * (stats.t.ppf(0.975, 5) + stats.t.ppf(0.8, 5)))
    assert needed(0.02, 500, freedom=5) > needed(0.02, 500)
    assert smallest_detectable(0.0) is None
    assert needed(float("nan"), 10) is None


def test_a_difference_has_students_interval():
    of = np.full(8, 5.0)
    a, b = np.array([4.0, 3, 5, 2, 4, 3, 4, 2]), np.array([1.0, 0, 2, 1, 0, 1, 2, 1])
    drawn = weighted(draw(np.random.default_rng(0), 8, 20_000), a - b) / 40

    got = difference_interval(a, b, of, sampled(drawn, 8), bounded=True)

    expected = stats.t.interval(0.95, 7, loc=(a - b).mean(), scale=stats.sem(a - b))
    assert (got.low, got.high) == pytest.approx(np.array(expected) / 5, rel=0.02)
    assert "Student" in got.method


def test_two_that_miss_nothing_differ_by_an_unknown_little():
    of, none = np.ones(20), np.zeros(20)

    got = difference_interval(none, none, of, sampled(np.zeros(100), 20), bounded=True)

    assert got.low == -got.high < 0
    unknown = sampled(np.full(100, np.nan), 20)
    assert np.isnan(unknown.variance)
    assert unknown.p(0.1) == 1.0
    assert difference_interval(none, none, np.zeros(20), unknown, bounded=True) is None


def test_degrees_of_freedom_are_satterthwaites():
    # Welch's test is the case of two parts.
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, 9), rng.normal(0.5, 3, 14)
    parts = tuple(Part(variance=one.var(ddof=1) / len(one), freedom=len(one) - 1) for one in (x, y))
    spread = Spread(parts=parts)

    expected = stats.ttest_ind(x, y, equal_var=False)

    assert spread.freedom == pytest.approx(expected.df)
    assert spread.p(x.mean() - y.mean()) == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert spread.reach * spread.error == pytest.approx((interval.high - interval.low) / 2)


def test_seeds_take_their_part_of_the_spread():
    rng = np.random.default_rng(0)
    rates = np.array([0.1, 0.2, 0.3])
    values = over_seeds(rates[:, None] + rng.normal(0, 0.02, 20_000), rng)

    spread = sampled(values, 50, [Trained(rates=rates), Trained(rates=rates[:2])])

    units, seeds = spread.parts
    assert seeds.variance == pytest.approx(rates.var(ddof=1) / 3)
    assert units.variance == pytest.approx(0.02**2 * 50 / 49, rel=0.15)
    assert 2 < spread.freedom < 4


def test_the_chance_of_units_that_models_differ_by_counts_once():
    # Models whose rates differ by the chance of units alone, 0.03 each: their mean has a third of its variance.
    rng = np.random.default_rng(0)
    total, own = [], []
    for _ in range(300):
        rates = 0.2 + rng.normal(0, 0.03, 3)
        drawn = rates[:, None] + rng.normal(0, 0.03, (3, 1000))
        chance = float(own_chance(drawn))
        total.append(sampled(over_seeds(drawn, rng), 1000, [Trained(rates=rates, chance=chance)]).parts[0].variance)
        own.append(chance)

    assert np.mean(own) == pytest.approx(0.03**2 / 3, rel=0.05)
    assert np.mean(total) == pytest.approx(0.03**2 / 3, rel=0.15)


def test_choosing_anew_adds_its_variance_without_the_chance_it_is_seen_through():
    rng = np.random.default_rng(0)
    moved, chance = rng.normal(0, 0.03, 50_000), rng.normal(0, 0.01, 50_000)
    frozen = rng.normal(0.2, 0.02, 50_000)
    staying = sampled(frozen, 100)

    spread = chosen_anew(staying, (frozen, frozen + moved + chance), moved, 40)
    unknown = chosen_anew(staying, (frozen, frozen + moved), np.full(50_000, np.nan), 40)

    assert spread.parts[-1].variance == pytest.approx(0.03**2 - 0.01**2, rel=0.03)
    assert unknown.parts[-1].variance == pytest.approx(0.03**2, rel=0.05)
    assert chosen_anew(staying, (frozen, frozen + chance), 0 * moved, 40).parts[-1].variance == 0.0
