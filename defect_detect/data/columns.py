"""The user's own fields, as table columns and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from defect_detect.tables import Column


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Scalars by name as columns of one type: bool, int, float (absent: NaN) or str (absent: empty)."""
    names = sorted({name for row in rows for name in row})
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> Column:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, np.bool_)
    if kinds == {int} and all(abs(value) < 2**63 for value in values):
        return np.array(values, np.int64)
    if kinds <= {int, float, type(None)}:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.array(["" if value is None else str(value) for value in values], np.str_)


def rows(attribute: Mapping[str, Column], count: int) -> list[dict[str, Any]]:
    """Each row's values by name, absent ones left out; the inverse of `columns`."""
    listed = {name: column.tolist() for name, column in attribute.items()}
    return [{name: values[row] for name, values in listed.items() if not _absent(values[row])} for row in range(count)]


def _absent(value: object) -> bool:
    return value == "" or value != value  # noqa: PLR0124 - NaN alone differs from itself
