"""The books: every image and annotation that came in is kept or has a record that says why it isn't."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from defect_detect.data.records import Tally
from defect_detect.data.repairs import Repair
from defect_detect.data.sound import Sound
from defect_detect.data.taken import Intake
from defect_detect.tables import Dataset

_ITEM = re.compile(r".*: (images|annotations)\[[0-9]+\]")


class BooksError(AssertionError):
    """Something was lost or counted twice: a fault of this package, not of the input."""


def balance(taken: Intake, written: Sequence[Dataset], repairs: Iterable[Repair]) -> tuple[Tally, Tally]:
    """What became of the images and of the annotations, checked: in = kept + merged + quarantined.

    Raises:
        BooksError: the sums don't agree, an item was dropped twice, or one is both kept and dropped.
    """
    listed = list(repairs)
    kept_images = {taken.images.entries[image].where for image in taken.kept}
    images = _tally("images", taken.given_images, kept_images, sum(len(data.images) for data in written), listed)
    defects = sum(len(data.defects) for data in written)
    return images, _tally("annotations", taken.given_annotations, _Places(taken.sound), defects, listed)


class _Places(AbstractSet[str]):
    """The paths of annotations, without a string for each."""

    def __init__(self, sound: Sound) -> None:
        self._file = {name: at for at, name in enumerate(sound.names)}
        self._sound = sound
        self._key = np.unique(sound.source << 32 | sound.number)

    def __len__(self) -> int:
        return len(self._key)

    def __iter__(self) -> Iterator[str]:
        return map(self._sound.where, range(len(self._sound)))

    def __contains__(self, where: object) -> bool:
        name, _, number = str(where).removesuffix("]").rpartition(": annotations[")
        if name not in self._file:
            return False
        key = self._file[name] << 32 | int(number)
        at = int(np.searchsorted(self._key, key))
        return at < len(self._key) and int(self._key[at]) == key


def table_of(repair: Repair) -> str:
    """`images` or `annotations` where the record is about one item of them, else ``."""
    found = _ITEM.match(repair.where)
    return found.group(1) if found else ""


def _tally(table: str, given: int, kept: AbstractSet[str], written: int, repairs: Sequence[Repair]) -> Tally:
    of_table = [(match.group(0), repair) for repair in repairs if (match := _ITEM.match(repair.where))
                and match.group(1) == table]  # fmt: skip
    dropped = [(item, repair) for item, repair in of_table if repair.action in ("merged", "quarantined")]
    changed = {item for item, repair in of_table if repair.action == "repaired"}
    actions = Counter(repair.action for _, repair in dropped)
    tally = Tally(
        given=given,
        kept=written,
        repaired=sum(item in kept for item in changed),
        merged=actions["merged"],
        quarantined=actions["quarantined"],
        dropped=dict(sorted(Counter(repair.what for _, repair in dropped).items())),
    )
    items = {item for item, _ in dropped}
    if (
        len(items) != len(dropped)
        or any(item in kept for item in items)
        or len(kept) != written
        or given != written + len(dropped)
    ):
        raise BooksError(f"{table} don't add up ({tally}): this is a fault of defect_detect, please report it")
    return tally
