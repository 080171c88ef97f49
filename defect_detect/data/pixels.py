"""The one way pictures are decoded: every detector is shown the same array.

Decoders disagree: PIL turns pictures by their EXIF orientation where OpenCV's flag decides, PIL
saturates 16-bit greys that OpenCV scales, a cut-off JPEG is an error in PIL and None in OpenCV.
So normalization re-encodes whatever is not *plain* (8-bit grey or RGB, upright, one page, whole),
and everything after it reads pictures through `read`.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
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
_TOO_MANY = "too many pixels"
_ORIENTATION = 0x0112
_SMALL = 10
_READ = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
"""PIL would also run Ghostscript on a PostScript file that is called .jpg."""
_AGREED = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",)}
"""Formats that every framework reads, and the endings by which they find them."""
_DEPTHS = {"1": "1-bit", "P": "palette", "PA": "palette", "LA": "alpha", "La": "alpha", "RGBA": "alpha",
           "RGBa": "alpha", "CMYK": "CMYK", "F": "float", "LAB": "Lab", "HSV": "HSV", "YCbCr": "YCbCr"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a picture's header says; width and height in px as shown, after EXIF orientation.

    stored  width and height in px before EXIF orientation
    unlike  why decoders don't agree on it (16-bit, CMYK, EXIF orientation, ...), or ``
    remark  what is odd but harmless, or ``
    """

    width: int
    height: int
    stored: tuple[int, int]
    unlike: str
    remark: str = ""

    @property
    def plain(self) -> bool:
        """8-bit grey or RGB, upright, one page, whole: decoders agree on it."""
        return not self.unlike


def header(path: Path) -> Header:
    """Read the header alone.

    Raises:
        DatasetError: not a picture, or one of more than MAX_PIXELS.
    """
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(_ORIENTATION, 1)
        unlike = "; ".join(_unlike(path, picture, turned))
        remark = "; ".join(_remarks(path, picture))
    shown = (height, width) if turned in (5, 6, 7, 8) else (width, height)
    return Header(width=shown[0], height=shown[1], stored=(width, height), unlike=unlike, remark=remark)


def read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB by DECODE_POLICY.

    Raises:
        DatasetError: the file is missing, not a picture, or cut off.
    """
    from PIL import ImageOps

    with _opened(path) as picture:
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I") or picture.mode == "F":
            deep = np.asarray(picture, np.float64)
            grey = np.clip(np.round(deep / 257), 0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
            # Straight to RGB, PIL warns about palettes with alpha and may blend greys with it.
            return np.array(picture.convert("RGBA").convert("RGB"))
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


# What PIL's decoders are known to raise on damaged files, beyond what they document.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError,
           AttributeError, AssertionError, RuntimeError, struct.error, zlib.error)  # fmt: skip


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """The picture, not decoded yet, and what is wrong with it told.

    Raises:
        DatasetError: not a picture, cut off, or one of more than MAX_PIXELS.
    """
    from PIL import Image, UnidentifiedImageError

    # PIL's own limit is lower, and half of it already a warning; ours is checked before anything is decoded.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, MAX_PIXELS)
    try:
        with Image.open(path, formats=_READ) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                found = f"{_TOO_MANY} ({picture.width} x {picture.height}, more than {MAX_PIXELS:,} in all)"
                raise DatasetError(_fault(path, found))
            yield picture
    except UnidentifiedImageError:
        raise DatasetError(_fault(path, _what_instead(path))) from None
    except Image.DecompressionBombError as error:
        raise DatasetError(_fault(path, f"{_TOO_MANY} ({error})")) from None
    except _BROKEN as error:
        raise DatasetError(_fault(path, str(error) or type(error).__name__)) from error


def _unlike(path: Path, picture: ImageFile, turned: int) -> list[str]:
    """All reasons why decoders would show different arrays."""
    found: list[str] = []
    if turned not in (0, 1):
        found.append(f"EXIF orientation {turned}")
    if picture.mode.startswith("I") or _deep(picture):
        found.append("16-bit" if "16" in picture.mode or _deep(picture) else "32-bit")
    elif picture.mode not in ("L", "RGB"):
        found.append(_DEPTHS.get(picture.mode, picture.mode))
    elif "transparency" in picture.info:
        found.append("alpha")
    pages = getattr(picture, "n_frames", 1)
    if pages > 1:
        found.append("several pages")
    if picture.format not in _AGREED:
        found.append(str(picture.format))
    elif path.suffix.lower() not in {suffix for suffixes in _AGREED.values() for suffix in suffixes}:
        found.append(f"{picture.format} called {path.suffix or 'without an ending'}")
    if picture.format == "JPEG" and not _ends_well(path):
        found.append("JPEG without its end marker")
    return found


def _remarks(path: Path, picture: ImageFile) -> list[str]:
    found: list[str] = []
    suffix = path.suffix.lower()
    if picture.format in _AGREED and suffix not in _AGREED[picture.format]:
        found.append(f"{picture.format} called {suffix}")
    if min(picture.size) < _SMALL:
        # ultralytics/data/utils.py, verify_image: "image size ... <10 pixels"
        found.append(f"under {_SMALL} px, which ultralytics leaves out")
    return found


def _deep(picture: ImageFile) -> bool:
    """Whether an 8-bit mode hides 16-bit data: a 16-bit RGB PNG, of which decoders round differently."""
    return any("16" in str(tile[-1]) for tile in picture.tile)


def _ends_well(path: Path) -> bool:
    """Whether a JPEG ends with its end marker; ultralytics rewrites those that don't, in place."""
    with path.open("rb") as file:
        file.seek(-2, 2)
        return file.read() == b"\xff\xd9"


def _what_instead(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        return "an empty file"
    if start.startswith(b"\x00\x05\x16\x07"):
        return "an AppleDouble file"
    if start[:5].lower() in (b"<html", b"<!doc"):
        return "an HTML page"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the picture was not downloaded"
    return "not one"


def _fault(path: Path, found: str) -> Fault:
    return Fault(where=str(path), expected="a readable picture", found=found)
