"""POD against statsmodels, scipy's optimizers and bootstrap, and brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from defect_detect import geometry
from defect_detect.errors import ConfigError
from defect_detect.evaluation import pod_asymptotes, pod_bootstrap, pod_bounds, pod_likelihood, pod_model
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.pod import pod, pods
from defect_detect.evaluation.pod_sizes import feret, sizes, unit_of
from defect_detect.evaluation.resampling import draw
from defect_detect.tables import Polygons
from tests import scenes

ONE_SIDED = float(stats.norm.ppf(0.95)) ** 2


def sample(seed, count=150, *, intercept=-7.8, slope=3.0, floor=0.0, ceiling=1.0, spread=0.0, per_unit=1):
    rng = np.random.default_rng(seed)
    unit = np.arange(count) // per_unit
    log_size = rng.normal(2.8, 0.6, count)
    shift = rng.normal(0, spread, count)[unit] if spread else 0.0
    share = floor + (ceiling - floor) * special.expit(intercept + slope * log_size + shift)
    return np.exp(log_size), rng.random(count) < share, unit


@pytest.mark.parametrize(("link", "model"), [("logit", sm.Logit), ("probit", sm.Probit)])
@pytest.mark.parametrize("seed", range(4))
def test_the_curve_equals_statsmodels(seed, link, model):
    size, found, _ = sample(seed)

    got = pod(size, found, link=link)

    expected = model(found.astype(float), sm.add_constant(np.log(size))).fit(disp=0, tol=1e-12)
    assert (got.intercept, got.slope) == pytest.approx(expected.params, rel=1e-6)
    assert got.a50 == pytest.approx(np.exp(-expected.params[0] / expected.params[1]), rel=1e-6)
    ninety = {"logit": np.log(9), "probit": stats.norm.ppf(0.9)}[link]
    assert got.a90 == pytest.approx(np.exp((ninety - expected.params[0]) / expected.params[1]), rel=1e-6)
    assert got.pod == pytest.approx(expected.predict(sm.add_constant(np.log(got.size))), abs=1e-6)


def test_the_covariance_equals_statsmodels():
    size, found, _ = sample(1)
    trials = pod_model.Trials(log_size=np.log(size), hits=found[None].astype(float), of=np.ones((1, len(size))))
    fit = pod_model.fit("logit", trials)

    expected = sm.Logit(found.astype(float), sm.add_constant(np.log(size))).fit(disp=0, tol=1e-12)
    assert pod_model.covariance("logit", fit.theta, trials)[0] == pytest.approx(expected.cov_params(), rel=1e-6)
    assert fit.log_likelihood[0] == pytest.approx(expected.llf, rel=1e-12)
    # The probit's expected information is that of the generalized linear model.
    family = sm.families.Binomial(sm.families.links.Probit())
    glm = sm.GLM(found.astype(float), sm.add_constant(np.log(size)), family=family).fit(tol=1e-14)
    probit = pod_model.fit("probit", trials)
    assert pod_model.covariance("probit", probit.theta, trials)[0] == pytest.approx(glm.cov_params(), rel=1e-5)


def profile(link, size, found, log_a):
    """Twice the fall of the log likelihood when POD is held at 0.9 at `log_a`: an implementation of its own."""
    below = {"logit": special.log_expit, "probit": special.log_ndtr}[link]
    ninety = {"logit": np.log(9), "probit": stats.norm.ppf(0.9)}[link]
    sign = np.where(found, 1.0, -1.0)
    free = optimize.minimize(
        lambda t: -below(sign * (t[0] + t[1] * np.log(size))).sum(), [0.0, 1.0], method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000},
    )  # fmt: skip
    held = optimize.minimize_scalar(
        lambda slope: -below(sign * (ninety + slope * (np.log(size) - log_a))).sum(), bracket=(0.5, 3.0)
    )
    return 2 * (held.fun - free.fun)


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("seed", range(3))
def test_a90_95_is_where_the_profile_likelihood_ratio_refuses(seed, link):
    size, found, _ = sample(seed, 500)

    got = pod(size, found, link=link)

    assert got.bound_method == "likelihood ratio"
    assert got.a90 < got.a90_95
    assert profile(link, size, found, np.log(got.a90_95)) == pytest.approx(ONE_SIDED, abs=1e-4)


def pooled(size, found):
    unit = np.arange(len(size))
    return pod_bounds.Sample(
        log_size=np.log(size), hits=found.astype(float), trials=1, unit=unit, units=len(unit)
    ).pooled()


def test_with_few_targets_the_ratio_is_held_against_samples_of_the_fitted_curve():
    size, found, _ = sample(1, 70)
    got, trials = pod(size, found), pooled(size, found)
    fit = pod_model.fit("logit", trials)

    level = pod_likelihood.calibrated("logit", fit, trials)

    assert got.bound_method == "likelihood ratio, calibrated by parametric bootstrap"
    assert profile("logit", size, found, np.log(got.a90_95)) == pytest.approx(level**2, abs=1e-4)
    assert 1.65 < level < 2.2
    # ... which is what they say: the same quantile from samples drawn and fitted one by one.
    rng, roots = np.random.default_rng(7), []
    order = np.argsort(size)
    for _ in range(40):
        drawn = rng.random(70) < special.expit(got.intercept + got.slope * np.log(size))
        again = pod_model.Trials(
            log_size=np.log(size)[order], hits=drawn[order][None].astype(float), of=np.ones((1, 70))
        )
        root = pod_likelihood.signed_root("logit", again, fit.theta[0], np.log(got.a90))[0]
        assert root**2 == pytest.approx(profile("logit", size, drawn, np.log(got.a90)), abs=1e-4)
        roots.append(root)
    assert np.mean(roots) > 0


def test_the_lower_curve_is_the_least_pod_that_is_not_refused():
    size, found, _ = sample(2, 500)
    got = pod(size, found)
    sign, log_size = np.where(found, 1.0, -1.0), np.log(size)
    best = special.log_expit(sign * (got.intercept + got.slope * log_size)).sum()

    def fall(slope, held, at):
        return -special.log_expit(sign * (held + slope * (log_size - at))).sum()

    for at in (5, 30, 50):
        held = optimize.minimize_scalar(
            fall, bracket=(0.5, 3.0), args=(special.logit(got.low[at]), np.log(got.size[at]))
        )
        assert 2 * (best + held.fun) == pytest.approx(ONE_SIDED, rel=2e-3)
    assert all(low < share for low, share in zip(got.low, got.pod, strict=True))
    assert np.interp(0.9, got.low, got.size) == pytest.approx(got.a90_95, rel=0.02)


def test_the_bootstraps_bound_agrees_with_scipys_bca():
    size, found, unit = sample(4, 200, spread=1.0, per_unit=2)
    got = pod(size, found, unit)
    units, log_size, at = unit.max() + 1, np.log(size), np.log(18.0)
    shown = pod_bounds.Sample(log_size=log_size, hits=found.astype(float), trials=1, unit=unit, units=units)
    fit = pod_model.fit("logit", shown.pooled())
    weights = draw(np.random.default_rng(0), units, 2000)

    def share(drawn, axis):
        assert axis == -1
        often = np.stack([np.bincount(row, minlength=units) for row in np.atleast_2d(drawn)])[:, unit].astype(float)
        trials = pod_model.Trials(log_size=log_size, hits=often * found, of=often)
        values = pod_model.probability("logit", pod_model.fit("logit", trials, fit.theta[0]).theta, np.array([at]))
        return values[:, 0] if np.ndim(drawn) > 1 else values[0, 0]

    expected = stats.bootstrap(
        (np.arange(units),), share, confidence_level=0.9, n_resamples=4000, method="BCa",
        rng=np.random.default_rng(1), vectorized=True,
    )  # fmt: skip
    bound = pod_bootstrap.bootstrap("logit", fit, shown, weights, (0, 1))

    assert float(bound.lower(np.array([at]))[0]) == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert got.bound_method == "bootstrap over 100 units, BCa"
    assert got.a90 < got.a90_95


def test_binning_many_sizes_for_speed_hardly_moves_the_bound(monkeypatch):
    size, found, unit = sample(5, 600, per_unit=2)
    exact = pod(size, found, unit)
    monkeypatch.setattr(pod_bootstrap, "_GROUPS", 128)

    grouped = pod(size, found, unit)

    assert len(np.unique(size)) == 600
    assert 0 < abs(grouped.a90_95 / exact.a90_95 - 1) < 1e-3
    assert grouped.low == pytest.approx(exact.low, abs=2e-3)


def test_clustered_units_widen_the_bound():
    size, found, _ = sample(6, 500)
    weights = draw(np.random.default_rng(0), 500, 500)
    alone = pod(size, found)
    copied = pod(np.repeat(size, 4), np.repeat(found, 4), np.repeat(np.arange(500), 4), weights=weights)

    assert copied.a90 == pytest.approx(alone.a90)
    # Four copies of each defect say no more than one does: the likelihood alone would halve the distance.
    naive = pod(np.repeat(size, 4), np.repeat(found, 4))
    assert 0.8 < np.log(copied.a90_95 / alone.a90) / np.log(alone.a90_95 / alone.a90) < 1.25
    assert np.log(naive.a90_95 / alone.a90) < 0.6 * np.log(alone.a90_95 / alone.a90)


def test_seeds_are_trials_of_the_same_defect():
    size, found, _ = sample(7)

    once, thrice = pod(size, found), pod(size, 3 * found.astype(int), trials=3)

    assert (thrice.a50, thrice.a90) == pytest.approx((once.a50, once.a90))
    assert thrice.hits == 3 * once.hits
    assert thrice.bound_method.startswith("bootstrap")


@pytest.mark.parametrize(("floor", "ceiling", "free"), [(0.2, 1.0, (2,)), (0.0, 0.75, (3,)), (0.2, 0.8, (2, 3))])
def test_asymptotes_equal_scipys_best_fit(floor, ceiling, free):
    size, found, unit = sample(3, 3000, slope=8.0, intercept=-8 * 2.8, floor=floor, ceiling=ceiling)
    shown = pod_bounds.Sample(log_size=np.log(size), hits=found.astype(float), trials=1, unit=unit, units=len(unit))

    fit, chosen = pod_asymptotes.fitted("logit", shown)

    def loss(t):
        low, high = (t[2] if 2 in free else 0.0), (t[3] if 3 in free else 1.0)
        share = low + (high - low) * special.expit(t[0] + t[1] * np.log(size))
        return -np.log(np.where(found, share, 1 - share)).sum()

    start = [-8 * 2.8, 8.0, max(floor, 0.01), min(ceiling, 0.99)]
    best = optimize.minimize(loss, start, bounds=[(None, None), (None, None), (0, 0.5), (0.5, 1)])
    assert chosen == (0, 1, *free)
    assert -fit.log_likelihood[0] == pytest.approx(best.fun, abs=1e-4)
    assert -fit.log_likelihood[0] <= best.fun + 1e-6
    assert fit.theta[0, 2:] == pytest.approx([floor, ceiling], abs=0.05)


def test_asymptotes_are_not_seen_in_plain_or_few_data():
    plain = pod(*sample(8, 400)[:2])
    assert (plain.floor, plain.ceiling) == (0.0, 1.0)
    size, found, _ = sample(3, 60, slope=8.0, intercept=-8 * 2.8, floor=0.2)
    few = pod(size, found)
    assert few.floor == 0.0


def test_a_ceiling_under_090_has_no_a90():
    got = pod(*sample(3, 3000, slope=8.0, intercept=-8 * 2.8, ceiling=0.75)[:2])

    assert got.status == "not_estimable"
    assert got.why == f"Ceiling: POD levels off at {got.ceiling:.2f}, under 0.9."
    assert got.a90 is None
    assert got.a50 is not None
    assert max(got.pod) < 0.8


def test_why_it_is_not_estimable():
    size = np.arange(1.0, 81.0)
    cases = {
        "There are no targets.": (size[:0], np.zeros(0)),
        "None was found.": (size, np.zeros(80)),
        "All targets have one size.": (np.ones(80), np.arange(80) % 2),
        "Separation: all under 41 were missed and all over 40 found": (size, size > 40),
        "Slope not positive: only the smallest were found.": (size, size < 40),
        "Slope not positive: larger defects weren't found more often.": (size, (np.arange(80) % 7 > 0) & (size < 70)),
        "a90 lies over the largest target (80)": (size, np.arange(80) % 5 < 1 + (size > 40)),
        "a90 lies under the smallest target (21)": (size + 20, (np.arange(80) % 30 != 3)),
    }
    for why, (sizes_, hits) in cases.items():
        got = pod(sizes_, hits)
        assert got.why.startswith(why)
        assert got.status == "not_estimable"
        assert got.a90 is None
        assert got.a90_95 is None


def test_a_steep_curve_has_a_bound_too():
    rng = np.random.default_rng(0)
    size = np.exp(rng.normal(2.8, 0.6, 120))
    found = rng.random(120) < special.expit(20 * (np.log(size) - 2.8))

    got = pod(size, found, np.arange(120) // 2)

    assert got.a90 < got.a90_95 < 1.2 * got.a90
    assert np.all(np.diff(got.low) >= 0)


def test_few_targets_are_warned_of():
    assert pod(*sample(0, 59)[:2]).warnings[0] == "Only 59 targets; MIL-HDBK-1823A asks for 60."
    assert not any("Only" in one for one in pod(*sample(0, 60)[:2]).warnings)


def test_a_slope_that_is_not_shown_gives_no_bound():
    shaky = [pod(*sample(seed, 60, slope=0.8, intercept=-1.0)[:2]) for seed in range(40)]

    open_ended = [one for one in shaky if one.status == "ok" and one.a90_95 is None]
    assert open_ended
    assert all("a90/95 has no upper end" in one.warnings[-1] for one in open_ended)
    beyond = [one for one in shaky if one.a90_95 is not None and one.a90_95 > max(one.size)]
    assert all("is extrapolated" in one.warnings[-1] for one in beyond)


def test_29_of_29_is_said_at_the_largest_of_the_29_smallest():
    size = np.arange(1.0, 41.0)

    got = pod(size, np.ones(40))

    assert got.status == "all_found"
    assert got.why == (
        "All 40 were found. 29 of 29 units held one of up to 29: POD is at least 0.9 from there up, "
        "with 95 % confidence."
    )
    # A POD just under 0.9 at 29 and under it below finds all 29 in less than 5 %.
    assert 0.9**29 < 0.05 < 0.9**28
    pairs = pod(size, np.ones(40), np.arange(40) // 2)
    assert pairs.why == (
        "All 40 were found. In 20 units that shows a POD of at least 0.86 from 39 up, with 95 % confidence; "
        "0.9 takes 29."
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_units_and_order_do_not_matter(seed, factor):
    size, found, unit = sample(seed, 80, per_unit=2, spread=0.5)
    order = np.random.default_rng(seed).permutation(80)
    weights = draw(np.random.default_rng(1), 40, 100)

    one = pod(size, found, unit, weights=weights)
    other = pod(size[order] * factor, found[order], unit[order], weights=weights)

    assert one.status == other.status
    for name in ("a50", "a90", "a90_95"):
        value = getattr(one, name)
        assert getattr(other, name) == (None if value is None else pytest.approx(value * factor, rel=1e-5))
    assert [b.found for b in one.bins] == [b.found for b in other.bins]


def test_bins_hold_every_target_once():
    size, found, _ = sample(9, 157)

    bins = pod(np.round(size), found).bins

    assert sum(one.found.of for one in bins) == 157
    assert sum(one.found.count for one in bins) == found.sum()
    assert all(a.high < b.low for a, b in pairwise(bins))


def test_an_unknown_link_is_refused():
    with pytest.raises(ConfigError, match=r"logit \| probit"):
        pod(np.ones(3), np.ones(3), link="cloglog")


def judged(truth, found):
    return Judged(
        name="a", seed=0, evaluation=evaluate(truth, scenes.predictions(image=[], label=[], box=[], score=[])),
        threshold=np.zeros(2), found=found, reason=np.array([""] * len(found)), candidate=np.full(len(found), -1),
        outcome=np.zeros(0, str),
    )  # fmt: skip


def test_a_detectors_curves_go_over_all_seeds_and_by_class():
    size, found, _ = sample(10, 120)
    side = np.minimum(size, 60)
    box = np.stack([np.zeros(120), np.zeros(120), side, side / 2], axis=1)
    truth = scenes.dataset(
        image=np.arange(120) // 2, label=np.arange(120) % 2, box=box, images=70,
        ignore=[row == 7 for row in range(120)],
    )  # fmt: skip
    weights = draw(np.random.default_rng(0), 70, 200)
    second = found ^ (np.arange(120) % 11 == 0)

    curves = pods([judged(truth, found), judged(truth, second)], weights)

    assert [one.of for one in curves] == ["all", "class0", "class1"]
    assert [one.targets for one in curves] == [119, 60, 59]
    assert {(one.trials, one.measure, one.unit) for one in curves} == {(2, "long side", "px")}
    keep = np.arange(120) != 7
    assert curves[0].hits == found[keep].sum() + second[keep].sum()
    assert curves[0].hits == curves[1].hits + curves[2].hits
    assert curves[0].bound_method == "bootstrap over 60 units, BCa"
    short = pods([judged(truth, found)], weights, measure="short side")
    assert short[0].a90 == pytest.approx(pods([judged(truth, found)], weights)[0].a90 / 2)


def test_one_class_has_no_curve_of_its_own_and_flat_defects_are_left_out():
    region = tuple(
        Polygons(rings=(np.array([[0.0, 0.0], [k + 1.0, 0.0], [k + 1.0, 0.0 if k == 3 else 2.0]]),)) for k in range(30)
    )
    truth = scenes.dataset(
        image=np.arange(30), label=[0] * 30, box=[[0, 0, k + 1, 2] for k in range(30)], images=30, region=region
    )

    curves = pods(
        [judged(truth, np.arange(30) % 3 > 0)], draw(np.random.default_rng(0), 30, 50), measure="minimum Feret"
    )

    assert [one.of for one in curves] == ["all"]
    assert curves[0].targets == 29
    assert curves[0].warnings[-1] == "1 defects without a minimum Feret are left out."


def test_measures_of_size_in_px_and_in_the_datasets_unit():
    import dataclasses

    region = (Polygons(rings=(np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 8.0], [0.0, 8.0]]),)),)
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 6, 8]], area=[40], images=1, region=region)
    scaled = dataclasses.replace(truth, scale=2.0, unit="mm")

    expected = {"area": 40, "long side": 8, "short side": 6, "maximum Feret": 10, "minimum Feret": 6}
    for measure, value in expected.items():
        assert sizes(truth, measure) == pytest.approx([value])
        assert sizes(scaled, measure) == pytest.approx([value / (4 if measure == "area" else 2)])
    assert [unit_of(truth, m) for m in ("area", "long side")] == ["px²", "px"]
    assert [unit_of(scaled, m) for m in ("area", "long side")] == ["mm²", "mm"]
    with pytest.raises(ConfigError, match="maximum Feret"):
        sizes(truth, "length")
    with pytest.raises(ConfigError, match="boxes only"):
        sizes(scenes.dataset(image=[0], label=[0], box=[[0, 0, 6, 8]], images=1), "minimum Feret")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=9, unique=True))
def test_feret_diameters_equal_a_turning_caliper(points):
    ring = np.array(points, float)
    longest, shortest = feret(Polygons(rings=(ring,)))

    angle = np.linspace(0, np.pi, 7201)
    across = ring @ np.stack([np.cos(angle), np.sin(angle)])
    width = across.max(axis=0) - across.min(axis=0)

    assert longest == pytest.approx(width.max(), abs=1e-4 * longest)
    assert shortest == pytest.approx(width.min(), abs=3e-3 * longest)


def test_feret_of_pixels_counts_their_corners():
    pixels = np.zeros((20, 30), bool)
    pixels[4, 7] = True
    assert feret(geometry.from_mask(pixels)) == pytest.approx((np.sqrt(2), 1))
    pixels[4:9, 7:19] = True
    assert feret(geometry.from_mask(pixels)) == pytest.approx((13, 5))
    hollow = pixels.copy()
    hollow[5:8, 8:18] = False
    assert feret(geometry.from_mask(hollow)) == pytest.approx((13, 5))
    assert feret(geometry.from_mask(np.zeros((5, 5), bool))) == (0.0, 0.0)


def test_a_flat_curve_has_a_finite_fit():
    # Its parameters can't be told apart there, and the information is singular.
    size = np.log(np.linspace(8, 120, 50))
    half = pod_model.Trials(log_size=size, hits=np.full((1, 50), 30.0), of=np.full((1, 50), 60.0))

    fitted = pod_model.fit("logit", half, np.array([0.0, 0.0, 0.2, 0.8]), (0, 1, 2, 3))

    assert np.isfinite(fitted.theta).all()
    assert pod_model.fit("logit", half).log_likelihood == pytest.approx(fitted.log_likelihood)
