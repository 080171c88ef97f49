"""POD on the hit/miss example of MIL-HDBK-1823A whose data are public, against what JASP (R's glm) publishes for it."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats

from defect_detect.evaluation import pod_likelihood, pod_model
from defect_detect.evaluation.pod import pod

# "EXAMPLE 3 hm": depths of cracks in thousandths of an inch. Cracks without a depth, or of depth 0, are left out, as
# the logarithm needs. Data and coefficients as in the tests of jasp-stats/jaspQualityControl.
FOUND = """
43 31 19 37 19 33 21 51 18 27 25 18 27 19 21 16 39 25 37 47 39 41 39 21 33 27 29 25 37 25 23 27 19 21 31 33 29 41 76 97
33 62 49 57 41 49 47 43 43 49 68 68 45 31 45 41 58 68 58 62 53 53 60 41 64 60 37 49 43 66 57 84 49 39 25 21 47 58 58 29
35 47 55 64 57 62 49 47 47
"""
MISSED = "10 8 10 14 18 100 25 8 12 12 6 16 6 10 18 12 8 12 14 4 19 10 10 6 23 10 19 21 12 33"
JASP = (17.6573206618451, 4.39007841700679)


@pytest.fixture(scope="module")
def cracks():
    found, missed = (np.array(text.split(), float) / 1000 for text in (FOUND, MISSED))
    return np.concatenate([found, missed]), np.repeat([1, 0], [len(found), len(missed)])


def test_the_curve_is_the_published_one(cracks):
    size, found = cracks
    intercept, slope = JASP

    curve = pod(size, found)

    assert curve.status == "ok"
    assert curve.a50 == pytest.approx(np.exp(-intercept / slope), rel=1e-7)
    assert curve.a90 == pytest.approx(np.exp((np.log(9) - intercept) / slope), rel=1e-7)
    trials = pod_model.Trials(log_size=np.log(size), hits=found[None] * 1.0, of=np.ones((1, len(size))))
    theta = pod_model.fit("logit", trials).theta[0]
    assert theta[[pod_model.INTERCEPT, pod_model.SLOPE]] == pytest.approx(JASP, rel=1e-7)


def test_the_bound_is_the_ratio_test_of_statsmodels_at_its_level(cracks):
    """Held at 0.9, the size enters a binomial regression without intercept as an offset."""
    size, found = cracks
    curve = pod(size, found)
    free = sm.GLM(found, sm.add_constant(np.log(size)), family=sm.families.Binomial()).fit()

    def root(a90: float) -> float:
        held = sm.GLM(
            found, np.log(size / a90)[:, None], family=sm.families.Binomial(), offset=np.full(len(size), np.log(9))
        ).fit()
        return float(np.sqrt(2 * (free.llf - held.llf)))

    plain = optimize.brentq(lambda a: root(a) - special.ndtri(0.95), curve.a90, 3 * curve.a90)

    # So few trials have a level of their own, from samples of the fitted curve: stricter than the asymptotic one.
    assert stats.norm.cdf(root(curve.a90_95)) == pytest.approx(0.965, abs=0.014)
    assert plain < curve.a90_95 < 1.06 * plain
    many = pod(np.repeat(size, 5), np.repeat(found, 5))
    assert len(size) * 5 >= pod_likelihood.MANY  # so many that the level is the asymptotic one
    exact = optimize.brentq(lambda a: np.sqrt(5) * root(a) - special.ndtri(0.95), curve.a90, 3 * curve.a90)
    assert many.a90_95 == pytest.approx(exact, rel=1e-6)
