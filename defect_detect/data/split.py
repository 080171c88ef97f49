"""Train, val and test of one file: by sampling unit, alike in classes, defect sizes and defect-free images.

Units of one stratum are lined up by a hash of their name, and the line is cut where the shares say. So the
answer hangs on content alone, and adding images moves hardly any of the others: a unit changes sides only
when it stands beside a cut. (Dealing units out one after the other, as iterative stratification does, is a
little more even, but one new image reshuffles most of the rest, and yesterday's test images get trained on.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Bools, Floats, Ints

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
DEFECT_FREE = -1
FEWEST = 5
"""Strata of fewer units join a wider one: cut alone, they would mostly go to train."""

_NAMES = tuple(SHARES)
_OCTAVES = 512
"""More than the root of any float has."""


class Kind(NamedTuple):
    """What a defect is to the split: its label, and its size in octaves of the root of its area, px."""

    label: int
    octave: int


def kind(label: int, area: float) -> Kind:
    """The kind of a defect of `area` px^2."""
    return Kind(label, (math.frexp(max(area, 1.0))[1] - 1) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is to be split: U sampling units and what they show.

    name    U strings, each once
    images  (U,) int64, how many each has
    free    (U,) bool, one of its images is defect-free
    unit    (P,) int64 ascending, with `kind` (P,) int64, the place in `kinds`: what is on its images, each once
    kinds   ascending
    """

    name: Sequence[str]
    images: Ints
    free: Bools
    unit: Ints
    kind: Ints
    kinds: Sequence[Kind]


def content(name: Sequence[str], unit: Ints, image: Ints, label: Ints, area: Floats) -> Content:
    """Of the units of these names.

    `unit` (N,) int64 of each image; `image`, `label`, `area` (G,) of the defects, px^2.
    """
    there = np.zeros(len(unit), np.bool_)
    there[image] = True
    free = np.zeros(len(name), np.bool_)
    free[unit[~there]] = True
    coded = label * _OCTAVES + (np.frexp(np.maximum(area, 1.0))[1].astype(np.int64) - 1) // 2
    uses = np.bincount(coded)
    codes = np.flatnonzero(uses)
    place = np.zeros(len(uses), np.int64)
    place[codes] = np.arange(len(codes))
    pairs = np.sort(unit[image] * max(len(codes), 1) + place[coded])
    of, kind_ = np.divmod(pairs[_first(pairs)], max(len(codes), 1))
    return Content(
        name=name, images=np.bincount(unit, minlength=len(name)), free=free, unit=of, kind=kind_,
        kinds=[Kind(*divmod(code, _OCTAVES)) for code in codes.tolist()],
    )  # fmt: skip


def _first(line: Ints) -> Bools:
    """(P,) bool: where another value begins than the one before."""
    first = np.ones(len(line), np.bool_)
    first[1:] = line[1:] != line[:-1]
    return first


class Fold(NamedTuple):
    """The `number`-th of `of` folds (from 1) is test, the next one val, the others train."""

    number: int
    of: int


Units = Mapping[str, Sequence[frozenset[Kind]]]
"""For each sampling unit the kinds of defects on each of its images; none on a defect-free one."""


def assign(units: Units, *, seed: int = 0, fold: Fold | None = None) -> dict[str, str]:
    """`assigned` of units that are given one by one, by name."""
    kinds = sorted({kind_ for images in units.values() for kinds in images for kind_ in kinds})
    place = {kind_: at for at, kind_ in enumerate(kinds)}
    pairs = [
        (at, each)
        for at, images in enumerate(units.values())
        for each in sorted({place[kind_] for kinds in images for kind_ in kinds})
    ]
    unit, kind_ = np.array(pairs, np.int64).reshape(-1, 2).T
    what = Content(
        name=list(units), images=np.array([len(images) for images in units.values()], np.int64),
        free=np.array([not all(images) for images in units.values()], np.bool_), unit=unit, kind=kind_, kinds=kinds,
    )  # fmt: skip
    return dict(zip(units, assigned(what, seed=seed, fold=fold), strict=True))


def assigned(units: Content, *, seed: int = 0, fold: Fold | None = None) -> list[str]:
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
    if len(units.name) < parts:
        raise DatasetError(
            Fault(
                where="split", expected=f"at least {parts} images or groups to split", found=str(len(units.name)),
                fix="Give ready splits as train.json, val.json and test.json.",
            )
        )  # fmt: skip
    turn = _turns(seed, units.name)
    chosen = _cut(units, turn, _folds(fold) if fold else tuple(SHARES.items())[::-1])
    if not fold:
        # Folds are left as they are cut: each unit is tested in one of them.
        _spread_all(chosen, units, turn)
    return [_NAMES[split] for split in chosen.tolist()]


