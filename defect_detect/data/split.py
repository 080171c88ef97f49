"""Train, val and test of one file: by sampling unit, alike in classes, defect sizes and defect-free images.

Units of one stratum are lined up by a hash of their name, and the line is cut where the shares say. So the
answer hangs on content alone, and adding images moves hardly any of the others: a unit changes sides only
when it stands beside a cut. (Dealing units out one after the other, as iterative stratification does, is a
little more even, but one new image reshuffles most of the rest, and yesterday's test images get trained on.)
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from defect_detect.data.rows import distinct
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Floats, Ints

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
DEFECT_FREE = -1
FEWEST = 5
"""Strata of fewer units join a wider one: cut alone, they would mostly go to train."""


_OCTAVES = 512
"""More than the root of any float has."""


class Kind(NamedTuple):
    """What a defect is to the split: its label, and its size in octaves of the root of its area, px."""

    label: int
    octave: int


def kind(label: int, area: float) -> Kind:
    """The kind of a defect of `area` px^2."""
    return Kind(label, (math.frexp(max(area, 1.0))[1] - 1) // 2)


def kinds(images: int, image: Ints, label: Ints, area: Floats) -> list[frozenset[Kind]]:
    """The kinds of the defects on each of so many images; `image`, `label`, `area` (G,) of the defects, px^2."""
    octave = (np.frexp(np.maximum(area, 1.0))[1].astype(np.int64) - 1) // 2
    coded = distinct((image * (int(label.max(initial=0)) + 1) + label) * _OCTAVES + octave)
    at, code = np.divmod(coded, (int(label.max(initial=0)) + 1) * _OCTAVES)
    named = {each: Kind(*divmod(each, _OCTAVES)) for each in distinct(np.sort(code)).tolist()}
    ends = np.searchsorted(at, np.arange(images + 1)).tolist()
    listed = code.tolist()
    known: dict[tuple[int, ...], frozenset[Kind]] = {}
    found: list[frozenset[Kind]] = []
    for start, end in pairwise(ends):
        key = tuple(listed[start:end])
        some = known.get(key)
        if some is None:
            some = known[key] = frozenset(named[each] for each in key)
        found.append(some)
    return found


class Fold(NamedTuple):
    """The `number`-th of `of` folds (from 1) is test, the next one val, the others train."""

    number: int
    of: int


Units = Mapping[str, Sequence[frozenset[Kind]]]
"""For each sampling unit the kinds of defects on each of its images; none on a defect-free one."""


def assign(units: Units, *, seed: int = 0, fold: Fold | None = None) -> dict[str, str]:
    """The split of each sampling unit. The same units and seed give the same answer in any order.

    Raises:
        DatasetError: fewer units than splits or folds, or a fold that is none.
    """
    parts = fold.of if fold else len(SHARES)
    if fold and not (fold.of >= len(SHARES) and 1 <= fold.number <= fold.of):
        raise DatasetError(
            Fault(where="--fold", expected=f"I/K with K of at least {len(SHARES)} and I from 1 to K",
                  found=f"{fold.number}/{fold.of}")
        )  # fmt: skip
    if len(units) < parts:
        raise DatasetError(
            Fault(
                where="split", expected=f"at least {parts} images or groups to split", found=str(len(units)),
                fix="Give ready splits as train.json, val.json and test.json.",
            )
        )  # fmt: skip
    shares = _folds(fold) if fold else tuple(SHARES.items())[::-1]
    chosen: dict[str, str] = {}
    turn = {name: _turn(seed, name) for name in units}
    for names in _strata(units).values():
        line = sorted(names, key=turn.__getitem__)
        chosen |= _cut(line, [len(units[name]) for name in line], shares)
    # Folds are left as they are cut: each unit is tested in one of them.
    for members in [] if fold else [*_by_label(units), list(units)]:
        _spread(chosen, members, rank=lambda name: (len(units[name]), turn[name]))
    return {name: chosen[name] for name in units}


def _turn(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _folds(fold: Fold) -> tuple[tuple[str, float], ...]:
    """The folds from the line's beginning on; the cuts don't depend on which one is test."""
    names = ["train"] * fold.of
    names[fold.number % fold.of] = "val"
    names[fold.number - 1] = "test"
    return tuple((name, 1 / fold.of) for name in names)


def _strata(units: Units) -> dict[object, list[str]]:
    """The units by stratum: that of their rarest kind, or of a wider one where it has too few units."""
    found = [_kinds(images) for images in units.values()]
    by_label, by_kind = Counter[int](), Counter[Kind]()
    for kinds_, times in Counter(found).items():
        for kind_ in kinds_:
            by_kind[kind_] += times
        for label in {each.label for each in kinds_}:
            by_label[label] += times
    stratum_of: dict[frozenset[Kind], object] = {
        kinds_: min(kinds_, key=lambda each: (by_label[each.label], by_kind[each], each)) if kinds_ else DEFECT_FREE
        for kinds_ in set(found)
    }
    strata: dict[object, list[str]] = {}
    wider: dict[int, list[str]] = {}
    for name, kinds_ in zip(units, found, strict=True):
        strata.setdefault(stratum_of[kinds_], []).append(name)
    for stratum, names in list(strata.items()):
        if isinstance(stratum, Kind) and len(names) < FEWEST:
            wider.setdefault(stratum.label, []).extend(strata.pop(stratum))
    for label, names in wider.items():
        strata.setdefault(("label", label) if len(names) >= FEWEST else "rare", []).extend(names)
    return strata


def _kinds(images: Sequence[frozenset[Kind]]) -> frozenset[Kind]:
    return images[0] if len(images) == 1 else frozenset().union(*images)


def _cut(line: Sequence[str], weight: Sequence[int], shares: Sequence[tuple[str, float]]) -> dict[str, str]:
    """The split of each unit of a line: the one that its middle falls into, units weighing as many as their images."""
    total, passed = sum(weight), 0.0
    middle = {}
    for name, one in zip(line, weight, strict=True):
        middle[name] = (passed + one / 2) / total
        passed += one
    ends, end = [], 0.0
    for split, share in shares:
        end += share
        ends.append((end, split))
    last = ends[-1][1]
    return {name: next((split for end, split in ends if at < end), last) for name, at in middle.items()}


def _by_label(units: Units) -> list[list[str]]:
    """The units of each label, and of the defect-free images; the rarest come last, so that theirs is the last word."""
    members: dict[int, list[str]] = {}
    labels: dict[frozenset[Kind], frozenset[int]] = {}
    for name, images in units.items():
        for kinds_ in set(images):
            if kinds_ not in labels:
                labels[kinds_] = frozenset(kind_.label for kind_ in kinds_) or frozenset({DEFECT_FREE})
        for label in labels[images[0]].union(*(labels[kinds_] for kinds_ in images[1:])):
            members.setdefault(label, []).append(name)
    return [members[label] for label in sorted(members, key=lambda label: (-len(members[label]), label))]


def _spread(chosen: dict[str, str], members: Sequence[str], *, rank: Callable[[str], tuple[int, bytes]]) -> None:
    """Let no split go without, where there are as many units as splits: it takes the first from the one with most."""
    if len(members) < len(SHARES):
        return
    counts = Counter(map(chosen.__getitem__, members))
    if all(counts[split] for split in SHARES):
        return
    ranked = sorted(members, key=rank)
    for split in SHARES:
        counts = Counter(map(chosen.__getitem__, ranked))
        if not counts[split]:
            giver = max(SHARES, key=lambda each: counts[each])
            chosen[next(name for name in ranked if chosen[name] == giver)] = split
