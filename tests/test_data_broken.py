"""Broken, huge and not quite JSON: said as Python's parser says it, without building what isn't needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data import broken, marks, parsing, rows, source, streaming
from defect_detect.data.repairs import Log
from defect_detect.errors import DatasetError

text = st.sampled_from(["", "a", 'é"x,[', "\\{", "\U0001f600b", "NaN"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from([-2.5, 1e9, float("nan"), -float("inf")]) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20,
)  # fmt: skip


def complaint(spoilt: str) -> str | None:
    """Place and words, by Python's own parser of the whole; None where it has none."""
    try:
        json.loads(spoilt)
    except json.JSONDecodeError as problem:
        return f"x:{problem.lineno}:{problem.colno}: expected JSON, found " + broken.complaint(
            spoilt, problem.pos, problem.msg
        )
    return None


@settings(deadline=None, max_examples=200)
@given(
    value=values, at=st.integers(0, 200), cut=st.integers(0, 2), form=st.sampled_from([{}, {"ensure_ascii": False},
    {"indent": 1}]), put=st.sampled_from(["", *'[]{},:"\\1xN\n e.', "NaN", ",,", "\x01"]),
)  # fmt: skip
def test_a_break_is_told_as_pythons_parser_tells_it(
    value: object, at: int, cut: int, form: dict[str, Any], put: str
) -> None:
    whole = json.dumps(value, **form)
    at = min(at, len(whole))
    spoilt = whole[:at] + put + whole[at + cut :]
    assume(spoilt.strip())
    said = complaint(spoilt)
    assume(said is not None)
    with pytest.raises(DatasetError) as caught:
        parsing.parse(spoilt.encode(), where="x", error=DatasetError)
    assert str(caught.value).startswith(f"{said}. ")


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
@settings(deadline=None, max_examples=40)
@given(listed=st.lists(values, max_size=5), indent=st.sampled_from([None, 1]))
def test_entries_come_the_same_piece_by_piece(piece: int, listed: list[object], indent: int | None) -> None:
    raw = json.dumps(listed, indent=indent, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "_PIECE", piece)
        found = list(streaming.entries(raw, where="x", error=DatasetError))
    assert json.dumps(found) == json.dumps(listed)
    assert streaming.is_list(parsing.BOM + b" \n" + raw)


@settings(deadline=None)
@given(content=st.dictionaries(text, values, max_size=5))
def test_keys_are_those_of_the_outermost_object(content: dict[str, object]) -> None:
    for raw in (json.dumps(content), json.dumps(content, indent=1, ensure_ascii=False)):
        assert list(streaming.keys(raw.encode())) == list(content)
    assert list(streaming.keys(json.dumps([content]).encode())) == []


def test_no_letter_is_cut_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_PIECE", 5)
    raw = '["aé\U0001f600€b\U0001f600"]'.encode()
    assert parsing.parse(raw, where="x", error=DatasetError) == json.loads(raw)
    for at in range(2, len(raw) - 2):
        spoilt = raw[:at] + b"\xff" + raw[at:]
        with pytest.raises(UnicodeDecodeError) as theirs:
            spoilt.decode()
        with pytest.raises(DatasetError, match=f"offset {theirs.value.start} "):
            parsing.check(spoilt, where="x", error=DatasetError)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a":[' + b"{}," * 500_000 + b"{}]}", "found 500,002 objects"),
        (b"[[" + b"[]," * 500_000 + b"[]]]", "500,003 lists"),
        (b"{" + b",".join(b'"%07d":0' % at for at in range(120_000)) + b"}", "120,000 keys in 1 objects"),
    ],
)
def test_what_would_fill_the_memory_is_not_built(raw: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        parsing.parse(raw, where="x", error=DatasetError)


GOOD = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}


def listed(path: Path, annotations: Sequence[object]) -> str:
    images = [{"id": 1, "file_name": "some_long_name_of_a_picture.png", "width": 9, "height": 9}]
    raw = json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "scratch"}]})
    path.write_text(raw)
    return raw


@pytest.mark.skipif(native.compiled is None, reason="columns need the compiled reader")
def test_columns_are_read_past_literals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries that have one are odd, the others are columns; all are what they are without columns."""
    strange = [{**GOOD, "bbox": [float("nan"), 1, 2, 3]}, {**GOOD, "area": -float("inf")}, {**GOOD, "area": 1e999}]
    listed(path := tmp_path / "a.json", [GOOD, *strange, GOOD])
    quick = source.read("", path, log := Log())
    assert quick is not None
    listed_ = quick.data["annotations"]
    assert listed_.plain.number.tolist() == [0, 4]
    assert [at for at, _ in listed_.odd] == [1, 2, 3]
    monkeypatch.setattr(native, "compiled", None)
    slow = source.read("", path, second := Log())
    assert slow is not None
    assert json.dumps(list(listed_)) == json.dumps(list(slow.data["annotations"]))
    assert log.repairs == second.repairs
    assert {repair.what.split()[0] for repair in log.repairs} == {"NaN", "Infinity", "-Infinity"}


@pytest.mark.parametrize(
    ("before", "after"),
    [('"iscrowd": 0', "NaN: 0"), ('"iscrowd": 0', '"a": "\\NaN, "b": "'), ('"iscrowd": 0', '"a": 1NaN'),
     ('"iscrowd": 0', '"a": -NaN'), ('"iscrowd": 0', '"a": NaNNaN'), ('"iscrowd": 0', '"a": "\\-Infinity, 1')],
)  # fmt: skip
def test_literals_where_none_can_be_are_told_with_their_place(before: str, after: str, tmp_path: Path) -> None:
    raw = listed(path := tmp_path / "a.json", [GOOD, GOOD]).replace(before, after, 1)
    path.write_text(raw)
    assert source.read("", path, log := Log()) is None
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(raw)
    assert str(log.faults[0]).startswith(f"{path}:{caught.value.lineno}:{caught.value.colno}: ")


def test_literals_in_names_stay_names(tmp_path: Path) -> None:
    listed(path := tmp_path / "a.json", [{**GOOD, "note": "NaN, or -Infinity: \\NaN"}])
    read = source.read("", path, log := Log())
    assert read is not None
    assert read.data["annotations"][0]["note"] == "NaN, or -Infinity: \\NaN"
    assert not log.repairs


@pytest.mark.skipif(native.compiled is None, reason="of the compiled reader")
@pytest.mark.parametrize("odd", [(), (8,), (8, 1200, 4000)])
def test_many_rows_without_regions_leave_the_memory_beside_their_columns_alone(odd: tuple[int, ...]) -> None:
    """Rows read by their pattern didn't say that they have no region, so that the column ended past its room."""
    entries = [{**GOOD, "id": at + 1, "bbox": [1, 2, 3, "4"]} if at in odd else {**GOOD, "id": at + 1}
               for at in range(5000)]  # fmt: skip
    raw = json.dumps({"annotations": entries}, separators=(",", ":")).encode()
    found = rows.scan(rows.Text(raw), "annotations")
    assert found is not None
    assert [at for at, _ in found[0].odd] == list(odd)
    assert list(found[0]) == entries
    plain = found[0].plain
    assert not plain.kind.any()
    assert len(plain.kind) == len(plain.id) == len(entries) - len(odd)
