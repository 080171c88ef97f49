from __future__ import annotations

import numpy as np
import pytest

from defect_detect.evaluation import matching
from defect_detect.evaluation.missed import FIGURES, opportunities, scored, tally
from defect_detect.evaluation.shift import shift
from tests import scenes


@pytest.fixture(scope="module")
def table():
    truth, said = scenes.scene(3, images=60, defects=60, said=300, groups=40)
    return scored(matching.evaluate(truth, said))


def rates(table, vector):
    return tally(table, vector).sum(axis=0) / opportunities(table).sum(axis=0)


def test_a_shift_is_the_rate_there_less_the_rate_here(table):
    used, drawn = np.full(3, 0.45), np.array([0.45, 0.2, 0.7, 0.05, np.inf])

    got = shift(table, used, drawn)

    for row, threshold in zip(got, drawn, strict=True):
        assert row == pytest.approx(rates(table, np.full(3, threshold)) - rates(table, used))
    assert (got[0] == 0).all()


def test_thresholds_by_class_shift_what_adds_up_over_classes(table):
    used, drawn = np.array([0.45, 0.6, 0.3]), np.array([[0.45, 0.6, 0.3], [0.2, 0.8, 0.5], [0.7, np.inf, 0.1]])
    sums = [FIGURES.index(name) for name in ("fn_rate", "fppi", "fppi_defect_free")]

    got = shift(table, used, drawn)

    for row, vector in zip(got, drawn, strict=True):
        assert row[sums] == pytest.approx((rates(table, vector) - rates(table, used))[sums])
    assert np.isnan(np.delete(got, sums, axis=1)).all()
