"""Defects of the demo: scratches, pits, stains and cracks, each with the exact pixels it touches.

A flaw is painted into a surface through its `cover`: (H, W) in 0..1, how much of each pixel it takes
up. Its mask is where the cover is over 0, and no pixel outside the mask changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from defect_detect.data.brush import blob, noise, shade, stroke
from defect_detect.tables import Bools, Floats

Flaw = Callable[[np.random.Generator, Floats, float], tuple[Floats, Bools]]


def scratch(rng: np.random.Generator, picture: Floats, strength: float) -> tuple[Floats, Bools]:
    """A long, nearly straight groove with a lit and a shaded side."""
    size = min(picture.shape[:2])
    length = rng.uniform(0.2, 0.65) * size
    steps = 24
    # Seldom along an edge of the picture: a box 3 px high would be judged by half a pixel.
    heading = rng.choice((0.25, 0.75)) * np.pi + np.clip(rng.normal(0, 0.32), -0.75, 0.75)
    angle = heading + np.cumsum(np.full(steps, rng.normal(0, 0.01)) + rng.normal(0, 0.012, steps))
    path = _walk(rng, picture, angle, np.full(steps, length / steps))
    taper = np.sin(np.pi * np.linspace(0.06, 0.94, steps + 1)) ** 0.5
    cover = stroke(_shape(picture), [(path, rng.uniform(1.7, 3.4) * taper)])
    bright = rng.random() < 0.85  # noqa: PLR2004 - bare material mostly shines
    cover *= 0.8 + 0.2 * _ripple(rng, picture, 4)
    tone = rng.uniform(75, 100) if bright else -rng.uniform(55, 75)
    painted = picture + strength * tone * cover[:, :, None]
    return painted - 0.45 * strength * abs(tone) * shade(cover)[:, :, None], cover > 0


def pit(rng: np.random.Generator, picture: Floats, strength: float) -> tuple[Floats, Bools]:
    """A small hollow: dark, roundish, with a bright edge where the light strikes its wall."""
    radius = rng.uniform(0.028, 0.065) * min(picture.shape[:2])
    cover = blob(rng, _shape(picture), radius, aspect=rng.uniform(0.65, 1.0), rough=0.18, soft=0.45)
    painted = picture * (1 - 0.72 * strength * cover[:, :, None] ** 0.8)
    return painted + 38 * strength * shade(cover)[:, :, None], cover > 0


def stain(rng: np.random.Generator, picture: Floats, strength: float) -> tuple[Floats, Bools]:
    """A discoloured patch, or the ring that a dried drop leaves; the texture shows through it."""
    radius = rng.uniform(0.08, 0.18) * min(picture.shape[:2])
    cover = blob(rng, _shape(picture), radius, aspect=rng.uniform(0.55, 1.0), rough=0.2, soft=rng.uniform(0.25, 0.5))
    if radius > 9 and rng.random() < 0.35:  # noqa: PLR2004 - smaller drops dry without a ring
        cover = np.clip(1 - np.abs(cover - 0.5) * 2.2, 0, 1)
        strength *= 1.25
    tint = np.array(((0.62, 0.55, 0.46), (0.52, 0.52, 0.53), (0.46, 0.50, 0.58))[int(rng.integers(3))])
    patchy = cover * (0.8 + 0.2 * _ripple(rng, picture, 6))
    painted = picture * (1 - strength * patchy[:, :, None] * (1 - tint))
    return painted, cover > 0


def crack(rng: np.random.Generator, picture: Floats, strength: float) -> tuple[Floats, Bools]:
    """A dark, jagged line that forks."""
    size = min(picture.shape[:2])
    heading = rng.uniform(0, 2 * np.pi)
    steps = int(rng.integers(7, 24))
    reach = rng.uniform(0.18, 0.6) * size / steps
    angle = heading + np.clip(np.cumsum(rng.normal(0, 0.35, steps)), -0.7, 0.7) + rng.normal(0, 0.45, steps)
    path = _walk(rng, picture, angle, rng.uniform(0.5, 1.5, steps) * reach)
    width = rng.uniform(1.7, 3.4) * np.linspace(1.0, 0.55, steps + 1) * rng.uniform(0.7, 1.2, steps + 1)
    strokes = [(path, width)]
    for _ in range(int(rng.integers(1, 4))):
        fork = int(rng.integers(1, steps))
        turns = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 1.1) + rng.normal(0, 0.4, int(rng.integers(3, 7)))
        twig = path[fork] + np.concatenate([np.zeros((1, 2)), np.cumsum(reach * _unit(turns), axis=0)])
        strokes.append((twig, width[fork] * np.linspace(0.8, 0.45, len(twig))))
    cover = stroke(_shape(picture), strokes)
    painted = picture * (1 - 0.75 * strength * cover[:, :, None])
    return painted + 16 * strength * shade(cover)[:, :, None], cover > 0


FLAWS: Mapping[str, Flaw] = {"scratch": scratch, "pit": pit, "stain": stain, "crack": crack}
"""By category; each returns the painted picture and its mask."""


def _unit(angle: Floats) -> Floats:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _walk(rng: np.random.Generator, picture: Floats, angle: Floats, step: Floats) -> Floats:
    """(K + 1, 2) points, x y px, of a path whose middle lies within the picture."""
    height, width = picture.shape[:2]
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(step[:, None] * _unit(angle), axis=0)])
    middle = rng.uniform((0.12 * width, 0.12 * height), (0.88 * width, 0.88 * height))
    placed: Floats = path - path[len(path) // 2] + middle
    return placed


def _ripple(rng: np.random.Generator, picture: Floats, size: float) -> Floats:
    """(H, W) smooth noise in -1..1."""
    return np.clip(noise(rng, *_shape(picture), size, size) / 2, -1, 1)


def _shape(picture: Floats) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]
