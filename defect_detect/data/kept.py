"""A split as columns for the cache, and back. Splits with regions aren't kept: regions are objects anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect.data import packed, plain, records, settled, soundness, splitfile
from defect_detect.data.column_file import Columns
from defect_detect.tables import Category, Column, Dataset, Defects, Images

_DEFECTS = ("image", "label", "box", "area", "crowd", "ignore", "id")
_WHOLE = ("image", "label", "id")


class _Rest(msgspec.Struct, frozen=True):
    """What of a split is no column of numbers."""

    split: str
    categories: list[tuple[int, str, int | str, str | None]]
    scale: float | None
    unit: str
    fingerprint: str
    file: list[str]
    image_source: list[int | str] | None
    defect_source: list[int | str] | None
    """None: whole numbers, which are a column."""


def code() -> str:
    """What turns files into columns here; another version of it is another code."""
    makers = packed, plain, records, settled, soundness, splitfile
    modules = (__file__, *(str(one.__file__) for one in makers))
    return " ".join(f"{facts.st_size}.{facts.st_mtime_ns}" for facts in map(Path.stat, map(Path, modules)))


def pack(dataset: Dataset) -> Columns | None:
    """The columns of a split without regions; None with them."""
    images, defects = dataset.images, dataset.defects
    if defects.region is not None:
        return None
    image_source, defect_source = _numbers(images.source_id), _numbers(defects.source_id)
    rest = _Rest(
        split=dataset.split,
        categories=[(c.id, c.name, c.source_id, c.severity) for c in dataset.categories],
        scale=dataset.scale,
        unit=dataset.unit,
        fingerprint=dataset.fingerprint,
        file=list(images.file),
        image_source=None if image_source is not None else list(images.source_id),
        defect_source=None if defect_source is not None else list(defects.source_id),
    )
    columns = {name: getattr(defects, name) for name in _DEFECTS}
    columns |= {"image_id": images.id, "size": images.size, "group": images.group}
    columns |= {"image_source": image_source, "defect_source": defect_source}
    columns |= {f"image {name}": values for name, values in images.attribute.items()}
    columns |= {f"defect {name}": values for name, values in defects.attribute.items()}
    kept = {name: _narrow(values) for name, values in columns.items() if values is not None}
    return kept | {"rest": np.frombuffer(msgspec.msgpack.encode(rest), np.uint8)}


def unpack(root: Path, columns: Columns) -> Dataset:
    """The split that `pack` was given, in the folder `root`."""
    rest = msgspec.msgpack.decode(columns["rest"].tobytes(), type=_Rest)
    numbers: dict[str, Any] = {
        name: columns[name].astype(np.int64) if name in _WHOLE else columns[name] for name in _DEFECTS
    }
    return Dataset(
        root=root,
        split=rest.split,
        categories=tuple(Category(id=i, name=n, source_id=s, severity=v) for i, n, s, v in rest.categories),
        images=Images(
            file=tuple(rest.file),
            id=columns["image_id"].astype(np.int64),
            size=columns["size"].astype(np.int64),
            group=columns["group"],
            source_id=_source(rest.image_source, columns.get("image_source")),
            attribute=_attributes(columns, "image "),
        ),
        defects=Defects(
            **numbers,
            region=None,
            source_id=_source(rest.defect_source, columns.get("defect_source")),
            attribute=_attributes(columns, "defect "),
        ),
        scale=rest.scale,
        unit=rest.unit,
        fingerprint=rest.fingerprint,
    )


def _numbers(ids: Sequence[int | str]) -> Column | None:
    if set(map(type, ids)) <= {int} and all(-(2**63) <= id_ < 2**63 for id_ in ids if isinstance(id_, int)):
        return np.array(ids, np.int64)
    return None


def _source(listed: list[int | str] | None, column: Column | None) -> tuple[Any, ...]:
    if listed is not None:
        return tuple(listed)
    if column is None:
        raise ValueError("no ids")
    return tuple(column.tolist())


def _attributes(columns: Mapping[str, Column], prefix: str) -> dict[str, Column]:
    found = {name.removeprefix(prefix): values for name, values in columns.items() if name.startswith(prefix)}
    return {name: values.astype(np.int64) if values.dtype.kind in "iu" else values for name, values in found.items()}


def _narrow(column: Column) -> Column:
    """Whole numbers in the smallest type that holds them."""
    if column.dtype.kind != "i":
        return column
    low, high = int(column.min(initial=0)), int(column.max(initial=0))
    return column.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))
