"""Train, val and test of one file: by sampling unit, every class and the defect-free images in each.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the rarest stratum is dealt first,
each of its units to the split that lacks most of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from defect_detect.errors import DatasetError, Fault

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
DEFECT_FREE = -1


def assign(units: Mapping[str, Sequence[frozenset[int]]], *, seed: int = 0) -> dict[str, str]:
    """The split of each sampling unit.

    `units` holds, for each unit, the labels on each of its images; an image without defects counts
    as the stratum DEFECT_FREE. The same units and seed give the same answer in any order.

    Raises:
        DatasetError: fewer units than splits.
    """
    if len(units) < len(SHARES):
        raise DatasetError(
            Fault(
                where="split", expected=f"at least {len(SHARES)} images or groups to split", found=str(len(units)),
                fix="Give ready splits as train.json, val.json and test.json.",
            )
        )  # fmt: skip
    content = {name: _content(images) for name, images in units.items()}
    total = sum((counts for counts in content.values()), Counter[int | None]())
    lacking = {split: {stratum: share * amount for stratum, amount in total.items()} for split, share in SHARES.items()}
    order = sorted(units, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    spread = Counter(stratum for counts in content.values() for stratum in counts)
    left = dict.fromkeys(order)
    chosen: dict[str, str] = {}
    while left:
        stratum = _rarest(content[name] for name in left)
        # Units that hold most of the stratum first: a late big one would overfill its split.
        members = [name for name in left if content[name][stratum]]
        for name in sorted(members, key=lambda name: -content[name][stratum]):
            # A class of one unit can't be shared out; by its own need it would always go to train.
            split = _neediest(lacking, stratum if spread[stratum] > 1 else None)
            chosen[name] = split
            del left[name]
            for each, amount in content[name].items():
                lacking[split][each] -= amount
    _fill_empty(chosen, content)
    return {name: chosen[name] for name in units}


def _content(images: Sequence[frozenset[int]]) -> Counter[int | None]:
    """Images of each stratum; None counts all of them."""
    counts = Counter[int | None](label for labels in images for label in labels or {DEFECT_FREE})
    counts[None] = len(images)
    return counts


def _rarest(contents: Iterable[Counter[int | None]]) -> int | None:
    units = Counter[int | None]()
    for counts in contents:
        units.update(counts.keys())
    return min(units, key=lambda stratum: (units[stratum], stratum is None, stratum or 0))


def _neediest(lacking: Mapping[str, Mapping[int | None, float]], stratum: int | None) -> str:
    return max(SHARES, key=lambda split: (lacking[split][stratum], lacking[split][None]))


def _fill_empty(chosen: dict[str, str], content: Mapping[str, Counter[int | None]]) -> None:
    """Few big units can leave a split without any: it takes the smallest of the split with most."""
    for split in SHARES:
        while split not in chosen.values():
            sizes = Counter(chosen.values())
            giver = max(SHARES, key=lambda each: sizes[each])
            name = min((n for n, s in chosen.items() if s == giver), key=lambda n: (content[n][None], n))
            chosen[name] = split
