"""The annotations of a COCO file: columns of those that look as they should, the text of every one.

A row is `plain` if it has the usual fields, each once, of the usual types, and no others; nothing is said yet
about their values. The compiled reader makes the columns. Without it, or where the file isn't JSON to the
letter, no row is plain, and everything is read one by one: slower, with the same result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from defect_detect import native
from defect_detect.data.identity import Key
from defect_detect.tables import Floats, Ints

_FIELDS = (
    ("id", "i"), ("image_id", "i"), ("category_id", "i"), ("bbox", "b"), ("area", "f"), ("iscrowd", "i"),
    ("segmentation", "r?"),
)  # fmt: skip
POLYGONS = 2
_TOGETHER = 256
"""Entries that are parsed together."""
_FEW = 4096
"""Odd entries that are kept once they are parsed."""
_SPARSE = 16
"""Gaps between ids beyond which a table of all of them would be too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """P plain rows.

    number                                   (P,) int64 ascending, their places in the file
    id, image_id, category_id, iscrowd       (P,) int64
    xywh                                     (P, 4) float64, x y width height
    area                                     (P,) float64
    kind, first, rings                       (P,) int64, of the region: 0 none, 1 run lengths, POLYGONS; their rings
    corners                                  (C, 2) float64, x y of all rings
    end                                      (R,) int64, where each ring's corners end
    """

    number: Ints
    id: Ints
    image_id: Ints
    category_id: Ints
    iscrowd: Ints
    xywh: Floats
    area: Floats
    kind: Ints
    first: Ints
    rings: Ints
    corners: Floats
    end: Ints


class Text:
    """The bytes of a file, which can be let go: `again` reads them once more when they are asked for."""

    def __init__(self, raw: bytes, again: Callable[[], bytes] | None = None) -> None:
        self._raw: bytes | None = raw
        self._again = again

    def get(self) -> bytes:
        """The bytes.

        Raises:
            DatasetError: the file is no longer what it was.
        """
        if self._raw is None and self._again is not None:
            self._raw = self._again()
        return self._raw or b""

    def let_go(self) -> None:
        """Hold them no longer."""
        if self._again is not None:
            self._raw = None


class Entries(Sequence[Any]):
    """A list of a JSON file, its entries parsed when they are asked for.

    `place` (N, 3) int64: where each one's text starts and ends, and 1 if its columns were read.
    """

    def __init__(self, text: Text, place: Ints) -> None:
        self._text, self._place = text, place

    def __len__(self) -> int:
        return len(self._place)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        start, end = self._place[at, :2].tolist()
        return json.loads(self._text.get()[start:end])

    def __iter__(self) -> Iterator[Any]:
        return self.some(np.arange(len(self)))

    def some(self, places: Ints) -> Iterator[Any]:
        """The entries at these places, in this order."""
        text = self._text.get()
        for first in range(0, len(places), _TOGETHER):
            spans = self._place[places[first : first + _TOGETHER], :2].tolist()
            yield from json.loads(b"[" + b",".join([text[start:end] for start, end in spans]) + b"]")


class Rows(Entries):
    """The annotations in their order; `plain`: columns of those that are; `odd`: the others."""

    def __init__(self, text: Text, place: Ints, plain: Columns) -> None:
        super().__init__(text, place)
        self.plain = plain
        self.odd = Odd(self, np.flatnonzero(place[:, 2] == 0))


class Odd(Collection[tuple[int, Any]]):
    """Place and entry of rows, parsed each time they are asked for: where they are many, few are held at once."""

    def __init__(self, rows: Entries, place: Ints) -> None:
        self._rows, self.place = rows, place
        self._kept: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.place)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return zip(self.place.tolist(), self._entries(), strict=True)

    def __contains__(self, pair: object) -> bool:
        return any(pair == one for one in self)

    def objects(self) -> Iterator[dict[str, Any]]:
        """The entries that are objects, as they should all be."""
        return (entry for entry in self._entries() if isinstance(entry, dict))

    def _entries(self) -> Iterator[Any]:
        if len(self.place) > _FEW:
            return self._rows.some(self.place)
        if self._kept is None:
            self._kept = list(self._rows.some(self.place))
        return iter(self._kept)


