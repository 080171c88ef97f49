"""Annotations that a file has twice, as merged exports and double clicks leave them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from defect_detect.data.annotations import Draft
from defect_detect.data.identity import order
from defect_detect.data.ordering import ordered
from defect_detect.data.regions import to_coco
from defect_detect.data.repairs import Log
from defect_detect.data.sound import Sound


def merge(drafts: Sequence[Draft], log: Log) -> list[Draft]:
    """Each defect once: of exact duplicates the one with the least id is kept, the others are logged.

    Exact means one image, class, box, region and flags. One box and class with two regions may be two
    defects: both are kept, and noted.
    """
    by_box: dict[tuple[object, ...], list[Draft]] = {}
    for made in drafts:
        by_box.setdefault((made.image, made.label, made.box, made.crowd, made.ignore), []).append(made)
    gone: set[str] = set()
    for alike in by_box.values():
        if len(alike) == 1:
            continue
        first: dict[bytes, Draft] = {}
        for made in sorted(alike, key=_rank):
            known = first.setdefault(_region(made), made)
            if known is not made:
                gone.add(made.where)
                log.merged(made.where, "exact duplicate annotation", made.source_id, known.where)
        for made in list(first.values())[1:]:
            log.noted(made.where, "box of another annotation of its class, with another region", made.source_id)
    return [made for made in drafts if made.where not in gone]


def without(sound: Sound, log: Log) -> Sound:
    """`merge` for a whole table."""
    images = int(sound.image.max(initial=-1)) + 1
    turn, again = ordered(sound.image, images, sound.label, sound.box)
    # Those of one image, class and box are few: only they are sorted by everything.
    near = again.copy()
    near[:-1] |= again[1:]
    rows = np.sort(turn[near])
    keys = tuple(key[rows] for key in (sound.ignore, sound.crowd, *sound.box.T, sound.label, sound.image))
    turn = np.lexsort(keys)
    same = np.ones(max(len(turn) - 1, 0), np.bool_)
    for key in keys:
        same &= key[turn[1:]] == key[turn[:-1]]
    alike = rows[np.unique(np.concatenate([turn[1:][same], turn[:-1][same]]))]
    if not len(alike):
        return sound
    drafts = [sound.draft(row) for row in alike.tolist()]
    left = {made.where for made in merge(drafts, log)}
    gone = alike[[made.where not in left for made in drafts]]
    return sound.take(np.delete(np.arange(len(sound)), gone))


def _region(made: Draft) -> bytes:
    return b"" if made.region is None else msgspec.json.encode(to_coco(made.region))


def _rank(made: Draft) -> tuple[object, ...]:
    attributes = msgspec.json.encode(made.attributes, order="deterministic")
    return (order(made.source_id or ""), made.area, attributes, made.where)
