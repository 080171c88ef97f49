"""A place in a picture, cut out with what is around it, and what to draw on it.

`cut` and `uri` give the pixels, `Panel` what lies on them; the template draws it as SVG over the
pixels, so outlines stay crisp at any size and the pixels stay as the detector saw them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defect_detect.data import pixels
from defect_detect.tables import Bools, Dataset, Floats

_CONTEXT = 2.5
_SMALLEST_SIDE = 40.0
_STRETCH = 1.6
_LARGEST_SHOWN = 360
_LOSSLESS_BYTES = 60_000
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A cut-out: (H, W, 3) uint8 RGB, whose top left corner lies at `x`, `y` px of the picture."""

    pixels: NDArray[np.uint8]
    x: int
    y: int

    @property
    def width(self) -> int:
        """Px of the picture."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Px of the picture."""
        return int(self.pixels.shape[0])


def window(box: Floats, size: tuple[int, int], include: Sequence[Floats] = ()) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 px around `box`: 2.5 times its long side, at least 40 px, moved to lie inside the picture.

    Args:
        box: (4,) x0 y0 x1 y1 px.
        size: width and height of the picture in px.
        include: boxes to show as well; the window grows for them by at most 1.6.
    """
    centre = (box[:2] + box[2:]) / 2
    side = max(_CONTEXT * float(np.max(box[2:] - box[:2])), _SMALLEST_SIDE)
    reach = max((float(np.max(np.abs(other.reshape(2, 2) - centre))) for other in include), default=0.0)
    side = min(max(side, 2.2 * reach), _STRETCH * side)
    ends = []
    for axis in (0, 1):
        length = min(round(side), size[axis])
        start = min(max(round(float(centre[axis]) - length / 2), 0), size[axis] - length)
        ends.append((start, start + length))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def cut(truth: Dataset, image: int, box: Floats, include: Sequence[Floats] = ()) -> Crop:
    """The place around `box` in row `image` of the pictures.

    Raises:
        DatasetError: the picture can't be read.
    """
    whole = pixels.read(truth.root / truth.images.file[image])
    x0, y0, x1, y1 = window(box, (whole.shape[1], whole.shape[0]), include)
    return Crop(pixels=whole[y0:y1, x0:x1], x=x0, y=y0)


def uri(crop: Crop) -> str:
    """The cut-out as a `data:` address: lossless where that is small, long side at most 360 px."""
    from PIL import Image

    grey = bool((crop.pixels == crop.pixels[:, :, :1]).all())
    picture = Image.fromarray(np.ascontiguousarray(crop.pixels[:, :, 0] if grey else crop.pixels))
    picture.thumbnail((_LARGEST_SHOWN, _LARGEST_SHOWN), Image.Resampling.LANCZOS)
    kind, data = "png", _encoded(picture, "PNG", optimize=True)
    if len(data) > _LOSSLESS_BYTES:
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: object, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)  # type: ignore[attr-defined]
    return buffer.getvalue()


def outline(mask: Bools) -> str:
    """The edge of a (H, W) mask as an SVG path along pixel borders: one stroke for each straight run."""
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]  # borders between rows y - 1 and y
    down = padded[1:-1, 1:] != padded[1:-1, :-1]
    strokes = [f"M{start} {y}H{end}" for y, line in enumerate(across) for start, end in _runs(line)]
    strokes += [f"M{x} {start}V{end}" for x, line in enumerate(down.T) for start, end in _runs(line)]
    return "".join(strokes)


def _runs(line: Bools) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], line, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
