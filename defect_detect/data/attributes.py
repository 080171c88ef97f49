"""The user's own fields of an image or annotation: line, camera, lot, occluded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from defect_detect.data.identity import clean
from defect_detect.data.records import Scalar

_LARGEST = 2**63


def scalars(raw: Mapping[str, Any], known: Collection[str], *, nested_only: bool = False) -> dict[str, Scalar]:
    """Fields that hold one value each, those of a nested `attributes` mapping (CVAT's way) included.

    `known` names the fields with a meaning of their own. `nested_only` for entries that this package
    wrote: their flat fields all have one.
    """
    nested = raw.get("attributes")
    flat = {} if nested_only else {name: value for name, value in raw.items() if name not in known}
    fields = {**(nested if isinstance(nested, dict) else {}), **flat}
    return {clean(name): _scalar(value) for name, value in sorted(fields.items()) if _is_scalar(value)}


def dropped(raw: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Names of fields that hold more than one value, which no table column can."""
    return [name for name, value in raw.items() if name not in known and isinstance(value, list | dict) and value]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and value != "" and value == value  # noqa: PLR0124 - not NaN


def _scalar(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return str(value)
    return value if value not in (float("inf"), float("-inf")) else str(value)