def _turns(seed: int, names: Sequence[str]) -> Ints:
    """(U,) int64: each one's place in the line of all, which is by SHA-256."""
    before = f"{seed}:"
    digests = b"".join([hashlib.sha256((before + name).encode()).digest() for name in names])
    word = np.frombuffer(digests, ">u8").reshape(-1, 4).astype(np.uint64)
    order = np.argsort(word[:, 0])
    if (word[order[1:], 0] == word[order[:-1], 0]).any():
        order = np.lexsort(word.T[::-1])
    turn = np.empty(len(names), np.int64)
    turn[order] = np.arange(len(names))
    return turn


def _folds(fold: Fold) -> tuple[tuple[str, float], ...]:
    """The folds from the line's beginning on; the cuts don't depend on which one is test."""
    names = ["train"] * fold.of
    names[fold.number % fold.of] = "val"
    names[fold.number - 1] = "test"
    return tuple((name, 1 / fold.of) for name in names)


def _strata(units: Content) -> Ints:
    """(U,) int64, a number for each unit's stratum: that of its rarest kind, or a wider one where that has too few."""
    count = len(units.kinds)
    label = np.array([kind_.label for kind_ in units.kinds], np.int64)
    # A number for each stratum: the kinds, the labels, the rare and the defect-free.
    labels, of_kind = np.unique(label, return_inverse=True)
    rare, nothing = count + len(labels), count + len(labels) + 1
    _, with_label = _labels(units, of_kind)
    by_label, by_kind = np.bincount(with_label, minlength=len(labels)), np.bincount(units.kind, minlength=count)
    ranked = np.lexsort((np.arange(count), by_kind, by_label[of_kind]))
    rank = np.empty(count, np.int64)
    rank[ranked] = np.arange(count)
    found = np.full(len(units.name), nothing)
    starts = np.flatnonzero(_first(units.unit))
    if len(starts):
        found[units.unit[starts]] = ranked[np.minimum.reduceat(rank[units.kind], starts)]
    size = np.bincount(found, minlength=nothing + 1)[:count]
    few = size < FEWEST
    wider = np.bincount(of_kind[few], weights=size[few], minlength=len(labels))
    instead = np.arange(nothing + 1)
    instead[:count][few] = np.where(wider[of_kind] >= FEWEST, count + of_kind, rare)[few]
    stratum: Ints = instead[found]
    return stratum


def _labels(units: Content, of_kind: Ints) -> tuple[Ints, Ints]:
    """The units and the labels that are on their images, each pair once; `of_kind`: a number of each kind's label."""
    label = of_kind[units.kind]
    # Kinds ascend, so those of one label stand together.
    first = _first(units.unit) | _first(label)
    return units.unit[first], label[first]


def _cut(units: Content, turn: Ints, shares: Sequence[tuple[str, float]]) -> Ints:
    """(U,) int64, the place in _NAMES of each unit's split: the one that its middle falls into in its stratum's line.

    Units weigh as many as their images.
    """
    stratum = _strata(units)
    order = np.lexsort((turn, stratum))
    weight, line = units.images[order], stratum[order]
    passed = np.cumsum(weight) - weight
    first = _first(line)
    own, starts = np.cumsum(first) - 1, np.flatnonzero(first)
    total = np.add.reduceat(weight, starts)
    middle = (passed - passed[starts][own] + weight / 2) / total[own]
    ends, end = [], 0.0
    for _, share in shares:
        end += share
        ends.append(end)
    split = np.array([_NAMES.index(name) for name, _ in shares], np.int64)
    chosen = np.empty(len(order), np.int64)
    chosen[order] = split[np.searchsorted(ends, middle, side="right").clip(max=len(ends) - 1)]
    return chosen


def _spread_all(chosen: Ints, units: Content, turn: Ints) -> None:
    """Let no split go without a label, or defect-free images; the rarest come last, so that theirs is the last word."""
    labels = np.array([kind_.label for kind_ in units.kinds], np.int64)
    unit, label = _labels(units, labels)
    members = {each: unit[label == each] for each in np.unique(labels).tolist()}
    members[DEFECT_FREE] = np.flatnonzero(units.free)
    for label in sorted(members, key=lambda each: (-len(members[each]), each)):
        _spread(chosen, members[label], units.images, turn)
    _spread(chosen, np.arange(len(chosen)), units.images, turn)


def _spread(chosen: Ints, members: Ints, images: Ints, turn: Ints) -> None:
    """Let no split go without, where there are as many units as splits: it takes the first from the one with most."""
    if len(members) < len(SHARES) or np.bincount(chosen[members], minlength=len(_NAMES)).all():
        return
    ranked = members[np.lexsort((turn[members], images[members]))]
    for split in range(len(_NAMES)):
        counts = np.bincount(chosen[ranked], minlength=len(_NAMES))
        if not counts[split]:
            giver = int(np.argmax(counts))
            chosen[ranked[np.flatnonzero(chosen[ranked] == giver)[0]]] = split
