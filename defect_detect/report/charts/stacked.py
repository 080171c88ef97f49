"""Counts of a detector one after the other in a bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from defect_detect.report.palette import ink_on

_ROOM_FOR_A_COUNT = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a stacked bar, in percent; `text` is empty where it would not fit."""

    name: str
    count: int
    left: float
    width: float
    colour: str
    ink: str
    text: str


def stacked(counts: Mapping[str, int], order: Sequence[str], colour: Callable[[str], str], most: int) -> list[Part]:
    """The counts one after the other, `most` being the whole width; unknown names come last."""
    names = [*order, *sorted(set(counts) - set(order))]
    parts, left = [], 0.0
    for name in names:
        n = counts.get(name, 0)
        if n == 0:
            continue
        width = 100 * n / most
        fill = colour(name)
        parts.append(
            Part(
                name=name,
                count=n,
                left=round(left, 3),
                width=round(width, 3),
                colour=fill,
                ink=ink_on(fill),
                text=f"{n:,}" if width >= _ROOM_FOR_A_COUNT else "",
            )
        )
        left += width
    return parts
