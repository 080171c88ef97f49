"""Properties of normalization, on exports spoilt at random in ways that people's exports are."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defect_detect.data import coco
from defect_detect.data.normalize import Normalized, normalize
from defect_detect.errors import DatasetError
from tests import exports
from tests.exports import HEIGHT, WIDTH, Content, changed, clean, run

SPLITS = ("train", "val", "test")
Spoil = Callable[[Content, random.Random], None]


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("properties") / "images")


def field(name: str, *values: Any, table: str = "annotations") -> Spoil:
    """One entry gets one of the values (... removes the field)."""

    def spoil(content: Content, rng: random.Random) -> None:
        entry, value = rng.choice(content[table]), rng.choice(values)
        if value is ...:
            entry.pop(name, None)
        else:
            entry[name] = copy.deepcopy(value)

    return spoil


def twice(table: str, **fields: Any) -> Spoil:
    def spoil(content: Content, rng: random.Random) -> None:
        content[table].append({**copy.deepcopy(rng.choice(content[table])), **fields})

    return spoil


SPOILS: list[Spoil] = [
    field("id", "3", 4.0, 0, -7, ..., 2**60, "x7"),
    field("image_id", "2", 3.0, 99, ..., None),
    field("category_id", "1", 2.0, 99, ...),
    field("bbox", [], ..., [-5, 6, 30, 10], [50, 30, 40, 40], [6, 6, 0, 5], [9, 9, -4, 5], [1, 2, 3], [1e300, 0, 1, 1],
          [float("nan"), 1, 2, 3], ["6", "6", "20", "10"], [200, 200, 5, 5]),
    field("area", ..., 0, -1, "200", 10**9, float("inf")),
    field("iscrowd", ..., True, "0", 7, 1),
    field("segmentation", ..., [], [[]], [6, 6, 26, 6, 26, 16, 6, 16], [[[6, 6], [26, 6], [26, 16]]], [[1, 2, 3, 4]],
          [[6, 6, 26, 16, 26, 6, 6, 16]], [[-9, 6, 26, 6, 26, 50]],
          {"size": [HEIGHT, WIDTH], "counts": [240, 400, 1760]}, {"size": [WIDTH, HEIGHT], "counts": "zz"},
          [[6, 6, 26, 6, 26, 16], [1, 2]]),
    field("note", "a", 5, True, [1, 2], table="annotations"),
    field("width", ..., "60", 61, 600, table="images"),
    field("file_name", "gone.png", "./p1.png", "P3.PNG", "C:\\x\\p2.png", "../p1.png", "p4.jpg", table="images"),
    field("group", "g1", "g2", table="images"),
    field("id", "1", 2.0, 0, 77, table="images"),
    field("name", "pit ", "Kratzer ä", "scratch", table="categories"),
    field("supercategory", "pit", "scratch", table="categories"),
    field("id", 0, "2", 50, table="categories"),
    twice("annotations"), twice("annotations", id=500), twice("annotations", id=501, note="b"), twice("images"),
    twice("categories"), twice("categories", id=9), twice("categories", id=8, name="dent"),
]  # fmt: skip


def outcome(content: Content, pictures: Path, folder: Path) -> Normalized | str:
    try:
        return run(content, pictures, folder)
    except DatasetError as error:
        return str(error)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoils=st.lists(st.sampled_from(SPOILS), max_size=6), seed=st.integers(0, 10**6))
def test_normalizing_is_idempotent_blind_to_order_and_keeps_its_promises(
    spoils: list[Spoil], seed: int, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test's dice, not a secret
    content = clean()
    for spoil in spoils:
        spoil(content, rng)
    shuffled = copy.deepcopy(content)
    for table in ("images", "annotations", "categories"):
        rng.shuffle(shuffled[table])
    folder = tmp_path_factory.mktemp("run")
    made, other = outcome(content, pictures, folder / "a"), outcome(shuffled, pictures, folder / "b")
    assert isinstance(made, str) == isinstance(other, str)
    if isinstance(made, str) or isinstance(other, str):
        return

    for split in SPLITS:
        assert (made.root / f"{split}.json").read_bytes() == (other.root / f"{split}.json").read_bytes()
    assert Counter((each.action, each.what) for each in made.repairs) == Counter(
        (each.action, each.what) for each in other.repairs
    )
    for mine, its in (
        (made.content.images, other.content.images),
        (made.content.annotations, other.content.annotations),
    ):
        assert (mine.given, mine.kept, mine.dropped) == (its.given, its.kept, its.dropped)
        # Of two entries that say the same the first is kept, and which of them needed a repair is its own affair.
        assert mine.repaired == its.repaired or mine.merged

    again = normalize(made.root, images=None, out=folder / "again")
    assert changed(again) == []
    for split in SPLITS:
        assert tables(again.root, split) == tables(made.root, split)
    promises(made)


def tables(root: Path, split: str) -> Any:
    """A split's file without the fields that tell of the source's own file."""
    content = json.loads((root / f"{split}.json").read_bytes())
    return content["annotations"], content["categories"], [
        {name: value for name, value in each.items() if name not in ("source_split", "source_file")}
        for each in content["images"]
    ]  # fmt: skip


def promises(made: Normalized) -> None:
    ids: list[int] = []
    for split in SPLITS:
        data = coco.load(made.root, split)
        box, size = data.defects.box, data.images.size[data.defects.image]
        assert np.isfinite(box).all()
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= size).all()
        assert (box[:, 2:] > box[:, :2]).all()
        assert (data.defects.area > 0).all()
        assert list(data.images.file) == sorted(data.images.file)
        assert all((made.root / file).is_file() for file in data.images.file)
        ids += data.images.id.tolist()
    assert ids == list(range(1, len(ids) + 1))
    for tally in (made.content.images, made.content.annotations):
        assert tally.given == tally.kept + tally.merged + tally.quarantined
        assert sum(tally.dropped.values()) == tally.merged + tally.quarantined
