"""Joining at the seams of tiles: a simulated detector, joined by `data.seams` and, where it is installed, by SAHI.

    python benchmarks/tiling.py

20 pictures of 2000 x 1500 px with 40 defects each, a fifth of them up to 900 px long, in tiles of 640 px that
overlap by 0.2. Of each tile the detector says every piece of a defect, its edges off by 1.5 px, its score by
0.1, and 60 things that are not there, a tenth of them large. SAHI wants a floor on scores before it joins: it
is given all predictions, and those of at least 0.3.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from pathlib import Path

import numpy as np

from defect_detect.data import untiling
from defect_detect.data.pieces import Pieces, pieces
from defect_detect.data.windows import windows
from defect_detect.evaluation import matching
from defect_detect.job import Tiling
from defect_detect.tables import Category, Dataset, Defects, Floats, Images, Predictions

PICTURES, DEFECTS, WIDE, HIGH = 20, 40, 2000, 1500
HOW = Tiling(size=640)
JUNK, SHARE_OF_LARGE = 60, 0.1
JITTER, NOISE = 1.5, 0.1
APART = 4.0
THRESHOLDS = (0.3, 0.5)


def scene(rng: np.random.Generator) -> list[list[float]]:
    """x0 y0 x1 y1 of defects that don't touch."""
    found: list[list[float]] = []
    while len(found) < DEFECTS:
        size = [rng.uniform(8, 60), rng.uniform(8, 60)]
        if rng.random() < 0.2:
            size[int(rng.random() < 0.5)] = rng.uniform(200, 900)
        x, y = rng.uniform(0, WIDE - size[0]), rng.uniform(0, HIGH - size[1])
        box = [x, y, x + size[0], y + size[1]]
        if all(
            box[0] > other[2] + APART or other[0] > box[2] + APART
            or box[1] > other[3] + APART or other[1] > box[3] + APART
            for other in found
        ):  # fmt: skip
            found.append(box)
    return found


def truth(rng: np.random.Generator) -> Dataset:
    """The pictures' defects, all of one class."""
    box = np.array([scene(rng) for _ in range(PICTURES)]).reshape(-1, 4)
    count, no = len(box), np.zeros(len(box), np.bool_)
    names = tuple(f"images/{row}.png" for row in range(PICTURES))
    return Dataset(
        root=Path(), split="test", categories=(Category(id=1, name="defect", source_id=1),),
        images=Images(
            file=names, id=np.arange(1, PICTURES + 1), size=np.tile([[WIDE, HIGH]], (PICTURES, 1)),
            group=np.array(names), source_id=names,
        ),
        defects=Defects(
            image=np.repeat(np.arange(PICTURES), DEFECTS), label=np.zeros(count, np.int64), box=box,
            area=np.prod(box[:, 2:] - box[:, :2], axis=1), crowd=no, ignore=no.copy(), region=None,
            id=np.arange(1, count + 1), source_id=tuple(range(count)),
        ),
    )  # fmt: skip


def tiles_of(data: Dataset, cut: Pieces) -> Dataset:
    """The tiles as a split."""
    count = len(cut.of)
    names = np.array([data.images.file[row].removeprefix("images/") for row in cut.of.tolist()])
    images = Images(
        file=tuple(f"images/tile{row}.png" for row in range(count)), id=np.arange(1, count + 1),
        size=cut.window[:, 2:] - cut.window[:, :2], group=data.images.group[cut.of], source_id=tuple(range(count)),
        attribute={"x": cut.window[:, 0], "y": cut.window[:, 1], "source_file": names},
    )  # fmt: skip
    return dataclasses.replace(data.without_truth(), images=images)


