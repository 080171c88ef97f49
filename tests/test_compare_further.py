"""The comparison carries POD, LRP, calibration, agreement with the reference and expected cost."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from defect_detect.errors import ConfigError
from defect_detect.evaluation.compare import compare
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.operating import parse_policy
from tests.test_compare import FACTS, compared, contender


def test_every_further_quantity_stands_beside_the_figures():
    comparison, _ = compared(contender("good", recall=0.9), contender("poor", recall=0.6), policy="cost")

    for detector in comparison.detectors:
        test = detector.test
        assert detector.pod[0].of == "all"
        assert detector.pod[0].targets == test.fn_rate.rate.of
        assert detector.pod[0].hits == test.fn_rate.rate.of - test.fn_rate.rate.count
        assert detector.pod[0].measure == "long side"
        assert 0 < detector.lrp.olrp <= detector.lrp.at_operating_point < 1
        assert detector.calibration.ece > 0
        assert detector.attribute_agreement.miss_rate == test.escape_rate.rate
        assert detector.attribute_agreement.false_alarm_rate == test.overkill_rate.rate
        assert detector.expected_cost == pytest.approx(
            0.1 * test.escape_rate.rate.value * 10 + 0.9 * test.overkill_rate.rate.value
        )
    text = msgspec.json.encode(comparison)
    assert msgspec.json.decode(text, type=Comparison) == comparison


def test_costs_price_any_policy_when_they_are_given():
    priced = dataclasses.replace(parse_policy("fppi<=0.1"), escape=50.0, overkill=1.0, prevalence=0.01)

    def detector(policy):
        return compare([contender("a", recall=0.9)], policy=policy, facts=FACTS, versions={}, resamples=50)[
            0
        ].detectors[0]

    got = detector(priced)
    escape, overkill = got.test.escape_rate.rate.value, got.test.overkill_rate.rate.value
    assert got.expected_cost == pytest.approx(0.01 * escape * 50 + 0.99 * overkill)
    assert detector(parse_policy("fppi<=0.1")).expected_cost is None


def test_without_an_operating_point_there_is_nothing_to_say_at_it():
    comparison, _ = compared(contender("blind", recall=0.3), policy="recall>=0.9")

    detector = comparison.detectors[0]
    assert detector.pod == []
    assert detector.attribute_agreement is None
    assert detector.lrp.at_operating_point is None
    assert detector.lrp.olrp > 0.5


def test_the_size_measure_and_the_link_are_chosen():
    short, _ = compared(contender("a", recall=0.7), measure="short side", link="probit")

    assert {(one.measure, one.link) for one in short.detectors[0].pod} == {("short side", "probit")}
    with pytest.raises(ConfigError, match="boxes only"):
        compared(contender("a", recall=0.7), measure="maximum Feret")
