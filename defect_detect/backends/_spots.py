"""Where a picture departs from its own background: the eyes of the `classical` baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from defect_detect.data import pixels
from defect_detect.tables import Bools, Floats

_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation times this is the standard deviation, for Gaussian noise."""


class Eye(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pictures are looked at."""

    image_size: int
    """Pictures with a longer side than this are shrunk to it, px; none is enlarged."""
    background: float
    """Standard deviation of the Gaussian that stands for the background, px."""
    blur: float
    """Standard deviation of the Gaussian that quiets the grain first, px."""
    threshold: float
    """In units of the picture's own noise."""
    least_noise: float
    """Grey levels: a quieter picture counts as this noisy."""
    least_area: float
    """px: smaller spots are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """S spots of one picture, brighter or darker than what surrounds them.

    label     (h, w) int32, 0 or spot number + 1, of the picture as shrunk
    width, height  of the picture in px, as it is on disk
    box       (S, 4) float64, x0 y0 x1 y1 px, of the picture as it is on disk
    strength  (S,) float64 > 0, mean contrast in units of noise, times the root of the area
    features  (S, 5) float64: log area, log length, log elongation, fill of the box, signed contrast
    noise     the picture's noise, grey levels
    """

    label: NDArray[np.int32]
    width: int
    height: int
    box: Floats
    strength: Floats
    features: Floats
    noise: float

    def __len__(self) -> int:
        return len(self.box)

    def mask(self, spot: int) -> Bools:
        """(height, width) bool of the picture as it is on disk."""
        small: Bools = self.label == spot + 1
        if small.shape == (self.height, self.width):
            return small
        return enlarge(small, self.width, self.height)


FEATURES = 5


def look(path: Path, eye: Eye) -> Spots:
    """The spots of the picture at `path`.

    Raises:
        DatasetError: it can't be read.
    """
    from scipy import ndimage

    picture = pixels.read(path)
    height, width = picture.shape[:2]
    grey = _grey(picture, eye.image_size)
    residual = ndimage.gaussian_filter(grey, eye.blur) - ndimage.gaussian_filter(grey, eye.background)
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(residual - np.median(residual))))
    z = residual / max(noise, eye.least_noise)
    dark, darks = _components(z < -eye.threshold)
    bright, _ = _components((z > eye.threshold) & (dark == 0))
    label = np.where(bright > 0, bright + darks, dark).astype(np.int32)
    return _measure(label, z, eye=eye, size=(width, height), noise=noise)


def enlarge(small: Bools, width: int, height: int) -> Bools:
    """(height, width) bool: each pixel takes the value of the small picture's pixel that covers its middle."""
    h, w = small.shape
    rows = np.minimum((np.arange(height) + 0.5) * h / height, h - 1).astype(np.int64)
    columns = np.minimum((np.arange(width) + 0.5) * w / width, w - 1).astype(np.int64)
    large: Bools = small[rows[:, None], columns]
    return large


def _grey(picture: NDArray[np.uint8], image_size: int) -> Floats:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = image_size / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    grey: Floats = picture.mean(axis=2)
    return grey


def _components(hit: Bools) -> tuple[NDArray[np.int32], int]:
    """Connected pixels, diagonals included, gaps of a pixel bridged."""
    from scipy import ndimage

    eight = np.ones((3, 3), np.bool_)
    bridged = hit | ndimage.binary_closing(hit, eight)
    label, count = ndimage.label(bridged, eight)
    return label.astype(np.int32), int(count)


def _measure(label: NDArray[np.int32], z: Floats, *, eye: Eye, size: tuple[int, int], noise: float) -> Spots:
    from scipy import ndimage

    y, x = np.nonzero(label)
    spot = label[y, x] - 1
    area = np.bincount(spot, minlength=int(label.max())).astype(float)
    keep = area >= eye.least_area
    number = np.cumsum(keep) * keep  # spot number + 1 after the small ones are gone, 0 for those
    label = np.concatenate([[0], number]).astype(np.int32)[label]
    inside = keep[spot]
    spot, y, x = number[spot[inside]] - 1, y[inside], x[inside]
    area, count = area[keep], int(keep.sum())

    def mean(values: Floats) -> Floats:
        average: Floats = np.bincount(spot, values, minlength=count) / area
        return average

    contrast = mean(z[y, x])
    dx, dy = x - mean(x.astype(float))[spot], y - mean(y.astype(float))[spot]
    # A pixel is a square: 1/12 px^2 of variance of its own keeps lines from being infinitely thin.
    xx, yy, xy = mean(dx * dx) + 1 / 12, mean(dy * dy) + 1 / 12, mean(dx * dy)
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    longest, shortest = middle + spread, np.maximum(middle - spread, 1 / 12)
    slices = ndimage.find_objects(label, max_label=count)
    box = np.array([(c.start, r.start, c.stop, r.stop) for r, c in slices], float).reshape(-1, 4)
    fill = area / ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))
    width, height = size
    across, down = width / label.shape[1], height / label.shape[0]
    return Spots(
        label=label,
        width=width,
        height=height,
        box=box * (across, down, across, down),
        strength=np.abs(contrast) * np.sqrt(area),
        features=np.stack([np.log(area), np.log(longest) / 2, np.log(longest / shortest) / 2, fill, contrast], axis=1),
        noise=noise,
    )