class _Listed(Rows):
    """Entries that were parsed before: none is plain."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__(Text(b""), np.zeros((len(entries), 3), np.int64), _none())
        self._entries = entries

    def __getitem__(self, at: Any) -> Any:
        return self._entries[at]

    def some(self, places: Ints) -> Iterator[Any]:
        return map(self._entries.__getitem__, places.tolist())


def rows_of(entries: Sequence[Any]) -> Rows:
    """The entries as `Rows`, if they aren't already."""
    return entries if isinstance(entries, Rows) else _Listed(list(entries))


def scan(text: Text, key: str) -> tuple[Rows, int, int] | None:
    """The list under `key` in the bytes of a JSON object, and where its text starts and ends; None: read it whole."""
    if native.compiled is None:
        return None
    found = native.compiled.scan_loosely(text.get(), key, _FIELDS)
    if found is None:
        return None
    start, end, count, columns, places = found
    id_, image, category, box, area, crowd, (region, points, ends, _) = columns
    del columns, found
    place = np.frombuffer(places, np.int64).reshape(count, 3)
    number = np.flatnonzero(place[:, 2])
    chosen: slice | Ints = slice(None) if len(number) == count else number
    whole = {
        name: np.frombuffer(column, np.int64)[chosen]
        for name, column in (("id", id_), ("image_id", image), ("category_id", category), ("iscrowd", crowd))
    }
    plain = Columns(
        number=number, **whole, xywh=np.frombuffer(box).reshape(-1, 4)[chosen], area=np.frombuffer(area)[chosen],
        **_regions(np.frombuffer(region, np.int64).reshape(-1, 4)[chosen]),
        corners=np.frombuffer(points).reshape(-1, 2), end=np.frombuffer(ends, np.int64),
    )  # fmt: skip
    return Rows(text, place, plain), start, end


def _regions(kinds: Ints) -> dict[str, Ints]:
    names = ("kind", "first", "rings")
    if not kinds[:, 0].any():
        # Nothing was drawn: a column of zeros that takes no space.
        return dict.fromkeys(names, np.broadcast_to(np.zeros((), np.int64), len(kinds)))
    return {name: kinds[:, at].copy() for at, name in enumerate(names)}


def distinct(values: Ints) -> Ints:
    """Each value once, ascending; faster than `np.unique` where they are nearly in order, as ids are."""
    line = np.sort(values, kind="stable")
    return line[np.concatenate([[True], line[1:] != line[:-1]])] if len(line) else line


def looked_up(table: Mapping[Key, int], asked: Ints) -> Ints:
    """(P,) int64: what the table has for each whole number, -1 where it has nothing."""
    whole = set(map(type, table)) <= {int}
    ids = list(table) if whole else [id_ for id_ in table if isinstance(id_, int)]
    if not ids or not len(asked):
        return np.full(len(asked), -1, np.int64)
    known = np.array(ids, np.int64)
    rows = np.array(list(table.values()) if whole else [table[id_] for id_ in ids], np.int64)
    least, most = int(known.min()), int(known.max())
    if most - least > _SPARSE * len(ids):
        turn = np.argsort(known)
        at = np.searchsorted(known, asked, sorter=turn).clip(max=len(ids) - 1)
        exact: Ints = np.where(known[turn[at]] == asked, rows[turn[at]], -1)
        return exact
    place = np.full(most - least + 1, -1, np.int64)
    place[known - least] = rows
    found: Ints = place[asked.clip(least, most) - least]
    if int(asked.min()) < least or int(asked.max()) > most:
        found[(asked < least) | (asked > most)] = -1
    return found


def _none() -> Columns:
    whole = np.zeros(0, np.int64)
    return Columns(
        number=whole, id=whole, image_id=whole, category_id=whole, iscrowd=whole, xywh=np.zeros((0, 4)),
        area=np.zeros(0), kind=whole, first=whole, rings=whole, corners=np.zeros((0, 2)), end=whole,
    )  # fmt: skip
