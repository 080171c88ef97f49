"""Boxes in another order or unit: told over the whole file, taken where it is certain, refused where it isn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.data import coco, conventions
from defect_detect.data.normalize import Normalized
from defect_detect.data.repairs import Log
from defect_detect.errors import DatasetError
from tests import exports
from tests.exports import HEIGHT, WIDTH, Content, changed, run

Convert = Callable[[list[float]], list[float]]
PX: dict[str, Convert] = {
    "corners x0 y0 x1 y1": lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]],
    "centre x y, width height": lambda b: [b[0] + b[2] / 2, b[1] + b[3] / 2, b[2], b[3]],
}


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("conventions") / "images")


def shares(box: list[float]) -> list[float]:
    return [value / side for value, side in zip(box, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)]


def converted(content: Content, convert: Convert) -> Content:
    for annotation in content["annotations"]:
        annotation["bbox"] = convert(annotation["bbox"])
    return content


def boxes(made: Normalized) -> dict[object, list[float]]:
    """x0 y0 x1 y1 by the id that the annotation had."""
    return {
        source: box
        for split in coco.splits(made.root)
        for data in [coco.load(made.root, split)]
        for source, box in zip(data.defects.source_id, data.defects.box.tolist(), strict=True)
    }


def test_corners_of_boxes_alone_are_read_as_corners(pictures: Path, tmp_path: Path) -> None:
    plain = run(exports.boxes_only(), pictures, tmp_path / "plain")
    made = run(converted(exports.boxes_only(), PX["corners x0 y0 x1 y1"]), pictures, tmp_path / "corners")
    assert boxes(made) == boxes(plain)
    assert {repair.what for repair in changed(made)} == {"box given as corners x0 y0 x1 y1"}
    assert len(changed(made)) == 30
    assert [r.what for r in made.repairs if r.where == "export.json: annotations[].bbox"] == [
        "boxes that are corners x0 y0 x1 y1"
    ]


@pytest.mark.parametrize("order", PX)
def test_with_regions_every_order_is_told(order: str, pictures: Path, tmp_path: Path) -> None:
    content = exports.boxes_only()
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    plain = run(content, pictures, tmp_path / "plain")
    made = run(converted(content, PX[order]), pictures, tmp_path / "other")
    assert boxes(made) == boxes(plain)
    assert {repair.what for repair in changed(made)} <= {f"box given as {order}", "box past the edge"}


def test_shares_are_read_where_only_one_order_fits(pictures: Path, tmp_path: Path) -> None:
    content = exports.boxes_only()
    content["annotations"][0]["bbox"] = [1, 1, 20, 10]  # as a centre it would lie past the edge
    content["annotations"][1]["bbox"] = [0, 20, 30, 10]
    plain = run(content, pictures, tmp_path / "plain")
    made = run(converted(content, shares), pictures, tmp_path / "shares")
    for id_, box in boxes(made).items():
        assert box == pytest.approx(boxes(plain)[id_])
    name = "box given as x y width height, as shares of the picture's size"
    assert {repair.what for repair in changed(made)} == {name}


def test_shares_that_may_be_two_orders_are_refused(pictures: Path, tmp_path: Path) -> None:
    content = exports.boxes_only()
    for annotation in content["annotations"]:
        annotation["bbox"] = [20, 15, 4, 4]
        annotation["bbox"][0] += annotation["id"] / 10
    with pytest.raises(DatasetError, match=r"between 0 and 1 in every box.*which of 2 orders is unclear"):
        run(converted(content, shares), pictures, tmp_path)


def test_few_boxes_are_too_few_to_be_sure(pictures: Path, tmp_path: Path) -> None:
    content = converted(exports.boxes_only(), PX["corners x0 y0 x1 y1"])
    del content["annotations"][12:]
    with pytest.raises(DatasetError, match=r"look like corners .* too few to be sure. Convert them"):
        run(content, pictures, tmp_path)


def test_centres_that_seldom_pass_the_edge_are_refused_not_guessed(pictures: Path, tmp_path: Path) -> None:
    content = exports.boxes_only()
    for annotation in content["annotations"][::6]:
        annotation["bbox"] = [48, 10, 12, 12]
    with pytest.raises(DatasetError, match=r"look like centre x y, width height.*most would do as they are"):
        run(converted(content, PX["centre x y, width height"]), pictures, tmp_path)


def test_boxes_that_fit_no_region_are_refused(pictures: Path, tmp_path: Path) -> None:
    content = exports.clean()
    for annotation in content["annotations"]:
        annotation["bbox"] = [1, 30, 3, 3]
    with pytest.raises(DatasetError, match="10 of 10 boxes that lie elsewhere"):
        run(content, pictures, tmp_path)


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_plain_boxes_are_never_taken_for_anything_else(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, (90, 60), (count, 2))
    size = rng.uniform(1, np.array((100, 70)) - low)
    log = Log()
    listed = [((*xy, *wh), 100, 70) for xy, wh in zip(low.tolist(), size.tolist(), strict=True)]
    assert conventions.tell("x.json", listed, log) is conventions.PLAIN
    assert not log.faults
