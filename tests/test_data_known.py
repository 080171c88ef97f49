"""What is remembered of picture files."""

from __future__ import annotations

from pathlib import Path

import pytest

from defect_detect.data import known
from defect_detect.data.decoding import Facts


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """3,000 files, stamped and kept, each with a width of its own."""
    monkeypatch.setenv("DEFECT_DETECT_CACHE", str(tmp_path / "cache"))
    stamps = {f"/data/{at:05d}\udc80.png": f"1:{at}" for at in range(3000)}
    known.remember(stamps, {path: Facts(width=at) for at, path in enumerate(stamps)})
    return stamps


@pytest.mark.parametrize("step", [1, 2, 700, 2999])
def test_as_many_are_recalled_as_were_kept_however_many_lie_between(remembered: dict[str, str], step: int) -> None:
    asked = dict(list(remembered.items())[::step])
    found = known.recall(asked)
    assert {path: facts.width for path, facts in found.items()} == {path: int(asked[path][2:]) for path in asked}


def test_another_stamp_or_none_is_not_recalled(remembered: dict[str, str]) -> None:
    first, second, third, *_ = remembered
    known.remember({third: ""}, {third: Facts(width=9)})
    assert list(known.recall({first: remembered[first], second: "1:0", third: "", "/data/x": "1:1"})) == [first]
    assert known.recall({}) == {}


def test_a_file_is_where_its_link_leads(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    (tmp_path / "b.png").symlink_to("a.png")
    assert known.real(str(path)) == known.real(str(tmp_path / "b.png")) == (str(path), known.stamp(str(path)))
    (tmp_path / "c.png").symlink_to("nowhere.png")
    assert known.real(str(tmp_path / "c.png")) == (str(tmp_path / "nowhere.png"), "")
    assert known.real(str(tmp_path / "none.png")) == (str(tmp_path / "none.png"), "")
