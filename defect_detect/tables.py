"""The tables that everything speaks: images, defects, predictions.

Columns of equal length, frozen, with read-only arrays. Coordinates are pixels of the normalized
picture: x to the right, y down, (0, 0) the top left corner of the top left pixel, so a box
`x0 y0 x1 y1` lies in [0, width] x [0, height] and its width is `x1 - x0`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Column = NDArray[Any]

_EMPTY: Mapping[str, Column] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """A region as the union of closed rings; each ring (K, 2) float64, x y px, K >= 3."""

    rings: tuple[Floats, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rle:
    """A region as COCO's compressed run lengths: columns first, starting with background."""

    height: int
    width: int
    counts: bytes


Region = Polygons | Rle


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A class of defects. `id` is label + 1, as written to COCO files; `source_id` the user's own."""

    id: int
    name: str
    source_id: int | str
    severity: str | None = None


def _freeze(table: Any, rows: int) -> None:
    for column in dataclasses.fields(table):
        value = getattr(table, column.name)
        arrays = value.items() if isinstance(value, Mapping) else ((column.name, value),)
        for name, array in arrays:
            if array is None:
                continue
            if len(array) != rows:
                msg = f"{type(table).__name__}.{name} has {len(array)} rows, expected {rows}"
                raise ValueError(msg)
            if isinstance(array, np.ndarray):
                array.flags.writeable = False


def _take(value: Any, rows: Ints) -> Any:
    if isinstance(value, Mapping):
        return {name: array[rows] for name, array in value.items()}
    if isinstance(value, tuple):
        return tuple([value[row] for row in rows.tolist()])
    return None if value is None else value[rows]


def _rows(where: Ints | Bools) -> Ints:
    return np.arange(len(where))[where] if where.dtype == np.bool_ else where.astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """N pictures.

    file       N names, POSIX, relative to `Dataset.root`
    id         (N,) int64, unique across the splits of a dataset
    size       (N, 2) int64, width height in px
    group      (N,) str, the sampling unit (part, tile, panel, lot); the file where none is given
    source_id  N ids of the user's own file, unique within a split only
    attribute  further columns of the user (line, camera, lot), each (N,)
    """

    file: tuple[str, ...]
    id: Ints
    size: Ints
    group: Column
    source_id: tuple[int | str, ...]
    attribute: Mapping[str, Column] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        _freeze(self, len(self.file))

    def __len__(self) -> int:
        return len(self.file)

    def take(self, where: Ints | Bools) -> Self:
        """The rows that `where` picks, by index or by mask."""
        rows = _rows(where)
        return dataclasses.replace(
            self, **{f.name: _take(getattr(self, f.name), rows) for f in dataclasses.fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Defects:
    """G ground-truth defects.

    image      (G,) int64, row in `Images`
    label      (G,) int64, row in `Dataset.categories`
    box        (G, 4) float64, x0 y0 x1 y1 px
    area       (G,) float64, px^2, as the user's file has it (COCO's size bins use it)
    crowd      (G,) bool, COCO's iscrowd: absorbs any number of predictions, never counted
    ignore     (G,) bool: absorbs one prediction, never counted
    region     G regions, or None where the dataset has boxes only
    id         (G,) int64, annotation id, from 1, unique across the splits of a dataset
    source_id  G ids of the user's own file
    attribute  further columns of the user, each (G,)
    """

    image: Ints
    label: Ints
    box: Floats
    area: Floats
    crowd: Bools
    ignore: Bools
    region: tuple[Region, ...] | None
    id: Ints
    source_id: tuple[int | str, ...]
    attribute: Mapping[str, Column] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        _freeze(self, len(self.image))

    def __len__(self) -> int:
        return len(self.image)

    @property
    def counts(self) -> Bools:
        """(G,) bool: neither crowd nor ignored, so a miss of it is a miss."""
        return ~(self.crowd | self.ignore)

    def take(self, where: Ints | Bools) -> Self:
        """The rows that `where` picks, by index or by mask."""
        rows = _rows(where)
        return dataclasses.replace(
            self, **{f.name: _take(getattr(self, f.name), rows) for f in dataclasses.fields(self)}
        )

    @classmethod
    def none(cls, *, regions: bool = False) -> Self:
        """A table without rows."""
        whole = np.zeros(0, np.int64)
        no = np.zeros(0, np.bool_)
        return cls(
            image=whole, label=whole.copy(), box=np.zeros((0, 4)), area=np.zeros(0), crowd=no,
            ignore=no.copy(), region=() if regions else None, id=whole.copy(), source_id=(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One split of a normalized dataset.

    root         the folder that `images.file` is relative to
    split        train, val or test
    categories   label k is categories[k]
    scale        px per unit (mm, say), or None
    unit         the name of that unit
    fingerprint  SHA-256 over pictures, defects and categories of this split
    """

    root: Path
    split: str
    categories: tuple[Category, ...]
    images: Images
    defects: Defects
    scale: float | None = None
    unit: str = "px"
    fingerprint: str = ""

    @property
    def has_masks(self) -> bool:
        """Whether every defect has a region."""
        return self.defects.region is not None

    @property
    def defect_free(self) -> Bools:
        """(N,) bool: images without any annotation at all."""
        free = np.ones(len(self.images), np.bool_)
        free[self.defects.image] = False
        return free

    def without_truth(self) -> Self:
        """The same pictures and categories with no defects: what a detector may see."""
        return dataclasses.replace(self, defects=Defects.none(regions=self.has_masks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """P boxes that a detector said, in no particular order.

    image   (P,) int64, row in `Images`
    label   (P,) int64, row in `Dataset.categories`
    box     (P, 4) float64, x0 y0 x1 y1 px
    score   (P,) float64 in [0, 1]
    region  P regions, or None where the detector gives boxes only
    """

    image: Ints
    label: Ints
    box: Floats
    score: Floats
    region: tuple[Region, ...] | None = None

    def __post_init__(self) -> None:
        _freeze(self, len(self.image))

    def __len__(self) -> int:
        return len(self.image)

    def take(self, where: Ints | Bools) -> Self:
        """The rows that `where` picks, by index or by mask."""
        rows = _rows(where)
        return dataclasses.replace(
            self, **{f.name: _take(getattr(self, f.name), rows) for f in dataclasses.fields(self)}
        )

    @classmethod
    def none(cls, *, regions: bool = False) -> Self:
        """A table without rows: a silent detector."""
        whole = np.zeros(0, np.int64)
        return cls(
            image=whole, label=whole.copy(), box=np.zeros((0, 4)), score=np.zeros(0),
            region=() if regions else None,
        )  # fmt: skip

    @classmethod
    def joined(cls, tables: Sequence[Self], *, regions: bool) -> Self:
        """All rows of the tables, one table after the other."""
        if not tables:
            return cls.none(regions=regions)
        return cls(
            image=np.concatenate([table.image for table in tables]),
            label=np.concatenate([table.label for table in tables]),
            box=np.concatenate([table.box for table in tables]),
            score=np.concatenate([table.score for table in tables]),
            region=tuple(region for table in tables for region in table.region or ()) if regions else None,
        )
