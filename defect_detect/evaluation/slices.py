"""The parts that figures are also told for: class, size, severity, attributes of defects, pictures and units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from defect_detect.tables import Bools, Column, Dataset, Floats

SMALL, MEDIUM = 32.0**2, 96.0**2
"""COCO's size bins, px^2 of the annotation's area."""
COCO_SIZES = ("small", "medium", "large")
MANY = 12
"""An attribute of more values is no slicing, it is a name or a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a split.

    by, value  what it is cut by, and the value there
    defects    (G,) bool, the defects that count in it
    label      the class whose predictions belong to it; None: it isn't cut by class
    images     (N,) bool, the pictures in it; None: it isn't cut by pictures
    """

    by: str
    value: str
    defects: Bools
    label: int | None = None
    images: Bools | None = None


def severity(truth: Dataset) -> Column:
    """(G,) str: the defect's own severity where it has one, else its class's; empty where there is neither.

    >>> from defect_detect.evaluation import example
    >>> severity(example.truth()).tolist()
    ['', '', '']
    """
    of_class = np.array([category.severity or "" for category in truth.categories] or [""], np.str_)
    by_class = of_class[truth.defects.label]
    if "severity" not in truth.defects.attribute:
        return by_class
    own = _text(truth.defects.attribute["severity"])
    return np.where(own == "", by_class, own)


def long_side(truth: Dataset) -> Floats:
    """(G,) the long side of each defect's box, in the dataset's unit (px where it has no scale).

    >>> from defect_detect.evaluation import example
    >>> long_side(example.truth()).tolist()
    [40.0, 20.0, 20.0]
    """
    box = truth.defects.box
    longest: Floats = (box[:, 2:] - box[:, :2]).max(axis=1, initial=0)
    return longest / (truth.scale or 1.0)


def size_names(edges: Sequence[float], unit: str) -> tuple[str, ...]:
    """The names of the size bins, from the smallest up: COCO's without `edges`.

    >>> size_names((2, 5), "mm")
    ('under 2 mm', '2 to 5 mm', '5 mm and over')
    """
    if not edges:
        return COCO_SIZES
    between = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)]
    return (f"under {edges[0]:g} {unit}", *between, f"{edges[-1]:g} {unit} and over")


def size_bin(truth: Dataset, edges: Sequence[float] = ()) -> Column:
    """(G,) str: COCO's bins of area (small, medium, large), or bins of the long side between ascending `edges`.

    An edge belongs to the bin above it. Edges are in the dataset's unit, px where it has no scale.
    """
    if not edges:
        area = truth.defects.area
        return np.select([area < SMALL, area < MEDIUM], list(COCO_SIZES[:2]), COCO_SIZES[2])
    names = np.array(size_names(edges, truth.unit if truth.scale else "px"), np.str_)
    return names[np.searchsorted(np.asarray(edges, np.float64), long_side(truth), side="right")]


def parts(truth: Dataset, edges: Sequence[float] = ()) -> Iterator[Part]:
    """Every part that figures are told for: classes, sizes, severities, then the user's attributes.

    Classes, sizes and severities are listed where a defect counts in them; so are attributes of defects of 2 to
    12 values. Attributes of pictures are listed with every value that a picture has: alarms need no defect.

    >>> from defect_detect.evaluation import example
    >>> [(part.by, part.value) for part in parts(example.truth())]
    [('class', 'crack'), ('class', 'pit'), ('size', 'small')]
    """
    defects = truth.defects
    names = np.array([category.name for category in truth.categories] or [""], np.str_)
    own: dict[str, Column] = {"class": names[defects.label], "size": size_bin(truth, edges)}
    own["severity"] = severity(truth)
    own |= {name: _text(column) for name, column in defects.attribute.items() if name not in own}
    sizes = size_names(edges, truth.unit if truth.scale else "px")
    order = {"size": sizes, "severity": ("critical", "major", "minor")}
    for name, column in own.items():
        values = [value for value in np.unique(column[defects.counts]).tolist() if value]
        ranked = [value for value in order.get(name, ()) if value in values]
        values = ranked + [value for value in values if value not in ranked]
        if name not in ("class", "size", "severity") and not 1 < len(values) <= MANY:
            continue
        for value in values:
            label = names.tolist().index(value) if name == "class" else None
            yield Part(by=name, value=value, defects=defects.counts & (column == value), label=label)
    for name, raw in truth.images.attribute.items():
        column = _text(raw)
        values = [value for value in np.unique(column).tolist() if value]
        if name in own or not 1 < len(values) <= MANY:
            continue
        for value in values:
            images: Bools = column == value
            yield Part(by=name, value=value, defects=defects.counts & images[defects.image], images=images)


def _text(column: Column) -> Column:
    # A column of numbers has NaN where a row has none.
    nothing = [value is None or value != value for value in column.tolist()]  # noqa: PLR0124
    return np.array(["" if none else str(value) for value, none in zip(column.tolist(), nothing, strict=True)], np.str_)
