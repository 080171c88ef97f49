"""How far an annotation reaches, before anything about it is trusted; and whole files in another convention."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from defect_detect.data.repairs import Log

Span = tuple[float, float, float, float]
_SLACK = 2.0
_SHARE = 0.3
_FITS = 0.95
_SIDES = 4


def numbers(bbox: Any) -> Span | None:
    """The four finite numbers of a `bbox`, or None."""
    if not isinstance(bbox, list) or len(bbox) != _SIDES:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in bbox):
        return None
    if any(not math.isfinite(value) or abs(value) > 2**53 for value in bbox):
        return None
    x, y, width, height = (float(value) for value in bbox)
    return x, y, width, height


def span(raw: Mapping[str, Any]) -> Span | None:
    """x0 y0 x1 y1 of the annotation's box, or None without a usable one."""
    found = numbers(raw.get("bbox"))
    if found is None:
        return None
    x, y, width, height = found
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def check_convention(name: str, boxes: Iterable[tuple[Span, int, int]], log: Log) -> None:
    """Refuse a file whose boxes are corners or shares of the picture instead of x y width height px.

    Told over the whole file, never box by box. `boxes`: numbers, picture's width and height.
    """
    listed = list(boxes)
    if not listed:
        return
    if all(max(map(abs, found)) <= 1 for found, _, _ in listed) and any(
        not value.is_integer() for found, _, _ in listed for value in found
    ):
        log.refused(
            f"{name}: annotations[].bbox", expected="x y width height in px",
            found="numbers between 0 and 1 in every box: shares of the picture's width and height",
            fix="Multiply them by the picture's size.",
        )  # fmt: skip
        return
    past = sum(x + w > W + _SLACK or y + h > H + _SLACK for (x, y, w, h), W, H in listed)
    corners = sum(x < w <= W + _SLACK and y < h <= H + _SLACK for (x, y, w, h), W, H in listed)
    if past >= _SHARE * len(listed) and corners >= _FITS * len(listed):
        log.refused(
            f"{name}: annotations[].bbox", expected="x y width height in px",
            found=f"boxes that look like corners x0 y0 x1 y1: {past} of {len(listed)} pass the edge, as corners none",
            fix="Convert them: width = x1 - x0, height = y1 - y0.",
        )  # fmt: skip
