"""The books: every image and annotation that came in is kept or has a record that says why it isn't."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from defect_detect.data.records import Tally
from defect_detect.data.repairs import Repair
from defect_detect.data.taken import Intake
from defect_detect.tables import Dataset, Ints

_ITEM = re.compile(r"(.*): (images|annotations)\[([0-9]+)\]")
_PLACES = 32
"""Bits for the place in a file: files of 2 GiB at most have fewer."""


class BooksError(AssertionError):
    """Something was lost or counted twice: a fault of this package, not of the input."""


def balance(taken: Intake, written: Sequence[Dataset], repairs: Iterable[Repair]) -> tuple[Tally, Tally]:
    """What became of the images and of the annotations, checked: in = kept + merged + quarantined.

    Raises:
        BooksError: the sums don't agree, an item was dropped twice, or one is both kept and dropped.
    """
    files = _Files()
    books = {"images": _Book(), "annotations": _Book()}
    for repair in repairs:
        found = _ITEM.match(repair.where)
        if found is not None:
            books[found[2]].enter(repair, files.key(found[1], int(found[3])))
    kept_images = array("q")
    for image in taken.kept:
        found = _ITEM.match(taken.images.entries[image].where)
        if found is None:
            raise BooksError(f"{taken.images.entries[image].where} is no image's place")
        kept_images.append(files.key(found[1], int(found[3])))
    sound = taken.sound
    number = np.array([files.number(name) for name in sound.names], np.int64)
    kept = number[sound.source] << _PLACES | sound.number if len(sound) else np.zeros(0, np.int64)
    counts = sum(len(data.images) for data in written), sum(len(data.defects) for data in written)
    return (
        _tally("images", books["images"], taken.given_images, np.array(kept_images, np.int64), counts[0]),
        _tally("annotations", books["annotations"], taken.given_annotations, kept, counts[1]),
    )


class _Files(dict[str, int]):
    """A number for each file, so that an item of one is a number too."""

    def number(self, name: str) -> int:
        return self.setdefault(name, len(self))

    def key(self, name: str, place: int) -> int:
        return self.number(name) << _PLACES | place


@dataclass(slots=True)
class _Book:
    """What the records say of the items of one table, which are named by their keys."""

    dropped: array[int] = field(default_factory=lambda: array("q"))
    changed: array[int] = field(default_factory=lambda: array("q"))
    actions: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)

    def enter(self, repair: Repair, key: int) -> None:
        if repair.action in ("merged", "quarantined"):
            self.dropped.append(key)
            self.actions[repair.action] += 1
            self.rules[repair.what] += 1
        elif repair.action == "repaired":
            self.changed.append(key)


def table_of(repair: Repair) -> str:
    """`images` or `annotations` where the record is about one item of them, else ``."""
    found = _ITEM.match(repair.where)
    return found[2] if found else ""


def _tally(table: str, book: _Book, given: int, kept: Ints, written: int) -> Tally:
    dropped, changed = np.array(book.dropped, np.int64), np.unique(np.array(book.changed, np.int64))
    tally = Tally(
        given=given,
        kept=written,
        repaired=int(np.isin(changed, kept).sum()),
        merged=book.actions["merged"],
        quarantined=book.actions["quarantined"],
        dropped=dict(sorted(book.rules.items())),
    )
    if (
        len(np.unique(dropped)) != len(dropped)
        or np.isin(dropped, kept).any()
        or len(np.unique(kept)) != written
        or given != written + len(dropped)
    ):
        raise BooksError(f"{table} don't add up ({tally}): this is a fault of defect_detect, please report it")
    return tally
