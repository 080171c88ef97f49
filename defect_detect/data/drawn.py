"""The regions of many annotations: polygons as columns until one is asked for, all else as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, overload

import numpy as np

from defect_detect.data.crossing import crossing
from defect_detect.tables import Bools, Floats, Ints, Polygons, Region

_NONE, _OBJECT = -2, -1


@dataclass(frozen=True, slots=True)
class Rings:
    """R rings of one file: `corners` (C, 2) float64 px, `end` (R,) int64 where each one's corners end."""

    corners: Floats
    end: Ints

    def take(self, first: int, count: int) -> Polygons:
        """`count` of them from the one at `first` on."""
        ends = self.end[first : first + count].tolist()
        starts = [int(self.end[first - 1]) if first else 0, *ends[:-1]]
        return Polygons(rings=tuple([self.corners[a:b] for a, b in zip(starts, ends, strict=True)]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn(Sequence["Region | None"]):
    """G regions.

    files         rings of each file
    objects       regions that are no columns
    file          (G,) int64: the place in `files`, _OBJECT, or _NONE for a row without
    first, many   (G,) int64: the rings of each; `first` is the place in `objects` of those that are there
    """

    files: tuple[Rings, ...]
    objects: tuple[Region, ...]
    file: Ints
    first: Ints
    many: Ints

    @classmethod
    def of_columns(cls, rings: Rings, drawn: Bools, first: Ints, many: Ints) -> Self:
        """Of one file; where `drawn` is false there is none."""
        return cls(files=(rings,), objects=(), file=np.where(drawn, 0, _NONE), first=first, many=many)

    @classmethod
    def of_objects(cls, regions: Sequence[Region | None]) -> Self:
        """The regions as they are."""
        there = np.array([region is not None for region in regions], np.bool_)
        nothing = np.zeros(len(regions), np.int64)
        return cls(
            files=(), objects=tuple([region for region in regions if region is not None]),
            file=np.where(there, _OBJECT, _NONE), first=np.cumsum(there) - 1, many=nothing,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All of them, one part after the other."""
        files = np.cumsum([0, *(len(each.files) for each in parts)]).tolist()
        objects = np.cumsum([0, *(len(each.objects) for each in parts)]).tolist()
        return cls(
            files=tuple([rings for each in parts for rings in each.files]),
            objects=tuple([region for each in parts for region in each.objects]),
            file=np.concatenate(
                [np.where(each.file >= 0, each.file + n, each.file) for each, n in zip(parts, files, strict=False)]
            ),
            first=np.concatenate(
                [each.first + (each.file == _OBJECT) * n for each, n in zip(parts, objects, strict=False)]
            ),
            many=np.concatenate([each.many for each in parts]),
        )

    @property
    def there(self) -> Bools:
        """(G,) bool: rows that have a region."""
        have: Bools = self.file != _NONE
        return have

    def __len__(self) -> int:
        return len(self.file)

    @overload
    def __getitem__(self, at: int) -> Region | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[Region | None]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        file, first = int(self.file[at]), int(self.first[at])
        if file >= 0:
            return self.files[file].take(first, int(self.many[at]))
        return self.objects[first] if file == _OBJECT else None

    def __iter__(self) -> Iterator[Region | None]:
        starts = [[0, *rings.end.tolist()] for rings in self.files]
        for file, first, count in zip(self.file.tolist(), self.first.tolist(), self.many.tolist(), strict=True):
            if file >= 0:
                corners, start = self.files[file].corners, starts[file]
                rings = [corners[start[at] : start[at + 1]] for at in range(first, first + count)]
                yield Polygons(rings=tuple(rings))
            else:
                yield self.objects[first] if file == _OBJECT else None

    def take(self, rows: Ints) -> Self:
        """The rows at these places."""
        return replace(self, file=self.file[rows], first=self.first[rows], many=self.many[rows])

    def crossing(self) -> Bools:
        """(G,) bool: the outline crosses itself."""
        crossed = np.zeros(len(self), np.bool_)
        for at, rings in enumerate(self.files):
            rows = np.flatnonzero(self.file == at)
            upto = np.concatenate([[0], np.cumsum(crossing(rings.corners, rings.end))])
            crossed[rows] = upto[self.first[rows] + self.many[rows]] > upto[self.first[rows]]
        rows = np.flatnonzero(self.file == _OBJECT)
        found = [self.objects[place] for place in self.first[rows].tolist()]
        drawn = [region.rings if isinstance(region, Polygons) else () for region in found]
        listed = [ring for each in drawn for ring in each]
        if listed:
            owner = np.repeat(rows, [len(each) for each in drawn])
            ends = np.cumsum([len(ring) for ring in listed])
            crossed[owner[crossing(np.concatenate(listed), ends)]] = True
        return crossed
