"""The parts of the defects that FN rates are also told for: class, size, severity, attributes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from defect_detect.tables import Bools, Column, Dataset

SMALL, MEDIUM = 32.0**2, 96.0**2
"""COCO's size bins, px^2 of the annotation's area."""
MANY = 12
"""An attribute of more values is no slicing, it is a name or a number."""


def severity(truth: Dataset) -> Column:
    """(G,) str: the defect's own severity where it has one, else its class's; empty where there is neither."""
    of_class = np.array([category.severity or "" for category in truth.categories] or [""], np.str_)
    by_class = of_class[truth.defects.label]
    if "severity" not in truth.defects.attribute:
        return by_class
    own = _text(truth.defects.attribute["severity"])
    return np.where(own == "", by_class, own)


def size_bin(truth: Dataset) -> Column:
    """(G,) str: small | medium | large by COCO's bins of area."""
    area = truth.defects.area
    return np.select([area < SMALL, area < MEDIUM], ["small", "medium"], "large")


def slices(truth: Dataset) -> Iterator[tuple[str, str, Bools]]:
    """What it is sliced by, the value, and (G,) bool the defects that count in it."""
    defects = truth.defects
    names = np.array([category.name for category in truth.categories] or [""], np.str_)
    columns: dict[str, Column] = {"class": names[defects.label], "size": size_bin(truth), "severity": severity(truth)}
    for name, column in defects.attribute.items():
        columns.setdefault(name, _text(column))
    for name, column in truth.images.attribute.items():
        columns.setdefault(name, _text(column)[defects.image])
    order = {"size": ("small", "medium", "large"), "severity": ("critical", "major", "minor")}
    for name, column in columns.items():
        values = [value for value in np.unique(column[defects.counts]).tolist() if value]
        ranked = [value for value in order.get(name, ()) if value in values]
        values = ranked + [value for value in values if value not in ranked]
        if name not in ("class", "size", "severity") and not 1 < len(values) <= MANY:
            continue
        for value in values:
            yield name, value, defects.counts & (column == value)


def _text(column: Column) -> Column:
    return np.array(["" if value is None else str(value) for value in column.tolist()], np.str_)
