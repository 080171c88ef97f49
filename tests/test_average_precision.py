from __future__ import annotations

import numpy as np
import pytest

from defect_detect import geometry
from defect_detect.evaluation.average_precision import average_precision, mean_of
from defect_detect.evaluation.comparison import AveragePrecision
from defect_detect.tables import Predictions
from tests import coco_reference, scenes

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100")


def figures(ap):
    return np.array([-1.0 if getattr(ap, name) is None else getattr(ap, name) for name in NAMES])


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(seed):
    truth, said = scenes.scene(seed, images=10, classes=4, defects=50, said=300)
    # Sizes of all three bins, classes that are empty in truth, one that is empty in predictions.
    area = np.random.default_rng(seed).choice([100.0, 1024.0, 5000.0, 9216.0, 20000.0], len(truth.defects))
    truth = scenes.dataset(
        image=truth.defects.image, label=np.minimum(truth.defects.label, 2), box=truth.defects.box, images=10,
        classes=4, crowd=truth.defects.crowd, ignore=truth.defects.ignore, area=area,
    )  # fmt: skip
    said = said.take(said.label != 1)

    expected = coco_reference.summarized(coco_reference.reference(truth, said))[:9]

    assert figures(average_precision(truth, said)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_masks_equal_pycocotools(seed):
    truth, said = scenes.scene(seed, images=8, defects=30, said=120, masks=True)

    expected = coco_reference.summarized(coco_reference.reference(truth, said, kind="segm"))[:9]

    assert figures(average_precision(truth, said, "mask")) == pytest.approx(expected, abs=1e-9)


def test_more_than_a_hundred_detections_are_capped_as_pycocotools_does():
    truth, said = scenes.scene(5, images=2, classes=2, defects=30, said=700)

    expected = coco_reference.summarized(coco_reference.reference(truth, said))[:9]

    assert figures(average_precision(truth, said)) == pytest.approx(expected, abs=1e-9)


def test_large_predictions_are_outside_small_areas():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 20, 20]], images=1, classes=1)
    said = scenes.predictions(image=[0, 0], label=[0, 0], box=[[0, 0, 60, 60], [0, 0, 20, 20]], score=[0.9, 0.8])
    assert geometry.area(said.box)[0] > 32**2

    expected = coco_reference.summarized(coco_reference.reference(truth, said))[:9]
    got = average_precision(truth, said)

    assert figures(got) == pytest.approx(expected, abs=1e-9)
    assert got.ap_small == pytest.approx(1.0)
    assert got.ap == pytest.approx(0.5)
    assert got.ap_large is None


def test_a_silent_detector_has_zero():
    truth, _ = scenes.scene(0, special=False)

    got = average_precision(truth, Predictions.none())

    assert (got.ap, got.ap50, got.ar100) == (0.0, 0.0, 0.0)


def test_mean_over_seeds_keeps_what_is_not_measured():
    one = AveragePrecision(**dict.fromkeys(NAMES, 0.2))
    other = AveragePrecision(**{**dict.fromkeys(NAMES, 0.4), "ap_large": None})

    got = mean_of([one, other])

    assert got.ap == pytest.approx(0.3)
    assert got.ap_large is None
