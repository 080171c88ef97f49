"""The one way pictures are decoded: every detector is shown the same array.

Decoders disagree: PIL turns pictures by their EXIF orientation where OpenCV's flag decides, PIL
saturates 16-bit greys that OpenCV scales, a cut-off JPEG is an error in PIL and None in OpenCV.
So normalization re-encodes whatever is not *plain* (8-bit grey or RGB, upright, one page, whole),
and everything after it reads pictures through `read`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defect_detect.errors import DatasetError, Fault

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

DECODE_POLICY = "pillow; 8-bit RGB; EXIF applied; 16-bit scaled by 1/257; alpha dropped; first page"
MAX_PIXELS = 300_000_000
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a picture's header says; width and height in px as shown, after EXIF orientation.

    stored  width and height in px before EXIF orientation
    plain   8-bit grey or RGB, upright, one page, whole: decoders agree on it
    """

    width: int
    height: int
    stored: tuple[int, int]
    plain: bool


def header(path: Path) -> Header:
    """Read the header alone.

    Raises:
        DatasetError: not a picture, or one of more than MAX_PIXELS.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            upright = picture.getexif().get(_ORIENTATION, 1) in (0, 1)
            pages = getattr(picture, "n_frames", 1)
            plain = picture.mode in ("L", "RGB") and upright and pages == 1 and picture.format in _FORMATS
            plain = plain and not _deep(picture)
            if picture.format == "JPEG":
                plain = plain and _ends_well(path)
    except UnidentifiedImageError:
        raise DatasetError(_fault(path, "not one")) from None
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise DatasetError(_fault(path, str(error))) from error
    if width * height > MAX_PIXELS:
        raise DatasetError(_fault(path, f"{width} x {height} px, more than {MAX_PIXELS:,} in all"))
    shown = (height, width) if turned else (width, height)
    return Header(width=shown[0], height=shown[1], stored=(width, height), plain=plain)


def read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB by DECODE_POLICY.

    Raises:
        DatasetError: the file is missing, not a picture, or cut off.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DatasetError(_fault(path, f"more than {MAX_PIXELS:,} px"))
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I") or upright.mode == "F":
                deep = np.asarray(upright, np.float64)
                grey = np.clip(np.round(deep / 257), 0, 255).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            if upright.mode in ("LA", "RGBA", "PA") or "transparency" in upright.info:
                # Straight to RGB, PIL warns about palettes with alpha and may blend greys with it.
                upright = upright.convert("RGBA")
            return np.array(upright.convert("RGB"))
    except UnidentifiedImageError:
        raise DatasetError(_fault(path, "not one")) from None
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise DatasetError(_fault(path, str(error))) from error


_FORMATS = frozenset({"JPEG", "PNG", "BMP"})
# What PIL's decoders are known to raise on damaged files, beyond what they document.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError,
           struct.error, zlib.error)  # fmt: skip


def _deep(picture: ImageFile) -> bool:
    """Whether an 8-bit mode hides 16-bit data: a 16-bit RGB PNG, of which decoders round differently."""
    return any("16" in str(tile[-1]) for tile in picture.tile)


def _ends_well(path: Path) -> bool:
    """Whether a JPEG ends with its end marker; ultralytics rewrites those that don't, in place."""
    with path.open("rb") as file:
        file.seek(-2, 2)
        return file.read() == b"\xff\xd9"


def _fault(path: Path, found: str) -> Fault:
    return Fault(where=str(path), expected="a readable picture", found=found)
