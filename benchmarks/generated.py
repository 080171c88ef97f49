"""A normalized dataset of boxes and three detectors' results, of any size, always the same for a size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from defect_detect.data import coco
from defect_detect.tables import Category, Dataset, Defects, Images

CLASSES = 6
DEFECTS = 4
PREDICTIONS = 10
EMPTY = 0.3
CROWDS = 0.01
WIDTH, HEIGHT = 1024, 768
DETECTORS = ("a", "b", "c")


def make(root: Path, images: int) -> None:
    """Write `test.json` and the results `a.json`, `b.json`, `c.json`.

    4 defects and 10 predictions an image, 30 % of the images empty, 1 % of the defects crowds. Ground truth in
    whole px, as annotation tools draw it; results in hundredths of a px and scores of 5 digits, as
    exporters round them. Rows are in the order of their content, by which this package breaks ties, and
    pycocotools by the order in the file.
    """
    rng = np.random.default_rng(images)
    defective = np.flatnonzero(rng.random(images) >= EMPTY)
    count = images * DEFECTS
    corner = rng.integers(0, (WIDTH - 120, HEIGHT - 120), (count, 2))
    box = np.hstack([corner, corner + rng.integers(8, 120, (count, 2))]).astype(float)
    image, label = rng.choice(defective, count), rng.integers(0, CLASSES, count)
    order = np.lexsort((label, *box.T[::-1], image))
    image, label, box = image[order], label[order], box[order]
    names = tuple(f"images/part{row:06d}.png" for row in range(images))
    truth = Dataset(
        root=root,
        split="test",
        categories=tuple(Category(id=k + 1, name=f"class{k}", source_id=k + 1) for k in range(CLASSES)),
        images=Images(
            file=names,
            id=np.arange(1, images + 1),
            size=np.tile(np.array([WIDTH, HEIGHT]), (images, 1)),
            group=np.array(names),
            source_id=tuple(range(1, images + 1)),
        ),
        defects=Defects(
            image=image,
            label=label,
            box=box,
            area=(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]),
            crowd=rng.random(count) < CROWDS,
            ignore=np.zeros(count, bool),
            region=None,
            id=np.arange(1, count + 1),
            source_id=tuple(range(1, count + 1)),
        ),
    )
    # Judging never opens a picture, so there are none.
    coco.write(truth, coco.Origin(sha256=["0" * 64] * images, source_split=["test"] * images, source_file=names))
    for name in DETECTORS:
        _results(root / f"{name}.json", rng, truth)


def _results(path: Path, rng: np.random.Generator, truth: Dataset) -> None:
    image, label, box, images = truth.defects.image, truth.defects.label, truth.defects.box, len(truth.images)
    hit = rng.random(len(box)) < 0.8
    near = box[hit] + rng.normal(0, 3, (int(hit.sum()), 4))
    noise = images * PREDICTIONS - len(near)
    start = rng.uniform(0, (WIDTH - 120, HEIGHT - 120), (noise, 2))
    corners = np.vstack([near, np.hstack([start, start + rng.uniform(8, 120, (noise, 2))])])
    xywh = np.round(np.hstack([corners[:, :2], np.maximum(corners[:, 2:] - corners[:, :2], 1.0)]), 2)
    score = np.round(np.concatenate([rng.beta(4, 2, len(near)), rng.beta(1, 4, noise)]), 5)
    of = np.concatenate([image[hit], rng.integers(0, images, noise)])
    said = np.concatenate([label[hit], rng.integers(0, CLASSES, noise)])
    order = np.lexsort((said, *(xywh[:, :2] + xywh[:, 2:]).T[::-1], *xywh[:, :2].T[::-1], -score, of))
    with path.open("w") as file:
        separator = "["
        for row in order.tolist():
            entry = {
                "image_id": int(of[row]) + 1,
                "category_id": int(said[row]) + 1,
                "bbox": xywh[row].tolist(),
                "score": float(score[row]),
            }
            file.write(separator + json.dumps(entry))
            separator = ", "
        file.write("]")
