"""COCO's run lengths, checked in Python: nothing native sees them before they are known to be sound.

pycocotools 2.0.11 returns uninitialised memory for run lengths that are too short, and ends the process
on others (cocoapi#202, #380).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from defect_detect.data.identity import key
from defect_detect.tables import Ints, Rle

MAX_PIXELS = 300_000_000
MAX_RUNS = 10_000_000
"""In one mask."""
_ASCII_START, _ASCII_END = 48, 48 + 64
_MAX_CHARACTERS = 13  # of one run length: 13 x 5 bits hold any 64-bit number
_BYTES_LITERAL = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_AGREE = 0.5
Span = tuple[float, float, float, float]


class MalformedError(ValueError):
    """A segmentation that is no region: what `kind` of fault it has, and more on this one in `detail`."""

    def __init__(self, kind: str, detail: str = "") -> None:
        self.kind = kind
        super().__init__(f"{kind} ({detail})" if detail else kind)


def decode_counts(counts: bytes) -> list[int]:
    """Run lengths of COCO's compressed form.

    Six bits a character from '0': five of data, low ones first, the sixth says that more follow. From
    the fourth run on, differences to the run two before (pycocotools' maskApi.c, rleFrString).

    Raises:
        MalformedError: a character that can't be, or a number that is cut off.
    """
    runs: list[int] = []
    at = 0
    while at < len(counts):
        value = shift = 0
        for _ in range(_MAX_CHARACTERS):
            if at == len(counts) or not _ASCII_START <= counts[at] < _ASCII_END:
                raise MalformedError("compressed run lengths that break off", f"at character {at}")
            digit = counts[at] - _ASCII_START
            value |= (digit & 0x1F) << shift
            shift += 5
            at += 1
            if not digit & 0x20:
                if digit & 0x10:
                    value |= -1 << shift
                break
        else:
            raise MalformedError("a run length of too many characters", f"more than {_MAX_CHARACTERS}")
        runs.append(value + runs[-2] if len(runs) > 2 else value)  # noqa: PLR2004 - maskApi.c counts from 0
    return runs


def encode_counts(runs: Sequence[int]) -> bytes:
    """The compressed form of run lengths; the inverse of `decode_counts`."""
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run  # noqa: PLR2004 - maskApi.c counts from 0
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != -1 if digit & 0x10 else value != 0
            text.append(_ASCII_START + (digit | 0x20 if more else digit))
    return bytes(text)


def read(
    segmentation: dict[str, Any], width: int, height: int, repairs: list[str], *, empty: bool, box: Span | None
) -> Rle:  # fmt: skip
    """The mask over a picture of `width` x `height` px.

    Some exporters run along rows, or give the size as width and height. `box` (x0 y0 x1 y1 px, where the
    annotation has one) tells which: the runs are turned if only so they lie in it.

    Raises:
        MalformedError: it has no unique meaning. `empty` allows a mask without a pixel.
    """
    if width * height > MAX_PIXELS:
        raise MalformedError("run lengths over a picture that is too large")
    turned = _check_size(segmentation.get("size"), width, height, repairs)
    runs = _merged(_runs(segmentation.get("counts"), width, height, repairs))
    if sum(runs) != width * height:
        raise MalformedError("run lengths that don't add up", f"{sum(runs)} pixels of {width * height}")
    if len(runs) < 2:  # noqa: PLR2004 - background and foreground
        if not empty:
            raise MalformedError("run lengths without a single pixel")
    elif box is not None and width > 1 and height > 1:
        runs = _upright(runs, width, height, box, repairs, turned=turned)
    elif turned:
        raise MalformedError("run lengths over the turned picture, and no box to tell how", f"[{width}, {height}]")
    return Rle(height=height, width=width, counts=encode_counts(runs))


def _check_size(size: Any, width: int, height: int, repairs: list[str]) -> bool:
    """Whether the size is that of the turned picture."""
    if size is None:
        repairs.append("run lengths without their size")
        return False
    sides = [key(side) for side in size] if isinstance(size, list) else []
    if sides == [height, width]:
        if size != sides or any(not isinstance(side, int) for side in size):
            repairs.append("size of run lengths as text or float")
        return False
    if sides == [width, height]:
        return True
    detail = f"[height, width] {str(size)[:60]}, but the picture is [{height}, {width}]"
    raise MalformedError("run lengths over another size", detail)


def _runs(counts: Any, width: int, height: int, repairs: list[str]) -> list[int]:
    most = min(MAX_RUNS, 2 * width * height + 2)
    if isinstance(counts, str):
        if len(counts) > _MAX_CHARACTERS * most:
            raise MalformedError("compressed run lengths that are endless", f"{len(counts):,} characters")
        if _BYTES_LITERAL.fullmatch(counts):
            counts = _literal(counts)
            repairs.append("run lengths as Python writes bytes")
        try:
            runs = decode_counts(counts.encode("ascii"))
        except UnicodeEncodeError:
            raise MalformedError("compressed run lengths with characters that are not ASCII") from None
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise MalformedError("run lengths that are neither a string nor a list of whole numbers")
    if len(runs) > most:
        raise MalformedError("more run lengths than pixels", f"{len(runs):,} for {width * height:,}")
    if any(run < 0 for run in runs):
        raise MalformedError("a negative run length")
    return runs


def _literal(text: str) -> str:
    """What `b'...'` stands for; no compressed run lengths can look so, they have no quotes."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, bytes):
        raise MalformedError("run lengths that look like Python's bytes, but are not")
    return value.decode("latin-1")


def _merged(runs: list[int]) -> list[int]:
    """The same mask without runs of 0 (other than the first), so equal masks have equal bytes."""
    if all(runs[1:]):
        return runs
    merged = [runs[0]]
    colour = 0
    for index, run in enumerate(runs[1:], start=1):
        if not run:
            continue
        if index % 2 == colour:
            merged[-1] += run
        else:
            merged.append(run)
            colour = index % 2
    return merged


def _upright(
    runs: list[int], width: int, height: int, box: Span, repairs: list[str], *, turned: bool
) -> list[int]:  # fmt: skip
    """The runs down the columns, of which only one reading may lie in the box."""
    by_columns = _agree(_around(runs, height), box)
    if by_columns and not turned:
        return runs
    x0, y0, x1, y1 = _around(runs, width)
    by_rows = _agree((y0, x0, y1, x1), box)
    if by_columns and not by_rows:
        repairs.append("size of run lengths turned")
        return runs
    if by_rows and not by_columns:
        repairs.append("run lengths along rows")
        return _transposed(runs, width, height)
    if turned:
        what = "run lengths over the turned picture, and a box that doesn't tell how"
        raise MalformedError(what, f"[{width}, {height}]")
    return runs


def _around(runs: list[int], column: int) -> Span:
    """x0 y0 x1 y1 around the mask whose columns are `column` px long."""
    ends = np.cumsum(np.array(runs, np.int64))
    first, last = ends[0 : len(ends) - 1 : 2], ends[1::2] - 1
    x0, x1 = int(first[0]) // column, int(last[-1]) // column + 1
    if np.any(first // column != last // column):
        return x0, 0, x1, column
    return x0, float(np.min(first % column)), x1, float(np.max(last % column)) + 1


def _agree(a: Span, b: Span) -> bool:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared > _AGREE * union


def _transposed(runs: list[int], width: int, height: int) -> list[int]:
    """The runs down the columns of the mask whose runs along the rows are `runs`."""
    colours = np.arange(len(runs)) % 2 == 1
    mask = np.repeat(colours, runs).reshape(height, width)
    return runs_of(mask)


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns of an (H, W) bool mask, starting with background."""
    flat = mask.reshape(-1, order="F")
    changes: Ints = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [len(flat)]])
    lengths: list[int] = np.diff(edges).tolist()
    return [0, *lengths] if flat[0] else lengths
