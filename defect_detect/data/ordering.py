"""Defects in one order, whatever order they are listed in: by image, label and box."""

from __future__ import annotations

from itertools import groupby

import msgspec
import numpy as np

from defect_detect import native
from defect_detect.data.identity import order as by_key
from defect_detect.data.regions import to_coco
from defect_detect.data.sound import Sound
from defect_detect.tables import Bools, Floats, Ints


def ordered(place: Ints, places: int, label: Ints, box: Floats) -> tuple[Ints, Bools]:
    """The rows by place, label and box, ascending and stable; and whether each is like the one before it there.

    `place` (G,) int64 from 0 to below `places`, `label` (G,) int64, `box` (G, 4) float64 without NaN.
    """
    if native.compiled is not None:
        order, again = np.empty(len(place), np.int64), np.empty(len(place), np.bool_)
        columns = (np.ascontiguousarray(place), np.ascontiguousarray(label), np.ascontiguousarray(box))
        native.compiled.order_rows(*columns, places, order, again)
        return order, again
    order = np.lexsort((*box.T[::-1], label, place))
    again = np.zeros(len(order), np.bool_)
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in (place, label, *box.T):
        line = key[order]
        same &= line[1:] == line[:-1]
    again[1:] = same
    return order, again


def by_content(sound: Sound, place: Ints, *, regions: bool) -> Ints:
    """The rows on images that have a place, by it, then by content: whatever order the input lists them in.

    By `regions` only if they are written: what is read again must come out in the same order.
    """
    at = place[sound.image]
    rows = np.flatnonzero(at >= 0)
    turn, again = ordered(at[rows], int(at.max(initial=-1)) + 1, sound.label[rows], sound.box[rows])
    rows = rows[turn]
    # What is alike so far is told apart by all else; runs of it are short.
    begins, ends = again.copy(), again.copy()
    begins[1:] &= ~again[:-1]
    ends[:-1] &= ~again[1:]
    for start, end in zip(np.flatnonzero(begins).tolist(), np.flatnonzero(ends).tolist(), strict=True):
        run = rows[start - 1 : end + 1].tolist()
        rows[start - 1 : end + 1] = _told_apart(sound, run, regions=regions)
    return rows


def _told_apart(sound: Sound, run: list[int], *, regions: bool) -> list[int]:
    """Rows of one image, class and box by area and flags, and by their last word where these are the same."""

    def flags(row: int) -> tuple[float, bool, bool]:
        return float(sound.area[row]), bool(sound.crowd[row]), bool(sound.ignore[row])

    return [
        row
        for _, same in groupby(sorted(run, key=flags), key=flags)
        for row in sorted(same, key=lambda row: _last_word(sound, row, regions=regions))
    ]


def _last_word(sound: Sound, row: int, *, regions: bool) -> tuple[object, ...]:
    region = sound.region[row] if regions else None
    shape = b"" if region is None else msgspec.json.encode(to_coco(region))
    attributes = msgspec.json.encode(sound.attributes[row], order="deterministic")
    return shape, by_key(sound.id_of(row) or ""), attributes
