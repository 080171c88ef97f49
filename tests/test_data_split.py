"""The split of one file."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.data.split import SHARES, assign
from defect_detect.errors import DatasetError

units = st.dictionaries(
    st.text(min_size=1, max_size=6),
    st.lists(st.frozensets(st.integers(0, 3), max_size=2), min_size=1, max_size=4),
    min_size=3, max_size=30,
)  # fmt: skip


@settings(deadline=None)
@given(content=units, seed=st.integers(0, 5))
def test_every_unit_has_one_split_and_no_split_is_empty(content: dict[str, list[frozenset[int]]], seed: int) -> None:
    chosen = assign(content, seed=seed)
    assert chosen.keys() == content.keys()
    assert set(chosen.values()) == set(SHARES)


@settings(deadline=None)
@given(content=units, seed=st.integers(0, 5))
def test_the_order_of_the_units_does_not_matter(content: dict[str, list[frozenset[int]]], seed: int) -> None:
    names = list(content)
    random.Random(seed).shuffle(names)  # noqa: S311 - a test's shuffle, not a secret
    assert assign({name: content[name] for name in names}, seed=seed) == assign(content, seed=seed)


def test_classes_and_defect_free_images_are_shared_out() -> None:
    content = {f"u{n}": [frozenset({n % 4} - {3})] for n in range(200)}
    chosen = assign(content)
    for stratum in range(4):
        counts = Counter(chosen[f"u{n}"] for n in range(200) if n % 4 == stratum)
        assert counts == {"train": 30, "val": 10, "test": 10}


def test_a_rare_class_reaches_every_split() -> None:
    content = {f"u{n}": [frozenset({1} if n < 5 else {0})] for n in range(100)}
    chosen = assign(content)
    assert Counter(chosen[f"u{n}"] for n in range(5)) == {"train": 3, "val": 1, "test": 1}


def test_classes_of_one_image_each_do_not_all_go_to_train() -> None:
    chosen = assign({f"u{n}": [frozenset({n})] for n in range(50)})
    assert Counter(chosen.values()) == {"train": 30, "val": 10, "test": 10}


def test_another_seed_is_another_split() -> None:
    content = {f"u{n}": [frozenset({0})] for n in range(30)}
    assert assign(content, seed=0) != assign(content, seed=1)


def test_too_few_units_are_refused() -> None:
    with pytest.raises(DatasetError, match="at least 3"):
        assign({"a": [frozenset()], "b": [frozenset()]})
