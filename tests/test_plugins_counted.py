"""What the frameworks' plugins have in common: figures of `evaluation`, and none where they would be wrong."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from defect_detect.data import coco
from defect_detect.errors import ConfigError, RunFailed
from defect_detect.evaluation import operating
from defect_detect.plugins import counted
from defect_detect.plugins.counted import Counter
from defect_detect.tables import Predictions
from tests import scenes

# Two defects in picture 0, one in 1; picture 2 is defect-free.
TRUTH = scenes.dataset(
    image=[0, 0, 1], label=[0, 1, 0], box=[[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]], images=3
)


def counter(policy: str = "fppi<=0.4", truth=TRUTH) -> Counter:
    return Counter(truth=truth, policy=operating.parse_policy(policy))


def said(count: Counter) -> list[tuple[int, Predictions]]:
    """Both defects of picture 0 found at 0.9 and 0.5, that of 1 missed; false alarms at 0.7 and 0.3."""
    return [
        (0, count.table(0, box=[[0, 0, 10, 10], [20, 20, 30, 30]], score=[0.9, 0.5], label=[0, 1])),
        (1, count.table(1, box=[[40, 40, 50, 50]], score=[0.7], label=[0])),
        (2, count.table(2, box=[[5, 5, 9, 9]], score=[0.3], label=[1])),
    ]


def test_figures_are_those_of_the_threshold_that_the_policy_chooses() -> None:
    count = counter()
    assert count.figures(said(count)) == pytest.approx(
        {
            "froc_recall": (1 / 3 + 1 / 3 + 5 * 2 / 3) / 7,
            "threshold_in_sample": 0.5,
            "fn_rate_in_sample": 1 / 3,
            "fppi_in_sample": 1 / 3,
            "escape_rate_in_sample": 0.0,  # the false alarm in picture 1 stops that part too
            "overkill_rate_in_sample": 0.0,
        }
    )


def test_a_score_that_was_fixed_before_is_not_in_sample() -> None:
    count = counter("score=0.25")
    told = count.figures(said(count))
    assert [*told] == ["froc_recall", "threshold", "fn_rate", "fppi", "escape_rate", "overkill_rate"]
    assert (told["threshold"], told["fn_rate"], told["overkill_rate"]) == (0.25, pytest.approx(1 / 3), 1.0)


@pytest.mark.parametrize(
    ("policy", "fn_rate"), [("fppi<=0.1", 1.0), ("overkill<=0.001", math.nan), ("recall>=0.9", math.nan)]
)
def test_a_policy_that_nothing_meets(policy: str, fn_rate: float) -> None:
    """Under a budget nothing is found then; else, and with too few units, it can't be told. Names stay the same."""
    count = counter(policy)
    loud = [(row, count.table(row, box=[[40, 40, 50, 50]], score=[0.95], label=[0])) for row in range(3)]
    told = count.figures(loud)
    assert math.isnan(told["threshold_in_sample"])
    assert told["fn_rate_in_sample"] == pytest.approx(fn_rate, nan_ok=True)
    assert [*told] == [*counter().figures(said(counter()))]


def test_a_split_without_defects_and_a_silent_detector() -> None:
    none = np.zeros(0, np.int64)
    free = counter(truth=dataclasses.replace(TRUTH, defects=TRUTH.defects.take(none)))
    assert math.isnan(free.figures(said(free))["froc_recall"])
    count = counter()
    silent = [(row, Predictions.none()) for row in range(3)]
    told = count.figures(silent)
    assert (told["froc_recall"], told["fn_rate_in_sample"], told["fppi_in_sample"]) == (0.0, 1.0, 0.0)


def test_a_picture_that_was_left_out_ends_it_and_one_that_came_twice_counts_once() -> None:
    count = counter()
    with pytest.raises(RunFailed, match=r"1 of 3 pictures of test were not validated on \(test/00001.png\)"):
        count.figures([one for one in said(count) if one[0] != 1])
    assert count.figures([*said(count), *said(count)[:2]]) == count.figures(said(count))


def test_boxes_are_cut_to_the_picture_and_what_is_none_is_refused() -> None:
    count = counter()
    table = count.table(
        0, box=[[-5, -5, 10, 10], [70, 0, 90, 9], [8, 8, 8, 20]], score=[0.5, 0.4, 0.3], label=[0, 0, 1]
    )
    assert table.box.tolist() == [[0, 0, 10, 10]]
    assert (table.image.tolist(), table.label.tolist(), table.score.tolist()) == ([0], [0], [0.5])
    assert len(count.table(2, box=np.zeros((0, 4)), score=[], label=[])) == 0
    for box, score, label, says in (
        ([[0, 0, math.nan, 1]], [0.5], [0], "not finite"),
        ([[0, 0, 1, 1]], [1.5], [0], "not finite"),
        ([[0, 0, 1, 1]], [math.nan], [0], "not finite"),
        ([[0, 0, 1, 1]], [0.5], [2], "a class"),
    ):
        with pytest.raises(RunFailed, match=says):
            count.table(0, box=box, score=score, label=label)


def test_classes_and_pictures_must_be_those_of_the_dataset(tiny: Path) -> None:
    count = counted.counter(tiny, "val", "fppi<=0.1")
    names = [category.name for category in count.truth.categories]
    count.check(names)
    with pytest.raises(ConfigError, match="in its order"):
        count.check(names[::-1])
    rows = counted.by_path(count.truth)
    assert [counted.row_of(rows, tiny / file) for file in count.truth.images.file] == [*range(len(count.truth.images))]
    with pytest.raises(ConfigError, match="a picture of the split"):
        counted.row_of(rows, tiny / coco.load(tiny, "train").images.file[0])
    with pytest.raises(ConfigError, match="fppi<="):
        counted.counter(tiny, "val", "fppi<0.1")
