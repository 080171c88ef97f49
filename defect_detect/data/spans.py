"""How far an annotation reaches, before anything about it is trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Span = tuple[float, float, float, float]
_SIDES = 4


def numbers(bbox: Any) -> Span | None:
    """The four finite numbers of a `bbox`, or None."""
    if not isinstance(bbox, list) or len(bbox) != _SIDES:
        return None
    for value in bbox:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**53) <= value <= 2**53:
            return None
    x, y, width, height = bbox
    return float(x), float(y), float(width), float(height)


def spelt(bbox: Any) -> Span | None:
    """The four finite numbers of a `bbox` that has some of them as text, or None."""
    if not isinstance(bbox, list) or len(bbox) != _SIDES or not any(isinstance(value, str) for value in bbox):
        return None
    return numbers([number(value) if isinstance(value, str) else value for value in bbox])


def number(text: str) -> float:
    """What a number written as text means; NaN where it is none."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def span(raw: Mapping[str, Any]) -> Span | None:
    """x0 y0 x1 y1 of the annotation's box, or None without a usable one."""
    found = numbers(raw.get("bbox"))
    if found is None:
        return None
    x, y, width, height = found
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def iou(a: Span, b: Span) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1; 0 where both are empty."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0
