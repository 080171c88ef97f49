"""Surfaces of the demo: brushed metal, woven fabric, cast iron; sound, but not perfect.

Each function paints one part as (H, W, 3) float64, grey levels 0..255, under even light. Uneven grain,
slubs in the yarn, polishing marks and glints belong to the surface: they are no defects, and a
detector that reports them raises a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from defect_detect.data.brush import noise, stroke
from defect_detect.tables import Floats

Surface = Callable[[np.random.Generator, int, int], Floats]


def brushed(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Brushed metal: fine parallel streaks, some polished deeper, and a soft highlight across them."""
    from scipy import ndimage

    turned = rng.random() < 0.5  # noqa: PLR2004 - an even chance
    height, width = (width, height) if turned else (height, width)
    margin = max(height, width) // 5
    tall, wide = height + 2 * margin, width + 2 * margin
    grain = np.zeros((tall, wide))
    for length, thickness, depth in ((45.0, 0.5, 7.0), (14.0, 0.4, 5.0), (70.0, 2.0, 4.0)):
        grain += depth * noise(rng, tall, wide, thickness, length)
    for _ in range(int(rng.integers(3, 9))):
        row, column = rng.integers(0, tall), rng.integers(0, wide)
        reach = np.exp(-0.5 * ((np.arange(wide) - column) / rng.uniform(15, 50)) ** 2)
        grain[row] += rng.choice((-1.0, 1.0)) * rng.uniform(25, 60) * reach
    angle = np.clip(rng.normal(0, 7), -15, 15)
    grain = ndimage.rotate(grain, angle, reshape=False, order=1, mode="reflect")
    grain = grain[margin : margin + height, margin : margin + width]
    if turned:
        grain = grain.T
        height, width = width, height
    level = rng.uniform(105, 155) + rng.uniform(6, 22) * _band(rng, height, width)
    return _tint(level + grain, (1.0, 1.0 + rng.uniform(0.0, 0.02), 1.0 + rng.uniform(0.0, 0.06)))


def woven(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Woven fabric, plain or twill: threads of uneven tone and thickness, some with slubs."""
    pitch = rng.uniform(4.5, 7.0)
    repeat, step = ((2, 1), (4, 1))[int(rng.integers(2))]
    y, x = np.mgrid[:height, :width].astype(float)
    drift = 0.35 * pitch
    u = (x + drift * noise(rng, height, width, 30, 30)) / pitch + 2
    v = (y + drift * noise(rng, height, width, 30, 30)) / pitch + 2
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    columns, rows = int(column.max()) + 1, int(row.max()) + 1
    column, row = np.maximum(column, 0), np.maximum(row, 0)
    over = (column + step * row) % repeat < repeat / 2
    crown_u, crown_v = (0.3 + 0.7 * np.sqrt(np.sin(np.pi * (place % 1))) for place in (u, v))
    warp = rng.normal(1.0, 0.035, columns)[column] * crown_u * (0.82 + 0.18 * crown_v)
    weft = rng.normal(1.0, 0.035, rows)[row] * crown_v * (0.82 + 0.18 * crown_u)
    for _ in range(int(rng.integers(1, 5))):
        reach = np.exp(-0.5 * ((y - rng.uniform(0, height)) / rng.uniform(8, 20)) ** 2)
        warp += (column == rng.integers(0, columns)) * reach * rng.uniform(0.15, 0.35)
    level = rng.uniform(95, 150)
    contrast = rng.uniform(0.45, 0.65)
    cloth = np.where(over, warp, weft * rng.uniform(0.82, 0.95))
    fibre = 3.0 * noise(rng, height, width, 0.6, 0.6)
    colour = ((0.80, 0.92, 1.12), (1.08, 1.0, 0.86), (1.0, 1.0, 1.0), (0.92, 1.04, 0.94))[int(rng.integers(4))]
    return _tint(level * (1 - contrast + contrast * 1.25 * cloth) + fibre, colour)


def cast(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Cast, shot-blasted iron: a grainy relief under light from one side, with a few glints."""
    from scipy import ndimage

    relief = sum(
        (depth * noise(rng, height, width, size, size) for size, depth in ((0.9, 0.8), (1.8, 1.6), (4.0, 2.4))),
        np.zeros((height, width)),
    )
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * ndimage.sobel(relief, 1) / 8 + np.sin(angle) * ndimage.sobel(relief, 0) / 8
    level = rng.uniform(85, 135) + 5 * noise(rng, height, width, 40, 40)
    picture = level + rng.uniform(10, 15) * slope / max(float(slope.std()), 1e-9) * 0.9
    for _ in range(int(rng.integers(6, 16))):
        y, x = rng.integers(1, height - 1), rng.integers(1, width - 1)
        picture[y : y + 2, x : x + 2] += rng.uniform(30, 80)
    return _tint(picture, (1.0 + rng.uniform(0.0, 0.08), 1.0 + rng.uniform(0.0, 0.03), 1.0))


SURFACES: Mapping[str, Surface] = {"brushing": brushed, "weaving": woven, "casting": cast}
"""By the name of the production line that makes such parts."""


def litter(rng: np.random.Generator, picture: Floats) -> Floats:
    """The surface with what lies on it and wipes off: specks of dust and, now and then, a lint fibre."""
    height, width = picture.shape[:2]
    picture = picture.copy()
    for _ in range(int(rng.poisson(5))):
        y, x = rng.integers(0, height), rng.integers(0, width)
        picture[y, x : x + int(rng.integers(1, 3))] += rng.choice((-1.0, 1.0)) * rng.uniform(15, 45)
    for _ in range(int(rng.poisson(0.35))):
        turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.45, 14))
        steps = rng.uniform(1.2, 2.6) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        path = rng.uniform((0, 0), (width, height)) + np.cumsum(steps, axis=0)
        cover = stroke((height, width), [(path, np.full(len(path), 0.9))])
        picture += rng.uniform(18, 38) * cover[:, :, None]
    return picture


def _band(rng: np.random.Generator, height: int, width: int) -> Floats:
    """(H, W) in 0..1: a soft bright band at any angle."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:height, :width]
    along = np.cos(angle) * x + np.sin(angle) * y
    centre = rng.uniform(float(along.min()), float(along.max()))
    band: Floats = np.exp(-0.5 * ((along - centre) / (rng.uniform(0.15, 0.4) * max(height, width))) ** 2)
    return band


def _tint(grey: Floats, colour: tuple[float, float, float]) -> Floats:
    tinted: Floats = grey[:, :, None] * np.array(colour)
    return tinted
