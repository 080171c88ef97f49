"""JSON of strangers: bounded, never a crash, and every complaint says where."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.data import parsing
from defect_detect.data.kinds import foreign
from defect_detect.errors import DatasetError, InputError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=20,
)  # fmt: skip


def levels(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


@settings(deadline=None)
@given(value=values)
def test_depth_and_value_are_the_parsers_own(value: object) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert parsing.depth(raw.encode("utf-8", "surrogatepass")) == levels(value)
    assert parsing.parse(json.dumps(value).encode(), where="x", error=InputError) == value


@settings(deadline=None)
@given(raw=st.binary(max_size=60) | st.text('[]{}",:\\ 1eE.-+tnulNaIfi\x00', max_size=40).map(str.encode))
def test_any_bytes_are_a_value_or_a_complaint(raw: bytes) -> None:
    with contextlib.suppress(InputError):
        parsing.parse(raw, where="x", error=InputError)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a": [1,\n2,]}', "x:2:3: expected JSON, found a comma before a closing bracket"),
        (b'{"a": [1,\n', "x:2:1: expected JSON, found the end of the file: it is cut off"),
        (b'{"a": "b', "it is cut off"),
        (b'{"a": 1} {', "more after the end"),
        (b"{'a': 1}", "property name"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"\x00\x05\x16\x07\x00", "AppleDouble"),
        (b"PK\x03\x04", "a zip archive"),
        (b"<html>", "HTML or XML"),
        (b"\xef\xbb\xbf\n\xff", "offset 4 (line 2)"),
        (b"[" * 101 + b"]" * 101, "found 101 levels"),
        (b'{"a":' * 300_000, "found 300,000 levels"),
        (b"[" + b"1" * 5000 + b"]", "expected JSON"),
        (b" \n ", "an empty file"),
    ],
)
def test_complaints(raw: bytes, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parsing.parse(raw, where="x", error=DatasetError)
    assert said in str(caught.value)


def test_brackets_in_strings_are_no_levels() -> None:
    assert parsing.depth(b'{"a\\"[[[": "[[[\\\\", "b": ["\\\\\\"{{"]}') == 2


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(parsing.MAX_BYTES + 1)

    def unread(self: Path) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr(Path, "read_bytes", unread)
    with pytest.raises(DatasetError, match=r"at most 2,048 MiB, found 2,048 MiB"):
        parsing.read_json(path, error=DatasetError)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DatasetError, match="no regular file"):
        parsing.read_json(tmp_path / "pipe.json", error=DatasetError)


_LISTS: dict[str, object] = {"images": [{"id": 1}], "annotations": [], "categories": []}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**_LISTS, "annotations": [{"caption": "x"}]}, "captions"),
        ({**_LISTS, "annotations": [{"segments_info": [], "bbox": [1, 2, 3, 4]}]}, "panoptic"),
        ({**_LISTS, "annotations": [{"keypoints": [1, 2, 2], "bbox": [], "segmentation": []}]}, "keypoints without"),
        ({**_LISTS, "annotations": [{"category_id": 1}]}, "labels of whole images"),
        (_LISTS, "image_info"),
        ({"images": [], "categories": []}, "image_info"),
        ({**_LISTS, "images": {}}, "images is a dict"),
        ([{"image_id": 1, "score": 1, "bbox": []}], "detection results"),
        ([{"image_id": 1, "caption": "x"}], "caption results"),
        ([{"image_id": 1, "keypoints": [], "score": 1}], "keypoints results"),
        ([{"data": {}, "annotations": []}], "Label Studio"),
        ([{"image": "a.jpg", "annotations": []}], "CreateML"),
        ({"shapes": [], "imagePath": "a.jpg"}, "LabelMe"),
        ({"a.jpg": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator"),
        ({"type": "FeatureCollection"}, "GeoJSON"),
        ({"objects": [], "size": {}}, "Supervisely"),
        ({"splits": {}, "decode_policy": ""}, "a normalized dataset"),
        ({}, "no images and no annotations and no categories"),
        ("text", "a JSON str"),
    ],
)  # fmt: skip
def test_what_is_not_instances_is_named(data: object, said: str) -> None:
    found = foreign(data)
    assert found is not None
    assert said in found[0]


@pytest.mark.parametrize(
    "annotations",
    [
        [],
        [{"bbox": [1, 2, 3, 4]}],
        [{"bbox": [], "segmentation": []}],
        [{"segmentation": [[1]], "keypoints": [1]}],
        [5],
    ],
)
def test_what_may_be_instances_passes(annotations: list[object]) -> None:
    assert foreign({**_LISTS, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}) is None