def said(data: Dataset, cut: Pieces, rng: np.random.Generator) -> Predictions:
    """What the simulated detector says of the tiles."""
    size = (cut.window[:, 2:] - cut.window[:, :2]).astype(np.float64)
    box = np.clip(cut.box + rng.normal(0, JITTER, cut.box.shape), 0, np.tile(size[cut.tile], (1, 2)))
    own = rng.beta(6, 2, len(data.defects))
    score = own[cut.defect] + rng.normal(0, NOISE, len(cut.defect))
    kept = (box[:, 2:] - box[:, :2] > 1).all(axis=1)
    tile = np.repeat(np.arange(len(size)), JUNK)
    large = rng.random((len(tile), 1)) < SHARE_OF_LARGE
    sides = np.where(large, rng.uniform(200, 630, (len(tile), 2)), rng.uniform(5, 60, (len(tile), 2)))
    corner = rng.random((len(tile), 2)) * (size[tile] - sides)
    junk = np.concatenate([corner, corner + sides], axis=1)
    return Predictions(
        image=np.concatenate([cut.tile[kept], tile]), label=np.zeros(int(kept.sum()) + len(tile), np.int64),
        box=np.concatenate([box[kept], junk]),
        score=np.clip(np.concatenate([score[kept], rng.beta(1, 12, len(tile))]), 0.001, 0.999),
    )  # fmt: skip


def by_sahi(moved: Predictions, floor: float) -> Predictions:
    """Joined by SAHI's own default: greedy non-maximum merging by intersection over smaller, 0.5."""
    from sahi.postprocess.combine import GreedyNMMPostprocess
    from sahi.prediction import ObjectPrediction

    join = GreedyNMMPostprocess(match_threshold=0.5, match_metric="IOS", class_agnostic=False)
    image, box, score = [], [], []
    for picture in range(PICTURES):
        rows = np.flatnonzero((moved.image == picture) & (moved.score >= floor))
        given = [
            ObjectPrediction(bbox=one.tolist(), category_id=0, category_name="defect", score=float(points),
                             full_shape=[HIGH, WIDE])
            for one, points in zip(moved.box[rows], moved.score[rows], strict=True)
        ]  # fmt: skip
        for one in join(given):
            image.append(picture)
            box.append(one.bbox.to_xyxy())
            score.append(one.score.value)
    return Predictions(
        image=np.array(image, np.int64), label=np.zeros(len(image), np.int64), box=np.array(box, np.float64),
        score=np.array(score, np.float64),
    )  # fmt: skip


def line(name: str, data: Dataset, found: Predictions, seconds: float) -> str:
    """Misses and false alarms at each threshold."""
    judged = matching.evaluate(data, found)
    parts = [f"{name:28} {seconds / PICTURES:6.3f} s/picture"]
    for threshold in THRESHOLDS:
        missed = int((judged.matching.found_at < threshold).sum())
        false = int(((judged.matching.defect_of < 0) & (judged.predictions.score >= threshold)).sum())
        parts.append(f"at {threshold}: {missed:4} missed, {false:4} false")
    return "   ".join(parts)


def timed(data: Dataset, tiles: Dataset, made: Predictions) -> tuple[Predictions, float]:
    """Brought back to whole pictures, and the CPU seconds that it took."""
    began = time.process_time()
    found = untiling.whole(made, tiles, data, most=len(made))
    return found, time.process_time() - began


def moved_only(made: Predictions, cut: Pieces) -> Predictions:
    """Each prediction where it lies in its picture, nothing joined."""
    corner: Floats = np.tile(cut.window[made.image][:, :2], (1, 2)).astype(np.float64)
    return dataclasses.replace(made, image=cut.of[made.image], box=made.box + corner)


def main() -> None:
    """Print a line for each way."""
    rng = np.random.default_rng(0)
    data = truth(rng)
    cut = pieces(data, [windows(WIDE, HIGH, HOW)] * PICTURES, HOW.min_visible)
    tiles = tiles_of(data, cut)
    made = said(data, cut, rng)
    print(f"{len(data.defects)} defects, {len(cut.of)} tiles, {len(made)} predictions")
    print(line("not joined", data, moved_only(made, cut), 0.0))
    print(line("data.seams", data, *timed(data, tiles, made)))
    if importlib.util.find_spec("sahi") is None:
        print("sahi: not installed")
        return
    for floor in (0.0, 0.3):
        began = time.process_time()
        found = by_sahi(moved_only(made, cut), floor)
        print(line(f"sahi, floor {floor}", data, found, time.process_time() - began))


if __name__ == "__main__":
    main()
