"""The split of one file."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect.data.split import DEFECT_FREE, SHARES, Fold, Kind, Units, assign, assigned, kind
from defect_detect.data.split import content as columns
from defect_detect.errors import DatasetError

kinds = st.builds(Kind, st.integers(0, 3), st.integers(2, 6))
units = st.dictionaries(
    st.text(min_size=1, max_size=6),
    st.lists(st.frozensets(kinds, max_size=2), min_size=1, max_size=4),
    min_size=3, max_size=30,
)  # fmt: skip


def of(label: int, octave: int = 3) -> list[frozenset[Kind]]:
    return [frozenset({Kind(label, octave)})]


@settings(deadline=None)
@given(content=units, seed=st.integers(0, 5))
def test_every_unit_has_one_split_and_no_split_is_empty(content: Units, seed: int) -> None:
    chosen = assign(content, seed=seed)
    assert chosen.keys() == content.keys()
    assert set(chosen.values()) == set(SHARES)


@settings(deadline=None)
@given(content=units, seed=st.integers(0, 5))
def test_the_order_of_the_units_does_not_matter(content: Units, seed: int) -> None:
    names = list(content)
    random.Random(seed).shuffle(names)  # noqa: S311 - a test's shuffle, not a secret
    assert assign({name: content[name] for name in names}, seed=seed) == assign(content, seed=seed)


@settings(deadline=None)
@given(content=units)
def test_the_rarest_stratum_of_three_units_or_more_reaches_every_split(content: Units) -> None:
    chosen = assign(content)
    members: dict[int, list[str]] = {}
    for name, images in content.items():
        labels = {one.label for each in images for one in each} | ({DEFECT_FREE} if not all(images) else set())
        for label in labels:
            members.setdefault(label, []).append(name)
    enough = [label for label, names in members.items() if len(names) >= 3]
    if enough:
        rarest = max(enough, key=lambda label: (-len(members[label]), label))
        assert {chosen[name] for name in members[rarest]} == set(SHARES)


def test_classes_and_defect_free_images_are_shared_out() -> None:
    content = {f"u{n}": of(n % 4) if n % 4 < 3 else [frozenset()] for n in range(200)}
    chosen = assign(content)
    for stratum in range(4):
        counts = Counter(chosen[f"u{n}"] for n in range(200) if n % 4 == stratum)
        assert counts == {"train": 30, "val": 10, "test": 10}


def test_sizes_are_shared_out() -> None:
    content = {f"u{n}": of(0, 2 if n < 20 else 6) for n in range(100)}
    chosen = assign(content)
    assert Counter(chosen[f"u{n}"] for n in range(20)) == {"train": 12, "val": 4, "test": 4}


def test_a_size_is_an_octave_of_the_root_of_the_area() -> None:
    assert [kind(1, area).octave for area in (0.0, 1.0, 63.9, 64.0, 255.9, 256.0)] == [0, 0, 2, 3, 3, 4]


def test_a_rare_class_reaches_every_split() -> None:
    chosen = assign({f"u{n}": of(1 if n < 5 else 0) for n in range(100)})
    assert Counter(chosen[f"u{n}"] for n in range(5)) == {"train": 3, "val": 1, "test": 1}
    chosen = assign({f"u{n}": of(1 if n < 3 else 0) for n in range(100)})
    assert Counter(chosen[f"u{n}"] for n in range(3)) == {"train": 1, "val": 1, "test": 1}


def test_classes_of_one_image_each_do_not_all_go_to_train() -> None:
    chosen = assign({f"u{n}": of(n) for n in range(50)})
    assert Counter(chosen.values()) == {"train": 30, "val": 10, "test": 10}


def test_big_units_weigh_as_many_as_their_images() -> None:
    content = {f"u{n}": of(0) * (9 if n % 10 == 0 else 1) for n in range(100)}
    chosen = assign(content)
    images = Counter[str]()
    for name, split in chosen.items():
        images[split] += len(content[name])
    total = sum(images.values())
    assert all(abs(images[split] / total - share) < 0.05 for split, share in SHARES.items())


@pytest.mark.parametrize("seed", range(5))
def test_adding_images_moves_hardly_any_other(seed: int) -> None:
    content = {f"u{n}": of(n % 3, 2 + n % 2) if n % 5 else [frozenset()] for n in range(550)}
    before = assign({name: content[name] for name in list(content)[:500]}, seed=seed)
    after = assign(content, seed=seed)
    assert sum(before[name] != after[name] for name in before) <= 0.05 * len(before)


def test_another_seed_is_another_split() -> None:
    content = {f"u{n}": of(0) for n in range(30)}
    assert assign(content, seed=0) != assign(content, seed=1)


def test_every_unit_is_tested_in_one_fold_and_validated_in_one() -> None:
    content = {f"u{n}": of(n % 2) for n in range(53)}
    folds = [assign(content, fold=Fold(number, 5)) for number in range(1, 6)]
    for name in content:
        assert Counter(fold[name] for fold in folds) == {"train": 3, "val": 1, "test": 1}
    assert all(9 <= Counter(fold.values())["test"] <= 12 for fold in folds)


@pytest.mark.parametrize("fold", [Fold(0, 5), Fold(6, 5), Fold(1, 2)])
def test_a_fold_that_is_none_is_refused(fold: Fold) -> None:
    with pytest.raises(DatasetError, match="I/K"):
        assign({f"u{n}": of(0) for n in range(9)}, fold=fold)


def test_too_few_units_are_refused() -> None:
    with pytest.raises(DatasetError, match="at least 3"):
        assign({"a": [frozenset()], "b": [frozenset()]})
    with pytest.raises(DatasetError, match="at least 5"):
        assign({name: [frozenset()] for name in "abcd"}, fold=Fold(1, 5))


@settings(deadline=None)
@given(content=units, seed=st.integers(0, 5), data=st.data())
def test_columns_and_units_one_by_one_give_one_answer(content: Units, seed: int, data: st.DataObject) -> None:
    images = [(at, kinds) for at, listed in enumerate(content.values()) for kinds in listed]
    images = data.draw(st.permutations(images))
    # A defect of each kind twice: how many there are doesn't count.
    defects = [(image, one) for image, (_, kinds) in enumerate(images) for one in kinds for _ in range(2)]
    of_columns = columns(
        list(content), np.array([unit for unit, _ in images]), np.array([image for image, _ in defects], np.int64),
        np.array([one.label for _, one in defects], np.int64), np.array([4.0**one.octave for _, one in defects]),
    )  # fmt: skip
    assert dict(zip(content, assigned(of_columns, seed=seed), strict=True)) == assign(content, seed=seed)


@pytest.mark.parametrize(("fold", "expected"), [(None, "e7351fe164fa7c03"), (Fold(2, 4), "bb6359aa605bbf11")])
def test_the_split_is_what_it_was_in_every_version_before(fold: Fold | None, expected: str) -> None:
    """What was test yesterday is not trained on today: these hashes may not change."""
    content = {
        f"part {n // 3 if n % 7 == 0 else n}": [
            frozenset(Kind(each % 5, 1 + (n * each) % 7) for each in range(n % 11, n % 11 + (n + at) % 4))
            for at in range(1 + n % 3)
        ]
        for n in range(400)
    }
    lines = "".join(f"{name}: {split}\n" for name, split in sorted(assign(content, seed=3, fold=fold).items()))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == expected
