"""Which names of pictures need no second look."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.data.paths import simple

PART = r"[0-9A-Za-z_-](?:[0-9A-Za-z_.()+=@, -]*[0-9A-Za-z_)-])?"
SIMPLE = re.compile(rf"(?:{PART}/)*{PART}")
names = st.text(st.sampled_from("a9_-.()+=@, /\\%\né\x00")) | st.text()


@settings(deadline=None)
@given(listed=st.lists(names, max_size=5))
def test_names_are_simple_where_each_is(listed: list[str]) -> None:
    assert simple(listed) == all(SIMPLE.fullmatch(name) is not None and len(name) <= 255 for name in listed)


@pytest.mark.parametrize("name", ["a" * 255, "a.png", "-", "a(1).png", "b/c d.jpg", "9/_/x"])
def test_what_exports_usually_hold_is_simple(name: str) -> None:
    assert SIMPLE.fullmatch(name)
    assert simple([name, "b"])


@pytest.mark.parametrize(
    "name", ["", "a" * 256, "/a", "a/", "a//b", ".a", "a.", "a ", ")a", "a/.b", "a/b./c", "..", "ä"]
)
def test_what_may_mean_another_is_not(name: str) -> None:
    assert not simple(["a", name, "b"])
