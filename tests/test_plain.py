"""Files read as columns come out as read one by one, or are declined."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data import coco, packed, plain, predictions, splitfile
from defect_detect.data.entries import of_entries
from defect_detect.data.naming import Names
from defect_detect.errors import DatasetError
from tests import scenes

READERS = ["msgspec", "compiled"]


@pytest.fixture(params=READERS, autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test with either reader; pieces so short that files are cut often."""
    if request.param == "msgspec":
        monkeypatch.setattr(native, "compiled", None)
    elif native.compiled is None:
        pytest.skip("the compiled reader is not built")
    monkeypatch.setattr(packed, "_PIECE", 64)
    return request.param


ENTRY: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5}
numbers = st.floats(0, 1e15) | st.integers(0, 2**53 - 1) | st.floats(0, 1)
entries = st.lists(
    st.fixed_dictionaries({
        "image_id": st.integers(-(2**53) + 1, 2**53 - 1),
        "category_id": st.integers(0, 300),
        "bbox": st.lists(numbers, min_size=4, max_size=4),
        "score": st.floats(0, 1),
    }),
    max_size=8,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    entries, st.sampled_from([None, 0, 2]), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:")]), st.booleans()
)
def test_results_are_the_numbers_that_python_reads(
    content: list[dict[str, Any]], indent: int | None, separators: tuple[str, str], end: bool  # noqa: FBT001 - drawn
) -> None:  # fmt: skip
    raw = json.dumps(content, indent=indent, separators=separators).encode() + b"\n" * end

    said = plain.results(raw)

    assert said is not None
    read = json.loads(raw)
    assert said.image_id.tolist() == [entry["image_id"] for entry in read]
    assert said.category_id.tolist() == [entry["category_id"] for entry in read]
    assert said.xywh.tolist() == [entry["bbox"] for entry in read]
    assert said.score.tolist() == [entry["score"] for entry in read]
    assert said.xywh.shape == (len(read), 4)


ODD = {
    "an object": "{}",
    "a number": "5",
    "text": '"[]"',
    "nothing": "",
    "spaces": "  ",
    "cut off": '[{"image_id": 1',
    "cut in a list": json.dumps([ENTRY] * 5)[:-1],
    "two lists": "[][]",
    "a list in a list": json.dumps([[ENTRY]]),
    "a comma at the end": json.dumps([ENTRY])[:-1] + ",]",
    "a comma at the end of many": json.dumps([ENTRY] * 5)[:-1] + ", ]",
    "a comma at the start": "[," + json.dumps([ENTRY])[1:],
    "two commas": json.dumps([ENTRY, ENTRY]).replace("}, {", "},, {"),
    "no comma": json.dumps([ENTRY, ENTRY]).replace("}, {", "} {"),
    "a letter between": json.dumps([ENTRY, ENTRY]).replace("}, {", "}x, {"),
    "a byte order mark": "\ufeff" + json.dumps([ENTRY]),
    "a form feed": "\f" + json.dumps([ENTRY]),
    "a vertical tab between": json.dumps([ENTRY, ENTRY]).replace("}, {", "}\v, {"),
    "a key twice": json.dumps([ENTRY]).replace('"score"', '"score": 0.4, "score"'),
    "a key more": json.dumps([ENTRY | {"area": 5}]),
    "a file name": json.dumps([ENTRY | {"file_name": "a.png"}]),
    "a region": json.dumps([ENTRY | {"segmentation": [[1, 1, 2, 2, 3, 1]]}]),
    "a key less": json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]),
    "an id of text": json.dumps([ENTRY | {"image_id": "1"}]),
    "an id that is not whole": json.dumps([ENTRY | {"image_id": 1.5}]),
    "an id too large": json.dumps([ENTRY | {"image_id": 2**53}]),
    "an id far too large": json.dumps([ENTRY | {"image_id": 10**400}]),
    "a bool": json.dumps([ENTRY | {"category_id": True}]),
    "a null": json.dumps([ENTRY | {"score": None}]),
    "NaN": json.dumps([ENTRY | {"score": math.nan}]),
    "Infinity": json.dumps([ENTRY | {"score": math.inf}]),
    "a number past floats": json.dumps([ENTRY]).replace("3.5", "1e400"),
    "a number past what boxes hold": json.dumps([ENTRY]).replace("3.5", "1e16"),
    "a leading zero": json.dumps([ENTRY]).replace("3.5", "03.5"),
    "a plus": json.dumps([ENTRY]).replace("3.5", "+3.5"),
    "a bare point": json.dumps([ENTRY]).replace("3.5", "3."),
    "hexadecimal": json.dumps([ENTRY]).replace("3.5", "0x3"),
    "five sides": json.dumps([ENTRY | {"bbox": [1, 2, 3, 4, 5]}]),
    "three sides": json.dumps([ENTRY | {"bbox": [1, 2, 3]}]),
    "sides by name": json.dumps([ENTRY | {"bbox": {"x": 1}}]),
    "a NUL at the end": json.dumps([ENTRY]) + "\0",
}


