"""Annotations judged by columns: the same bytes come out as when each is read by itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data import rows, source
from defect_detect.errors import DatasetError
from tests import exports
from tests.exports import Content, run

DIRT = {
    "id as text": lambda entry: entry.update(id=str(entry["id"])),
    "no area": lambda entry: entry.pop("area"),
    "no flag": lambda entry: entry.pop("iscrowd"),
    "past the edge": lambda entry: entry.update(bbox=[50, 30, 20, 20], segmentation=[]),
    "unknown image": lambda entry: entry.update(image_id=99),
    "unknown class": lambda entry: entry.update(category_id=99),
    "id 0": lambda entry: entry.update(id=0),
    "id again": lambda entry: entry.update(id=1),
    "negative": lambda entry: entry.update(bbox=[5, 5, -3, 4]),
    "fields": lambda entry: entry.update(attributes={"occluded": True}, line=3),
    "large area": lambda entry: entry.update(area=10**6),
    "minus zero": lambda entry: entry["bbox"].__setitem__(0, -0.0),
    "crosses itself": lambda entry: entry.update(segmentation=[[6, 6, 26, 16, 26, 6, 6, 16]], bbox=[6, 6, 20, 10]),
    "elsewhere": lambda entry: entry.update(bbox=[0, 30, 3, 3]),
    "run lengths": lambda entry: entry.update(segmentation={"size": [40, 60], "counts": [246, 10, 2144]}),
    "twin": lambda entry: entry.update(image_id=2, category_id=1, bbox=[9, 9, 9, 9], segmentation=[], area=81),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("pictures") / "images")


def result(content: Content, pictures: Path, folder: Path) -> object:
    """All that normalization writes but the pictures; or what it says."""
    try:
        made = run(content, pictures, folder)
    except DatasetError as refused:
        return str(refused), getattr(refused, "repairs", ())
    return {path.name: path.read_bytes() for path in made.root.glob("*.json*")}


@pytest.mark.skipif(native.compiled is None, reason="there is one way only without the compiled reader")
@settings(max_examples=40, deadline=None)
@given(
    dirt=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(sorted(DIRT))), max_size=6),
    boxes=st.booleans(),
    order=st.permutations(range(10)),
)
def test_by_columns_and_one_by_one_the_same_bytes(tmp_path_factory, pictures, dirt, boxes, order):
    content = exports.boxes_only() if boxes else exports.clean()
    for at, name in dirt:
        if "id" in content["annotations"][at]:
            try:
                DIRT[name](content["annotations"][at])
            except KeyError:  # it is gone already
                continue
    content["annotations"][:10] = [content["annotations"][at] for at in order]
    folder = tmp_path_factory.mktemp("both")
    by_columns = result(content, pictures, folder / "columns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "scan", lambda *_: None)
        one_by_one = result(copy.deepcopy(content), pictures, folder / "one")
    assert by_columns == one_by_one


@pytest.mark.skipif(native.compiled is None, reason="nothing is plain without the compiled reader")
def test_clean_annotations_are_plain_and_deviating_ones_are_not(tmp_path):
    from defect_detect.data.repairs import Log

    content = exports.clean()
    content["annotations"][3]["id"] = "4"
    content["annotations"][5] = None
    (tmp_path / "a.json").write_text(json.dumps(content))
    read = source.read("", tmp_path / "a.json", Log())
    assert read is not None
    listed = read.data["annotations"]
    assert isinstance(listed, rows.Rows)
    assert [at for at, _ in listed.odd] == [3, 5]
    assert list(listed) == content["annotations"]
    assert listed.plain.number.tolist() == [0, 1, 2, 4, 6, 7, 8, 9]
    assert np.array_equal(listed.plain.xywh[0], content["annotations"][0]["bbox"])


@pytest.mark.parametrize(
    "text",
    [
        '{"annotations": [{"id": 1, "id": 2}]}',
        '{"annotations": [{"id": NaN}]}',
        '{"annotations": [], "annotations": []}',
        '{"annotations": [1,]}',
        '\ufeff{"annotations": []}',
        '[{"annotations": []}]',
    ],
)
def test_what_is_no_plain_json_is_read_whole(text):
    assert rows.scan(text.encode(), "annotations") is None
