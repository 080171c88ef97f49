"""Covers: how much of each pixel a painted mark takes up, (H, W) float64 in 0..1; and the noise they are made of."""

from __future__ import annotations

import numpy as np

from defect_detect.tables import Floats

_FINE = 4
"""Strokes are drawn this many times larger and shrunk, for smooth edges."""
_EDGE = 0.2
"""A pixel less covered than this counts as untouched."""


def noise(rng: np.random.Generator, height: int, width: int, down: float, across: float) -> Floats:
    """(H, W) Gaussian noise of standard deviation 1, correlated over `down` x `across` px."""
    from scipy import ndimage

    rough: Floats = ndimage.gaussian_filter(
        rng.standard_normal((height, width)), (down, across), mode="wrap", truncate=3.0
    )
    return rough / max(float(rough.std()), 1e-9)


def stroke(shape: tuple[int, int], strokes: list[tuple[Floats, Floats]]) -> Floats:
    """The cover of paths (points, widths in px) that grow thinner and thicker."""
    from PIL import Image, ImageDraw

    height, width = shape
    fine = Image.new("L", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(fine)
    for path, thickness in strokes:
        for (x0, y0), (x1, y1), across in zip(path[:-1], path[1:], thickness[1:], strict=True):
            count = max(int(np.hypot(x1 - x0, y1 - y0) * 2), 1)
            for x, y in zip(np.linspace(x0, x1, count + 1), np.linspace(y0, y1, count + 1), strict=True):
                r = across / 2
                pen.ellipse([(c * _FINE) for c in (x - r, y - r, x + r, y + r)], fill=255)
    cover = np.asarray(fine.resize((width, height), Image.Resampling.BOX), float) / 255
    return _cut(cover)


def blob(
    rng: np.random.Generator, shape: tuple[int, int], radius: float, *, aspect: float, rough: float, soft: float
) -> Floats:
    """The cover of a roundish spot whose outline wanders by `rough` and fades over `soft` of its radius."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(float)
    edge = 0.3 * radius
    x -= rng.uniform(edge, width - edge)
    y -= rng.uniform(edge, height - edge)
    turn = rng.uniform(0, np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    bearing = np.arctan2(v, u)
    outline = np.ones_like(bearing)
    for wave in range(2, 7):
        outline += rough * rng.normal(0, 1 / wave) * np.cos(wave * bearing + rng.uniform(0, 2 * np.pi))
    distance = np.hypot(u / radius, v / (radius * aspect)) / np.clip(outline, 0.4, 1.6)
    return _cut(np.clip((1 - distance) / soft, 0, 1))


def _cut(cover: Floats) -> Floats:
    """The cover without its faint fringe, continuous at the mask's edge."""
    return np.clip((cover - _EDGE) / (1 - _EDGE), 0, 1)


def shade(cover: Floats) -> Floats:
    """(H, W): how much the walls of a hollow face the light at the upper left; 0 outside the mask."""
    from scipy import ndimage

    slope: Floats = (ndimage.sobel(cover, 0) + ndimage.sobel(cover, 1)) / 8
    return np.clip(2 * slope, -1, 1) * (cover > 0)