@pytest.mark.parametrize("case", ODD)
def test_what_needs_a_word_is_declined(case: str) -> None:
    assert plain.results(ODD[case].encode()) is None


def test_a_whole_number_written_as_a_float_is_one() -> None:
    said = plain.results(json.dumps([ENTRY | {"image_id": 7.0}]).encode())

    assert said is not None
    assert said.image_id.tolist() == [7]


@settings(deadline=None, max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_damaged_results_are_declined_or_read_as_python_reads_them(random: random.Random, count: int) -> None:
    raw = bytearray(json.dumps([ENTRY | {"score": 0.25 + row / 100} for row in range(count)]).encode())
    raw[random.randrange(len(raw))] = random.choice(b'0123456789.,:-+eE{}[]" \nx')

    said = plain.results(bytes(raw))

    if said is not None:
        read = json.loads(raw)
        assert said.score.tolist() == [entry["score"] for entry in read]
        assert said.xywh.tolist() == [entry["bbox"] for entry in read]
        assert all(entry.keys() == ENTRY.keys() for entry in read)


def test_predictions_by_columns_equal_those_one_by_one(tmp_path: Path) -> None:
    truth, said = scenes.scene(3, images=9, said=120)
    predictions.write(tmp_path / "p.json", said, truth)
    raw = (tmp_path / "p.json").read_bytes()

    one = of_entries(tmp_path / "p.json", raw, Names(truth), "normalized")
    other = predictions.read(tmp_path / "p.json", truth, ids="normalized")

    for name in ("image", "label", "box", "score"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def split(folder: Path, *, masks: bool = False) -> bytes:
    truth, _ = scenes.scene(2, images=6, defects=30, masks=masks)
    names = [name.removeprefix("images/") for name in truth.images.file]
    origin = coco.Origin(sha256=["0" * 64] * len(names), source_split=["test"] * len(names), source_file=names)
    path = folder / f"{truth.split}.json"
    coco.write(dataclasses.replace(truth, root=folder), origin)
    return path.read_bytes()


def test_a_split_by_columns_equals_that_of_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = split(tmp_path)
    by_columns = splitfile.decoded(tmp_path / "test.json", raw)
    assert plain.truth(raw) is not None
    monkeypatch.setattr(plain, "truth", lambda _: None)

    by_records = splitfile.decoded(tmp_path / "test.json", raw)

    for name in ("image", "label", "box", "area", "crowd", "ignore", "id"):
        one, other = getattr(by_columns.defects, name), getattr(by_records.defects, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert by_columns.defects.source_id == by_records.defects.source_id
    assert by_columns.images.file == by_records.images.file
    assert by_columns.defects.region is by_records.defects.region is None


DAMAGE = {
    "cut off": lambda text: text[: len(text) // 2],
    "an unknown image": lambda text: text.replace('"image_id": 1,', '"image_id": 999,', 1),
    "an unknown class": lambda text: text.replace('"category_id": 1,', '"category_id": 99,', 1),
    "a text for a number": lambda text: text.replace('"iscrowd": 0', '"iscrowd": "0"', 1),
    "a bool for a number": lambda text: text.replace('"iscrowd": 0', '"iscrowd": false', 1),
    "a key less": lambda text: text.replace('"ignore": 0, ', "", 1),
    "attributes that are none": lambda text: text.replace('"attributes": {}}]}', '"attributes": 5}]}', 1),
    "annotations elsewhere": lambda text: text.replace('"annotations": [', '"more": {"annotations": [', 1) + "}",
    "no annotations": lambda text: text.replace('"annotations"', '"annotationz"', 1),
    "something after": lambda text: text + "x",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_split_is_refused(case: str, tmp_path: Path) -> None:
    text = split(tmp_path).decode()
    damaged = DAMAGE[case](text)
    assert damaged != text

    with pytest.raises(DatasetError, match=r"test\.json"):
        splitfile.decoded(tmp_path / "test.json", damaged.encode())


@pytest.mark.parametrize(
    ("old", "new", "read"),
    [
        ('"attributes": {}}]}', '"attributes": {"depth": 3}}]}', lambda d: d.attribute["depth"][-1] == 3),
        ('"source_id": 0,', '"source_id": "a0",', lambda d: "a0" in d.source_id),
    ],
)
def test_attributes_and_ids_of_text_are_read_as_objects(old: str, new: str, read: Any, tmp_path: Path) -> None:
    text = split(tmp_path).decode()
    assert old in text
    raw = text.replace(old, new).encode()

    assert plain.truth(raw) is None
    assert read(splitfile.decoded(tmp_path / "test.json", raw).defects)


def test_regions_are_read(tmp_path: Path) -> None:
    regions = splitfile.decoded(tmp_path / "test.json", split(tmp_path, masks=True)).defects.region

    assert regions is not None
    assert len(regions) == 30
