"""Parts of a split: each figure counted by hand, and n/a where a part can't have it."""

import dataclasses

import numpy as np
import pytest

from defect_detect.evaluation.comparison import Rate
from defect_detect.evaluation.entrant import Draws, enter
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.sliced import sliced
from defect_detect.evaluation.slices import parts, size_bin, size_names
from defect_detect.evaluation.units import units
from tests import scenes


def judged(truth, said, edges=()):
    """The parts of one detector at score 0.5, by (attribute, value)."""
    contender = Contender(
        name="a", runs=(Run(seed=0, test=evaluate(truth, said), validation=None, manifest=None),)
    )  # fmt: skip
    draws = Draws(seed=0, test=draw(np.random.default_rng(0), len(units(truth)), 200), validation=None)
    entrant = enter(contender, parse_policy("score=0.5"), draws)
    return {(one.by, one.value): one for one in sliced(entrant, draws, edges)}


def four_pictures(group=None, camera=("top", "top", "side", "side")):
    """Defects in pictures 0 and 2, and in both classes; pictures 1 and 3 without any."""
    return scenes.dataset(
        image=[0, 0, 2], label=[0, 1, 0], box=[[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 4, 8]], images=4,
        group=group, image_attribute={"camera": np.array(camera)}, attribute={"shift": np.array(["am", "pm", "am"])},
    )  # fmt: skip


SAID = scenes.predictions(
    image=[0, 1, 3, 3, 2], label=[0, 0, 1, 1, 0], score=[0.9, 0.8, 0.7, 0.6, 0.2],
    box=[[0, 0, 10, 10], [0, 0, 9, 9], [0, 0, 9, 9], [20, 20, 29, 29], [0, 0, 4, 8]],
)  # fmt: skip


def test_attributes_of_pictures_have_alarms_and_units_too() -> None:
    found = judged(four_pictures(), SAID)

    side, top = found["camera", "side"], found["camera", "top"]
    assert side.fn_rate.rate == Rate(count=1, of=1)
    assert side.fppi.rate == Rate(count=2, of=2)
    assert side.escape_rate.rate == Rate(count=1, of=1)
    assert side.overkill_rate.rate == Rate(count=1, of=1)
    assert top.fn_rate.rate == Rate(count=1, of=2)
    assert top.fppi.rate == Rate(count=1, of=2)
    assert top.escape_rate.rate == Rate(count=0, of=1)
    assert top.fppi.this_threshold.low <= 0.5 <= top.fppi.this_threshold.high


def test_classes_have_false_alarms_but_no_units() -> None:
    found = judged(four_pictures(), SAID)["class", "class1"]

    assert found.fn_rate.rate == Rate(count=1, of=1)
    assert found.fppi.rate == Rate(count=2, of=4)
    assert found.escape_rate is None
    assert found.overkill_rate is None


def test_attributes_of_defects_have_no_false_alarms() -> None:
    found = judged(four_pictures(), SAID)["shift", "am"]

    assert found.fn_rate.rate == Rate(count=1, of=2)
    assert found.fppi is None


def test_a_unit_seen_by_several_cameras_escapes_from_none_of_them() -> None:
    found = judged(four_pictures(group=["p", "q", "p", "q"]), SAID)["camera", "top"]

    assert found.escape_rate is None
    assert found.overkill_rate is None
    assert found.fppi.rate == Rate(count=1, of=2)


def test_a_value_without_defects_still_has_false_alarms() -> None:
    found = judged(four_pictures(camera=("top", "far", "top", "far")), SAID)["camera", "far"]

    assert found.fn_rate.rate == Rate(count=0, of=0)
    assert found.fppi.rate == Rate(count=3, of=2)
    assert found.escape_rate.rate.of == 0


@pytest.mark.parametrize("by", ["class", "size", "camera", "shift"])
def test_the_parts_make_the_whole(by: str) -> None:
    found = [part for part in parts(four_pictures()) if part.by == by]

    assert np.sum([part.defects for part in found], axis=0).tolist() == [1, 1, 1]


def test_size_bins_go_by_the_long_side_in_the_users_unit() -> None:

    truth = dataclasses.replace(four_pictures(), scale=2.0, unit="mm")

    assert size_names((4, 5), "mm") == ("under 4 mm", "4 to 5 mm", "5 mm and over")
    # Long sides of 10, 10 and 8 px at 2 px a mm; an edge belongs to the bin above it.
    assert size_bin(truth, (4, 5)).tolist() == ["5 mm and over", "5 mm and over", "4 to 5 mm"]
    assert [part.value for part in parts(truth, (4, 5)) if part.by == "size"] == ["4 to 5 mm", "5 mm and over"]
    assert size_bin(four_pictures(), (9,)).tolist() == ["9 px and over", "9 px and over", "under 9 px"]
    assert size_bin(truth).tolist() == ["small"] * 3
