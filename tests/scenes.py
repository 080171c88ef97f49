"""Scenes for tests: datasets and predictions, seeded or drawn by hypothesis.

Boxes lie on a grid of quarter pixels and scores on a grid of twentieths, so that ties in score and in
IoU, IoUs of exactly 0.5 and exact duplicates all occur, and arithmetic is exact in every convention.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.tables import Category, Dataset, Defects, Floats, Images, Predictions, Region, Rle

SIDE = 64


def dataset(
    *,
    image,
    label,
    box,
    images: int,
    classes: int = 2,
    crowd=None,
    ignore=None,
    area=None,
    group=None,
    region: tuple[Region, ...] | None = None,
    severity: tuple[str | None, ...] | None = None,
    attribute=None,
    image_attribute=None,
    split: str = "test",
    first_id: int = 1,
    side: int = SIDE,
) -> Dataset:
    """A dataset from plain lists."""
    box = np.asarray(box, np.float64).reshape(-1, 4)
    count = len(box)
    files = tuple(f"{split}/{row:05d}.png" for row in range(images))
    return Dataset(
        root=Path("scene"),
        split=split,
        categories=tuple(
            Category(id=k + 1, name=f"class{k}", source_id=k + 1, severity=severity[k] if severity else None)
            for k in range(classes)
        ),
        images=Images(
            file=files,
            id=np.arange(first_id, first_id + images, dtype=np.int64),
            size=np.full((images, 2), side, np.int64),
            group=np.array(files if group is None else group, np.str_),
            source_id=tuple(range(images)),
            attribute=image_attribute or {},
        ),
        defects=Defects(
            image=np.asarray(image, np.int64),
            label=np.asarray(label, np.int64),
            box=box,
            area=geometry.area(box) if area is None else np.asarray(area, np.float64),
            crowd=np.zeros(count, np.bool_) if crowd is None else np.asarray(crowd, np.bool_),
            ignore=np.zeros(count, np.bool_) if ignore is None else np.asarray(ignore, np.bool_),
            region=region,
            id=np.arange(first_id, first_id + count, dtype=np.int64),
            source_id=tuple(range(count)),
            attribute=attribute or {},
        ),
        fingerprint=f"{split}-fingerprint",
    )


def predictions(*, image, label, box, score, region: tuple[Region, ...] | None = None) -> Predictions:
    """Predictions from plain lists."""
    return Predictions(
        image=np.asarray(image, np.int64),
        label=np.asarray(label, np.int64),
        box=np.asarray(box, np.float64).reshape(-1, 4),
        score=np.asarray(score, np.float64),
        region=region,
    )


def scene(
    seed: int,
    *,
    images: int = 12,
    classes: int = 3,
    defects: int = 40,
    said: int = 120,
    groups: int | None = None,
    special: bool = True,
    masks: bool = False,
    split: str = "test",
    first_id: int = 1,
) -> tuple[Dataset, Predictions]:
    """A random scene: half of the predictions near a defect, with ties, crowds and ignored defects."""
    rng = np.random.default_rng(seed)
    box = _boxes(rng, defects)
    image = rng.integers(0, max(images * 3 // 4, 1), defects)
    label = rng.integers(0, classes, defects)
    truth = dataset(
        image=image,
        label=label,
        box=box,
        images=images,
        classes=classes,
        crowd=rng.random(defects) < 0.12 if special else None,
        ignore=rng.random(defects) < 0.12 if special else None,
        group=None if groups is None else [f"part{row % groups:04d}" for row in range(images)],
        region=tuple(_disc(one) for one in box) if masks else None,
        split=split,
        first_id=first_id,
    )
    near = rng.integers(0, max(defects, 1), said) if defects else np.zeros(said, np.int64)
    close = (rng.random(said) < 0.6) & (defects > 0)
    their_box = _boxes(rng, said)
    their_image = rng.integers(0, images, said)
    their_label = rng.integers(0, classes, said)
    if defects:
        moved = np.clip(box[near] + rng.integers(-8, 9, (said, 4)) / 4, 0, SIDE)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.25)
        their_box = np.where(close[:, None], moved, their_box)
        their_image = np.where(close, image[near], their_image)
        their_label = np.where(close & (rng.random(said) < 0.8), label[near], their_label)
    theirs = predictions(
        image=their_image,
        label=their_label,
        box=their_box,
        score=rng.integers(1, 21, said) / 20,
        region=tuple(_disc(one) for one in their_box) if masks else None,
    )
    return truth, theirs


def _boxes(rng: np.random.Generator, count: int) -> Floats:
    corner = rng.integers(0, 4 * (SIDE - 24), (count, 2)) / 4
    return np.concatenate([corner, corner + rng.integers(8, 80, (count, 2)) / 4], axis=1)


def _disc(box: Floats) -> Rle:
    """An ellipse that fills the box (at least one pixel of it)."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    rx, ry = max((box[2] - box[0]) / 2, 1.0), max((box[3] - box[1]) / 2, 1.0)
    return geometry.from_mask(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1)


@st.composite
def scenes(draw, *, special: bool = True, max_images: int = 3, max_classes: int = 2):
    """Small scenes drawn by hypothesis, which shrink to the least that fails."""
    images = draw(st.integers(1, max_images))
    classes = draw(st.integers(1, max_classes))
    corner, size = st.integers(0, 12), st.integers(1, 12)
    place = st.tuples(st.integers(0, images - 1), st.integers(0, classes - 1), st.tuples(corner, corner, size, size))
    flag = st.sampled_from(("", "", "crowd", "ignore") if special else ("",))
    true = draw(st.lists(st.tuples(place, flag), max_size=6))
    said = draw(st.lists(st.tuples(place, st.integers(1, 10)), max_size=10))
    truth = dataset(
        image=[p[0] for p, _ in true],
        label=[p[1] for p, _ in true],
        box=[_corners(p[2]) for p, _ in true],
        images=images,
        classes=classes,
        crowd=[f == "crowd" for _, f in true],
        ignore=[f == "ignore" for _, f in true],
        group=[f"g{draw(st.integers(0, 1))}" for _ in range(images)],
    )
    theirs = predictions(
        image=[p[0] for p, _ in said],
        label=[p[1] for p, _ in said],
        box=[_corners(p[2]) for p, _ in said],
        score=[s / 10 for _, s in said],
    )
    return truth, theirs


def _corners(place: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, width, height = place
    return x, y, x + width, y + height
