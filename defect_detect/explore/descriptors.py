"""What a defect looks like, in numbers: no network, no weights.

A square around the defect, half as long again as its long side, in grey, made 24 x 24 px. From it: where it is bright
and dark (8 x 8), how strongly edges run in 8 directions in each of 3 x 3 fields (after Dalal & Triggs 2005, unsigned,
without their blocks), how much it differs from its surroundings, and the box's size and shape. The groups weigh alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detect.data import pixels
from defect_detect.tables import Column, Dataset, Floats

SIDE = 24
CONTEXT = 1.5
_BRIGHT, _FIELDS, _DIRECTIONS = 8, 3, 8

Progress = Callable[[int, int], None]


def describe(truth: Dataset, progress: Progress | None = None) -> Floats:
    """(G, D) float64: one row for each defect, every group of columns of mean 0 and, over all defects, variance 1.

    Reads each picture that has a defect, once. `progress` is told (pictures read, of all of these).

    Raises:
        DatasetError: a picture can't be read.
    """
    defects, images = truth.defects, np.unique(truth.defects.image)
    groups: list[list[Floats]] = [[np.zeros(0)] * len(defects) for _ in range(4)]
    for done, image in enumerate(images.tolist(), 1):
        grey = _grey(truth.root / Path(truth.images.file[image]))
        for row in np.flatnonzero(defects.image == image).tolist():
            for group, values in zip(groups, _groups(grey, defects.box[row].tolist()), strict=True):
                group[row] = values
        if progress is not None:
            progress(done, len(images))
    if not len(defects):
        return np.zeros((0, 1))
    return np.concatenate([_evened(np.stack(group)) for group in groups], axis=1)


def crop(grey: Column, box: Sequence[float]) -> Floats:
    """(24, 24) float64 from 0 to 1: the square around the box (x0 y0 x1 y1 px), means over what each cell covers.

    Outside the picture its edge goes on.
    """
    x0, y0, x1, y1 = box
    side = max(round(max(x1 - x0, y1 - y0) * CONTEXT), 3)
    height, width = grey.shape
    columns = np.clip(round((x0 + x1 - side) / 2) + np.arange(side), 0, width - 1)
    rows = np.clip(round((y0 + y1 - side) / 2) + np.arange(side), 0, height - 1)
    part = Image.fromarray(grey[rows[:, None], columns[None, :]])
    return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255


def _grey(path: Path) -> Column:
    return np.asarray(Image.fromarray(pixels.read(path)).convert("L"))


def _groups(grey: Column, box: Sequence[float]) -> tuple[Floats, Floats, Floats, Floats]:
    seen = crop(grey, box)
    spread = max(float(seen.std()), 1 / 255)
    level = (seen - seen.mean()) / spread
    cell = SIDE // _BRIGHT
    bright = level.reshape(_BRIGHT, cell, _BRIGHT, cell).mean(axis=(1, 3)).ravel()
    inner = slice(SIDE // 6, -(SIDE // 6))
    middle, whole = seen[inner, inner], seen
    around = (whole.sum() - middle.sum()) / (whole.size - middle.size)
    contrast = np.array([spread, middle.mean() - around, middle.std() - spread])
    width, height = max(box[2] - box[0], 1e-6), max(box[3] - box[1], 1e-6)
    shape = np.array([np.log(width * height), np.log(width / height)])
    return bright, _directions(level), contrast, shape


def _directions(level: Floats) -> Floats:
    """How strongly edges run in each direction, field by field."""
    down, across = np.gradient(level)
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    bins = np.minimum((angle / np.pi * _DIRECTIONS).astype(np.int64), _DIRECTIONS - 1)
    field = np.minimum(np.arange(SIDE) * _FIELDS // SIDE, _FIELDS - 1)
    place = (field[:, None] * _FIELDS + field[None, :]) * _DIRECTIONS + bins
    found = np.bincount(place.ravel(), weights=strength.ravel(), minlength=_FIELDS**2 * _DIRECTIONS)
    return np.sqrt(found / max(float(found.sum()), 1e-9))


def _evened(group: Floats) -> Floats:
    centred = group - group.mean(axis=0)
    total = float(np.sqrt((centred**2).sum() / len(centred)))
    evened: Floats = centred / total if total > 0 else centred
    return evened
