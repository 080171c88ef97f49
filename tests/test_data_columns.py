"""Annotations judged by columns: the same bytes come out as when each is read by itself."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data import image_rows, rows, source
from defect_detect.data.normalize import normalize
from defect_detect.data.repairs import Log
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
    assert rows.scan(rows.Text(text.encode()), "annotations") is None


# ---- images --------------------------------------------------------------------------------------------------------

IMAGE_DIRT = {
    "id as text": lambda entry: entry.update(id=str(entry["id"])),
    "id 0": lambda entry: entry.update(id=0),
    "id again": lambda entry: entry.update(id=1),
    "a field more": lambda entry: entry.update(line="A"),
    "no name": lambda entry: entry.pop("file_name"),
    "a number for a name": lambda entry: entry.update(file_name=7),
    "blank": lambda entry: entry.update(file_name="  "),
    "other case": lambda entry: entry.update(file_name=str(entry.get("file_name")).upper()),
    "not there": lambda entry: entry.update(file_name="gone.png"),
    "leads out": lambda entry: entry.update(file_name="../p1.png"),
    "dot": lambda entry: entry.update(file_name=f"./{entry.get('file_name')}"),
    "escapes": lambda entry: entry.update(file_name="\u00e4\n.png"),
    "another's": lambda entry: entry.update(file_name="p2.png"),
    "no width": lambda entry: entry.pop("width", None),
    "width 0": lambda entry: entry.update(width=0),
    "wrong size": lambda entry: entry.update(width=50, height=30),
    "width as text": lambda entry: entry.update(width="60"),
}


@pytest.mark.skipif(native.compiled is None, reason="there is one way only without the compiled reader")
@settings(max_examples=40, deadline=None)
@given(
    dirt=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(IMAGE_DIRT))), max_size=2),
    ready=st.booleans(), group=st.sampled_from([None, "line"]),
)  # fmt: skip
def test_images_by_columns_and_one_by_one_the_same_bytes(tmp_path_factory, pictures, dirt, ready, group):
    content = exports.clean()
    for entry in content["images"]:
        for name in set(entry) - {"id", "file_name", "width", "height"}:
            del entry[name]
    for at, name in dirt:
        with contextlib.suppress(KeyError):  # it is gone already
            IMAGE_DIRT[name](content["images"][at % len(content["images"])])
    folder = tmp_path_factory.mktemp("both")
    by_columns = written(content, pictures, folder / "columns", ready=ready, group=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_rows, "scan", lambda *_: None)
        one_by_one = written(content, pictures, folder / "one", ready=ready, group=group)
    assert by_columns == one_by_one


def written(content: Content, pictures: Path, folder: Path, *, ready: bool, group: str | None) -> object:
    """As `result`; `ready`: the same file as three splits, which says of each picture that it leaks."""
    folder.mkdir()
    for split in ("train", "val", "test") if ready else ("all",):
        (folder / f"{split}.json").write_text(json.dumps(content))
    try:
        made = normalize(
            folder if ready else folder / "all.json", images=pictures, out=folder / "out", group=group, seed=1
        )
    except DatasetError as refused:
        return str(refused).replace(str(folder), ""), getattr(refused, "repairs", ())
    return {path.name: path.read_bytes() for path in made.root.glob("*.json*")}


@pytest.mark.skipif(native.compiled is None, reason="nothing is plain without the compiled reader")
def test_clean_images_are_columns(tmp_path):
    raw = json.dumps({"images": [{"id": 3, "file_name": '\u00e4 "b".png', "width": 6, "height": 4}]}).encode()
    found = image_rows.scan(raw)
    assert found is not None
    listed, start, end = found
    assert json.loads(raw[start:end]) == list(listed)
    columns = listed.columns
    assert (columns.id.tolist(), columns.width.tolist(), columns.height.tolist()) == ([3], [6], [4])
    assert columns.name == ['\u00e4 "b".png']


# ---- text that was let go ------------------------------------------------------------------------------------------


@pytest.mark.skipif(native.compiled is None, reason="nothing is plain without the compiled reader")
def test_the_text_of_a_clean_file_is_let_go_and_read_again_only_if_it_is_the_same(tmp_path):
    content = exports.clean()
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content))
    read = source.read("", file, Log())
    assert read is not None
    assert list(read.data["annotations"]) == content["annotations"]
    again = source.read("", file, Log())
    assert again is not None
    file.write_text(json.dumps(exports.boxes_only()))
    with pytest.raises(DatasetError, match="changed meanwhile"):
        list(again.data["annotations"])
