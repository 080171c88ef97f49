"""The annotations of a COCO file: columns of those that look as they should, the text of every one.

A row is `plain` if it has the usual fields, each once, of the usual types, and no others; nothing is said yet
about their values. The compiled reader makes the columns. Without it, or where the file isn't JSON to the
letter, no row is plain, and everything is read one by one: slower, with the same result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from defect_detect import native
from defect_detect.tables import Floats, Ints

_FIELDS = (
    ("id", "i"), ("image_id", "i"), ("category_id", "i"), ("bbox", "b"), ("area", "f"), ("iscrowd", "i"),
    ("segmentation", "r?"),
)  # fmt: skip
POLYGONS = 2


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


class Rows(Sequence[Any]):
    """The entries in their order, parsed when they are asked for; `plain`: columns of those that are."""

    def __init__(self, text: bytes, place: Ints, plain: Columns) -> None:
        self._text, self._place, self.plain = text, place, plain
        self._odd: list[tuple[int, Any]] | None = None

    def __len__(self) -> int:
        return len(self._place)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        start, end, _ = self._place[at].tolist()
        return json.loads(self._text[start:end])

    def __iter__(self) -> Iterator[Any]:
        return (self[at] for at in range(len(self)))

    @property
    def odd(self) -> list[tuple[int, Any]]:
        """Place and entry of those that are not plain."""
        if self._odd is None:
            self._odd = [(at, self[at]) for at in np.flatnonzero(self._place[:, 2] == 0).tolist()]
        return self._odd


class _Listed(Rows):
    """Entries that were parsed before: none is plain."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__(b"", np.zeros((len(entries), 3), np.int64), _none())
        self._entries = entries

    def __getitem__(self, at: Any) -> Any:
        return self._entries[at]


def rows_of(entries: Sequence[Any]) -> Rows:
    """The entries as `Rows`, if they aren't already."""
    return entries if isinstance(entries, Rows) else _Listed(list(entries))


def scan(raw: bytes, key: str) -> tuple[Rows, int, int] | None:
    """The list under `key` in the bytes of a JSON object, and where its text starts and ends; None: read it whole."""
    if native.compiled is None:
        return None
    found = native.compiled.scan_loosely(raw, key, _FIELDS)
    if found is None:
        return None
    start, end, count, columns, places = found
    id_, image, category, box, area, crowd, (region, points, ends, _) = columns
    place = np.frombuffer(places, np.int64).reshape(count, 3)
    whole = {
        name: np.frombuffer(column, np.int64)
        for name, column in (("id", id_), ("image_id", image), ("category_id", category), ("iscrowd", crowd))
    }
    kinds = np.frombuffer(region, np.int64).reshape(-1, 4)
    number = np.flatnonzero(place[:, 2])
    everything = len(number) == count
    plain = Columns(
        number=number,
        **{name: column if everything else column[number] for name, column in whole.items()},
        xywh=np.frombuffer(box).reshape(-1, 4)[slice(None) if everything else number],
        area=np.frombuffer(area)[slice(None) if everything else number],
        kind=kinds[number, 0], first=kinds[number, 1], rings=kinds[number, 2],
        corners=np.frombuffer(points).reshape(-1, 2), end=np.frombuffer(ends, np.int64),
    )  # fmt: skip
    return Rows(raw, place, plain), start, end


def distinct(values: Ints) -> Ints:
    """Each value once, ascending; faster than `np.unique` where they are nearly in order, as ids are."""
    line = np.sort(values, kind="stable")
    return line[np.concatenate([[True], line[1:] != line[:-1]])] if len(line) else line


def _none() -> Columns:
    whole = np.zeros(0, np.int64)
    return Columns(
        number=whole, id=whole, image_id=whole, category_id=whole, iscrowd=whole, xywh=np.zeros((0, 4)),
        area=np.zeros(0), kind=whole, first=whole, rings=whole, corners=np.zeros((0, 2)), end=whole,
    )  # fmt: skip
