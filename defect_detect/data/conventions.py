"""What the four numbers of a file's boxes mean: told over the whole file, never box by box.

COCO says x y width height in px. Exporters also leave corners, centres, or shares of the picture's size.
Another reading is taken only where the plain one is impossible, the other fits nearly every box, no third
does, and there are boxes enough to tell; where that is unclear, the file is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.data.repairs import Log
from defect_detect.data.spans import Span
from defect_detect.tables import Bools, Column, Floats

_SLACK = 2.0
"""px by which a box may pass the edge and still be called inside."""
_SHARE_SLACK = 0.005
_PAST = 0.3
_SOME_PAST = 0.05
_FITS = 0.99
_TOGETHER = 1 << 15
_ENOUGH = 20
"""Boxes that can tell; of fewer, all may fit by chance."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A meaning of four numbers; `shares` if they are parts of the picture's size."""

    name: str
    xywh: Callable[[Floats], Floats]
    shares: bool = False

    def one(self, box: Span, width: int, height: int) -> Span:
        """One box as x y width height px."""
        scale = np.array([width, height, width, height], float) if self.shares else 1.0
        x, y, w, h = (self.xywh(np.array([box])) * scale)[0].tolist()
        return x, y, w, h


def _corners(box: Floats) -> Floats:
    return np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)


def _centre(box: Floats) -> Floats:
    return np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, 2:]], axis=1)


PLAIN = Reading("x y width height", lambda box: box)
_OTHERS = (Reading("corners x0 y0 x1 y1", _corners), Reading("centre x y, width height", _centre))
_SHARES = tuple(
    Reading(f"{each.name}, as shares of the picture's size", each.xywh, shares=True) for each in (PLAIN, *_OTHERS)
)
READINGS = (PLAIN, *_OTHERS, *_SHARES)


def tell(name: str, boxes: Sequence[tuple[Span, int, int]], log: Log) -> Reading | None:
    """How to read the boxes of the file `name`; None if it was refused for them.

    `boxes`: four numbers, and the picture's width and height px, of annotations without a region.
    """
    box = np.array([found for found, _, _ in boxes]).reshape(-1, 4)
    size = np.array([(width, height) for _, width, height in boxes], float).reshape(-1, 2)
    return of_columns(name, box, size, log)


def of_columns(name: str, box: Floats, size: Column, log: Log) -> Reading | None:
    """`tell` of (N, 4) numbers and (N, 2) widths and heights."""
    if not len(box):
        return PLAIN
    if box.min() >= -1 and box.max() <= 1 and np.any(box != np.round(box)):
        fitting = [each for each in _SHARES if _share(each, box, np.ones_like(size), _SHARE_SLACK) >= _FITS]
        found = "numbers between 0 and 1 in every box: shares of the picture's width and height"
        return _decide(name, fitting, len(box), found=found, fix="Multiply them by the picture's size.", log=log)
    past = 1 - _share(PLAIN, box, size, _SLACK, wide=False)
    if past < _SOME_PAST:
        return PLAIN
    fitting = [each for each in _OTHERS if _share(each, box, size, _SLACK) >= _FITS]
    # Boxes of another convention that mostly lie near the top left pass the edge more seldom.
    if not fitting or (past < _PAST and len(box) < _ENOUGH):
        return PLAIN
    listed = " or ".join(each.name for each in fitting)
    found = f"boxes that look like {listed}: {past:.0%} of {len(box)} pass the edge, so read hardly any"
    doubt = "" if past >= _PAST else "; but most would do as they are"
    fix = "Convert them to x y width height at their source."
    return _decide(name, fitting, len(box), found=found, fix=fix, log=log, doubt=doubt)


def _decide(
    name: str, fitting: Sequence[Reading], count: int, *, found: str, fix: str, log: Log, doubt: str = ""
) -> Reading | None:  # fmt: skip
    where = f"{name}: annotations[].bbox"
    if not fitting:
        doubt = "; but of no order that would fit"
    elif len(fitting) > 1:
        doubt = f"; which of {len(fitting)} orders is unclear ({' or '.join(each.name for each in fitting)})"
    elif count < _ENOUGH:
        doubt = f"; {count} are too few to be sure"
    if doubt:
        log.refused(where, expected="x y width height in px", found=found + doubt, fix=fix)
        return None
    log.noted(where, f"boxes that are {fitting[0].name}", found)
    return fitting[0]


def _share(reading: Reading, box: Floats, size: Column, slack: float, *, wide: bool = True) -> float:
    """Of N boxes, the share that fits."""
    blocks = (slice(start, start + _TOGETHER) for start in range(0, len(box), _TOGETHER))
    return sum(int(_fits(reading, box[some], size[some], slack, wide=wide).sum()) for some in blocks) / len(box)


def _fits(reading: Reading, box: Floats, size: Column, slack: float, *, wide: bool = True) -> Bools:
    """(N,) bool: the box as read lies in the picture; if `wide`, it has width and height too."""
    x, y, w, h = reading.xywh(box).T
    width, height = (size + slack).T
    inside: Bools = (x >= -slack) & (y >= -slack) & (x + w <= width) & (y + h <= height)
    if wide:
        inside &= (w > 0) & (h > 0)
    return inside


def by_regions(pairs: Sequence[tuple[Span, Span, int, int]]) -> Reading | None:
    """The one reading by which boxes lie around their regions; None if there is none, or several.

    `pairs`: four numbers, the region's x0 y0 x1 y1 px, the picture's width and height.
    """
    if len(pairs) < _ENOUGH:
        return None
    box = np.array([numbers for numbers, _, _, _ in pairs])
    around = np.array([region for _, region, _, _ in pairs])
    size = np.array([(width, height, width, height) for _, _, width, height in pairs], float)
    fitting = []
    for reading in READINGS:
        xywh = reading.xywh(box) * (size if reading.shares else 1.0)
        off = np.abs(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1) - around).max(axis=1)
        if (off <= _SLACK + 0.02 * size.max(axis=1)).mean() >= _FITS:
            fitting.append(reading)
    return fitting[0] if len(fitting) == 1 else None
