"""Masks that are stored as a small picture, and laid into the big one."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from typing import Any

import numpy as np

from defect_detect.data import pixels
from defect_detect.data.formats.found import Size, rle
from defect_detect.data.runlengths import MalformedError
from defect_detect.tables import Bools

_MOST_BYTES = 100_000_000


def unpacked(text: Any, *, deflated: bool) -> Bools:
    """(H, W) bool, the mask in a PNG that is base64 text: its alpha where it has one that says anything, else its grey.

    Raises:
        MalformedError: it isn't that.
    """
    from PIL import Image

    try:
        raw = base64.b64decode(text, validate=True)
        if deflated:
            raw = zlib.decompressobj().decompress(raw, _MOST_BYTES)
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as picture:
            _check_size(picture.width * picture.height)
            alpha = np.asarray(picture.convert("RGBA"))[:, :, 3]
            grey = np.asarray(picture.convert("L"))
    except (
        TypeError,
        ValueError,
        OSError,
        SyntaxError,
        zlib.error,
        binascii.Error,
        Image.DecompressionBombError,
    ) as error:
        raise MalformedError(f"a mask that is no PNG in base64 ({str(error)[:60]})") from None
    mask: Bools = alpha > 0 if alpha.min() < np.iinfo(np.uint8).max else grey > 0
    return mask


def _check_size(count: int) -> None:
    if count > pixels.MAX_PIXELS:
        raise MalformedError(f"a mask of {count:,} px")


def laid(part: Bools, x: int, y: int, size: Size) -> dict[str, Any]:
    """COCO's run lengths of a picture of `size` (width, height) with `part` at x, y (its top left), cut at the edge.

    Raises:
        MalformedError: the picture is said to be larger than any.
    """
    width, height = size
    _check_size(width * height)
    whole = np.zeros((height, width), np.bool_)
    inside = part[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    whole[max(y, 0) : max(y, 0) + inside.shape[0], max(x, 0) : max(x, 0) + inside.shape[1]] = inside
    return rle(whole)


def from_rows(runs: list[int], width: int, height: int) -> Bools:
    """(height, width) bool from runs along the rows, starting with background.

    Raises:
        MalformedError: they don't fill it.
    """
    if width * height > pixels.MAX_PIXELS or min(runs, default=0) < 0 or sum(runs) != width * height:
        raise MalformedError(f"runs that don't fill {width} x {height} px")
    mask: Bools = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return mask
