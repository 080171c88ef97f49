"""The brackets, commas and colons of JSON text that stand outside strings, found piece by piece in little memory.

They say how deep and how wide a file is before anything is built of it, where its entries lie, and what is open
at the byte where it breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from defect_detect.tables import Column, Ints

_PIECE = 1 << 18
_OPEN, _CLOSE, _COMMA, _COLON = 1, 2, 3, 4
_LEVELS = 1 << 10
_KIND = np.zeros(256, np.uint8)
for _kind, _letters in ((_OPEN, b"[{"), (_CLOSE, b"]}"), (_COMMA, b","), (_COLON, b":")):
    _KIND[list(_letters)] = _kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """K marks of a piece of the text, in their order.

    place  (K,) int64 of each in the text
    kind   (K,) uint8
    level  (K,) int64, how many brackets are open at it, itself counted if it opens one
    """

    place: Ints
    kind: Column
    level: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much there is in a text: its deepest level, its brackets that open, commas and colons."""

    depth: int
    objects: int
    lists: int
    commas: int
    colons: int


def marks(raw: bytes, end: int | None = None) -> Iterator[Marks]:
    """The marks of `raw[:end]`. A backslash hides the byte after it, as it does in strings."""
    stop = len(raw) if end is None else end
    level, inside, hidden = 0, 0, False
    for start in range(0, stop, _PIECE):
        piece = raw[start : min(start + _PIECE, stop)]
        if hidden:
            piece = b"_" + piece[1:]
        if hidden := b"\\" in piece:
            # Backslashes pair from the left, as `replace` takes them, so what then stands before a quote hides it.
            piece = piece.replace(b"\\\\", b"__")
            hidden = piece.endswith(b"\\")
            piece = piece.replace(b'\\"', b"__")
        letters = np.frombuffer(piece, np.uint8)
        within = np.cumsum(letters == ord('"'), dtype=np.uint8)
        within += np.uint8(inside)
        within &= 1
        inside = int(within[-1])
        kinds = _KIND[letters]
        kinds[within.view(np.bool_)] = 0
        place = np.flatnonzero(kinds)
        kind = kinds[place]
        step = (kind == _OPEN).astype(np.int64) - (kind == _CLOSE)
        after = level + np.cumsum(step)
        if len(after):
            level = int(after[-1])
        yield Marks(place=place + start, kind=kind, level=after + (kind == _CLOSE))


def extent(raw: bytes) -> Extent:
    """Of the whole text."""
    depth = objects = opened = commas = colons = 0
    letters = np.frombuffer(raw, np.uint8)
    for some in marks(raw):
        if len(some.kind):
            depth = max(depth, int(some.level.max()))
        count = np.bincount(some.kind, minlength=5).tolist()
        objects += int((letters[some.place[some.kind == _OPEN]] == ord("{")).sum())
        opened, commas, colons = opened + count[_OPEN], commas + count[_COMMA], colons + count[_COLON]
    return Extent(depth=depth, objects=objects, lists=opened - objects, commas=commas, colons=colons)


def members(raw: bytes) -> Iterator[tuple[int, int]]:
    """Where the members of the outermost list or object of sound JSON lie: of as many as a piece holds at once.

    The commas between them are in, those around them are not; nothing comes of an empty one.
    """
    start, last = -1, -1
    for some in marks(raw):
        outer = some.place[(some.level == 1) & (some.kind != _COLON)]
        if not len(outer):
            continue
        if start < 0:
            start = int(outer[0]) + 1
        last = int(outer[-1])
        if last > start:
            yield start, last
            start = last + 1
    # What comes behind the last comma ends at the bracket that closes, which was the last mark.


def named(raw: bytes) -> Iterator[tuple[int, int]]:
    """Where the keys of the outermost object of sound JSON lie, quotes and all, with blanks around them."""
    start = 0
    for some in marks(raw):
        outer = some.level == 1
        for place, kind in zip(some.place[outer].tolist(), some.kind[outer].tolist(), strict=True):
            if kind == _COLON:
                yield start, place
            start = place + 1


def closed(raw: bytes) -> int:
    """Where the text goes on behind its first list or object."""
    for some in marks(raw):
        ends = some.place[(some.kind == _CLOSE) & (some.level == 1)]
        if len(ends):
            return int(ends[0]) + 1
    return len(raw)


def opened(raw: bytes, end: int) -> list[tuple[int, int, int]]:
    """The brackets that are open at the end of `raw[:end]`, from the outermost on.

    Of each its place, that of its last comma, and that of the last bracket that closed in it since; -1 for none.
    Of text with at most as many levels as are allowed; nothing where more was closed than opened.
    """
    last = np.full((_COMMA + 1, _LEVELS + 1), -1)
    level = 0
    for some in marks(raw, end):
        if not len(some.place):
            continue
        if int(some.level.min()) < 0 or int(some.level.max()) >= _LEVELS:
            return []
        # Of places assigned to the same level, the last one stays.
        for kind in (_OPEN, _CLOSE, _COMMA):
            chosen = some.kind == kind
            last[kind, some.level[chosen]] = some.place[chosen]
        level = int(some.level[-1]) - int(some.kind[-1] == _CLOSE)
    here = range(1, level + 1)
    listed = [(int(last[_OPEN, at]), int(last[_COMMA, at]), int(last[_CLOSE, at + 1])) for at in here]
    listed = [(place, comma if comma > place else -1, shut) for place, comma, shut in listed]
    return [(place, comma, shut if shut > max(place, comma) else -1) for place, comma, shut in listed]
