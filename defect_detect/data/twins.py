"""Annotations that a file has twice, as merged exports and double clicks leave them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec
import numpy as np

from defect_detect.data.identity import order
from defect_detect.data.ordering import ordered
from defect_detect.data.regions import to_coco
from defect_detect.data.repairs import Log
from defect_detect.data.sound import Sound
from defect_detect.tables import Ints


def without(sound: Sound, log: Log) -> Sound:
    """Each defect once: of exact duplicates the one with the least id is kept, the others are logged.

    Exact means one image, class, box, region and flags. One box and class with two regions may be two
    defects: both are kept, and noted.
    """
    gone = array("q")
    for alike in _groups(sound):
        gone.extend(_merged(sound, alike, log))
    return sound.take(np.delete(np.arange(len(sound)), np.array(gone, np.int64))) if gone else sound


def _groups(sound: Sound) -> list[Ints]:
    """The rows, ascending, of each image, class, box and flags that several have; by their first ones."""
    images = int(sound.image.max(initial=-1)) + 1
    turn, again = ordered(sound.image, images, sound.label, sound.box)
    # Those of one image, class and box are few: only they are sorted by everything.
    near = again.copy()
    near[:-1] |= again[1:]
    rows = np.sort(turn[near])
    keys = tuple(key[rows] for key in (sound.ignore, sound.crowd, *sound.box.T, sound.label, sound.image))
    turn = np.lexsort(keys)
    differs = np.zeros(max(len(turn) - 1, 0), np.bool_)
    for key in keys:
        differs |= key[turn[1:]] != key[turn[:-1]]
    found = [each for each in np.split(rows[turn], np.flatnonzero(differs) + 1) if len(each) > 1]
    return sorted(found, key=lambda each: int(each[0]))


def _merged(sound: Sound, alike: Ints, log: Log) -> list[int]:
    """Of the rows of one box those that say again what another says."""
    gone: list[int] = []
    first: dict[bytes, int] = {}
    for row in _ranked(sound, alike.tolist()):
        known = first.setdefault(_region(sound, row), row)
        if known != row:
            gone.append(row)
            log.merged(sound.where(row), "exact duplicate annotation", sound.id_of(row), sound.where(known))
    for row in list(first.values())[1:]:
        log.noted(sound.where(row), "box of another annotation of its class, with another region", sound.id_of(row))
    return gone


def _region(sound: Sound, row: int) -> bytes:
    region = sound.region[row]
    return b"" if region is None else msgspec.json.encode(to_coco(region))


def _ranked(sound: Sound, rows: Sequence[int]) -> list[int]:
    """The rows, the one to keep first: by id, area, attributes, and at last by place."""

    def rank(row: int) -> tuple[object, ...]:
        attributes = msgspec.json.encode(sound.attributes[row], order="deterministic")
        return (order(sound.id_of(row) or ""), float(sound.area[row]), attributes, sound.where(row))

    return sorted(rows, key=rank)
