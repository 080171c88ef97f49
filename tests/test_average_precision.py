from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from defect_detect import geometry, native
from defect_detect.evaluation.average_precision import average_precision, mean_of
from defect_detect.evaluation.comparison import AveragePrecision
from defect_detect.tables import Predictions
from tests import coco_reference, scenes

NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


@pytest.fixture(params=["compiled", "pure"], autouse=True)
def way(request, monkeypatch):
    """Everything here holds with the compiled extension and without it."""
    if request.param == "pure":
        monkeypatch.setattr(native, "compiled", None)
    elif native.compiled is None:
        pytest.skip("the extension was not built")


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

    expected = coco_reference.summarized(coco_reference.reference(truth, said))

    assert figures(average_precision(truth, said)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_masks_equal_pycocotools(seed):
    truth, said = scenes.scene(seed, images=8, defects=30, said=120, masks=True)

    expected = coco_reference.summarized(coco_reference.reference(truth, said, kind="segm"))

    assert figures(average_precision(truth, said, "mask")) == pytest.approx(expected, abs=1e-9)


def test_more_than_a_hundred_detections_are_capped_as_pycocotools_does():
    truth, said = scenes.scene(5, images=2, classes=2, defects=30, said=700)

    expected = coco_reference.summarized(coco_reference.reference(truth, said))

    assert figures(average_precision(truth, said)) == pytest.approx(expected, abs=1e-9)


def test_many_images_of_which_ids_are_out_of_order():
    truth, said = scenes.scene(11, images=40, classes=5, defects=200, said=900)
    truth = dataclasses.replace(truth, images=dataclasses.replace(truth.images, id=truth.images.id[::-1].copy()))

    expected = coco_reference.summarized(coco_reference.reference(truth, said))

    assert figures(average_precision(truth, said)) == pytest.approx(expected, abs=1e-9)


def test_nothing_at_all_is_not_measured():
    truth = scenes.dataset(image=[], label=[], box=[], images=2, classes=2)

    got = average_precision(truth, Predictions.none())

    assert set(figures(got)) == {-1.0}


def test_large_predictions_are_outside_small_areas():
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 20, 20]], images=1, classes=1)
    said = scenes.predictions(image=[0, 0], label=[0, 0], box=[[0, 0, 60, 60], [0, 0, 20, 20]], score=[0.9, 0.8])
    assert geometry.area(said.box)[0] > 32**2

    expected = coco_reference.summarized(coco_reference.reference(truth, said))
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


@pytest.mark.parametrize("seed", range(6))
def test_compiled_and_pure_are_equal_to_the_bit(seed, monkeypatch):
    truth, said = scenes.scene(seed, images=30, classes=4, defects=150, said=1200)
    area = np.random.default_rng(seed).choice([100.0, 1024.0, 5000.0, 9216.0, 20000.0], len(truth.defects))
    truth = dataclasses.replace(truth, defects=dataclasses.replace(truth.defects, area=area))

    got = average_precision(truth, said)
    monkeypatch.setattr(native, "compiled", None)

    assert got == average_precision(truth, said)
