"""Brings what a detector said of tiles back to the whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from defect_detect import geometry
from defect_detect.data.coco import PICTURES
from defect_detect.data.cutting import placed
from defect_detect.data.predictions import canonical_order
from defect_detect.data.seams import Joined, Said, joined
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Bools, Dataset, Ints, Predictions, Region


def whole(said: Predictions, tiles: Dataset, data: Dataset, *, most: int) -> Predictions:
    """The predictions about `tiles` as predictions about the pictures of `data` that they were cut from.

    Moved to where their tile lies, then joined at the seams (`seams.joined`): score of the best, box around the
    parts, union of their masks. At most `most` stay in a picture, by descending score. The same whatever order
    the rows of `said` have.

    Raises:
        DatasetError: `tiles` were not cut from `data`.
    """
    of, window = places(tiles, data)
    ordered = canonical_order(said)
    corner = window[ordered.image][:, [0, 1, 0, 1]].astype(np.float64)
    size = data.images.size[of[ordered.image]].astype(np.float64)
    # A tile's edge may be the picture's: not an ulp past it.
    box = np.minimum(ordered.box + corner, np.concatenate([size, size], axis=1))
    picture = of[ordered.image]
    found = []
    for image in np.unique(picture).tolist():
        rows = np.flatnonzero(picture == image)
        one = replace(ordered.take(rows), box=box[rows])
        found.append(_of_picture(one, image, window, data.images.size[image], most))
    return Predictions.joined(found, regions=said.region is not None)


def places(tiles: Dataset, data: Dataset) -> tuple[Ints, Ints]:
    """Of each tile the row of its picture in `data`, (T,), and where it lies there, (T, 4) x0 y0 x1 y1 px.

    Raises:
        DatasetError: `tiles` were not cut from `data`.
    """
    row_of = {name.removeprefix(f"{PICTURES}/"): row for row, name in enumerate(data.images.file)}
    attribute = tiles.images.attribute
    names = attribute["source_file"].tolist() if "source_file" in attribute else []
    of = np.array([row_of.get(name, -1) for name in names], np.int64)
    if "x" in attribute and "y" in attribute and len(of) == len(tiles.images) and of.min(initial=0) >= 0:
        corner = np.stack([attribute["x"], attribute["y"]], axis=1).astype(np.int64)
        window = np.concatenate([corner, corner + tiles.images.size], axis=1)
        if (corner >= 0).all() and (window[:, 2:] <= data.images.size[of]).all():
            return of, window
    raise DatasetError(Fault(
        where=str(tiles.root), expected=f"tiles of the {data.split} split of {data.root}", found="others",
        fix="Remove the folder, they are made again.",
    ))  # fmt: skip


def latency(seconds: Sequence[float], tiles: Dataset, data: Dataset, joining: float) -> list[float]:
    """Seconds per whole picture: of its tiles, and its share of the `joining` seconds; [] where they are not known."""
    if len(seconds) != len(tiles.images):
        return []
    of, _ = places(tiles, data)
    spent = np.bincount(of, np.array(seconds, np.float64), minlength=len(data.images)) + joining / len(data.images)
    told: list[float] = spent.tolist()
    return told


def _of_picture(
    said: Predictions, image: int, window: Ints, size: Ints, most: int
) -> Predictions:  # fmt: skip
    """The predictions about one picture of `size` (2,) px; `said` about its tiles, but for boxes, moved already."""
    box = said.box
    candidates: list[tuple[Said, Joined]] = []
    boxes, scores, labels = [], [], []
    for label in np.unique(said.label).tolist():
        rows = np.flatnonzero(said.label == label)
        rows = rows[np.lexsort([*box[rows].T[::-1], -said.score[rows]])]
        one = Said(
            box=box[rows], tile=said.image[rows], window=window[said.image[rows]],
            region=None if said.region is None else tuple(said.region[row] for row in rows.tolist()),
        )  # fmt: skip
        for defect in joined(one):
            candidates.append((one, defect))
            parts = one.box[list(defect.parts)]
            boxes.append(np.concatenate([parts[:, :2].min(axis=0), parts[:, 2:].max(axis=0)]))
            scores.append(said.score[rows[defect.best]])
            labels.append(label)
    told = Predictions(
        image=np.full(len(boxes), image, np.int64), label=np.array(labels, np.int64), box=np.array(boxes),
        score=np.array(scores),
    )  # fmt: skip
    order = np.lexsort([told.label, *told.box.T[::-1], -told.score])[:most]
    kept = told.take(order)
    if said.region is None:
        return kept
    width, height = size.tolist()
    regions = tuple(_region(one, defect, width, height) for one, defect in (candidates[row] for row in order.tolist()))
    return Predictions(image=kept.image, label=kept.label, box=kept.box, score=kept.score, region=regions)


def _region(said: Said, defect: Joined, width: int, height: int) -> Region:
    """The union of the parts' masks, in a picture of `width` x `height` px."""
    parts = []
    for row in defect.parts:
        x0, y0 = said.window[row, :2].tolist()
        parts.append(placed(*_trimmed(said.mask(row), x0, y0), width, height))
    return parts[0] if len(parts) == 1 else geometry.merged(parts)


def _trimmed(part: Bools, x: int, y: int) -> tuple[Bools, int, int]:
    """The mask without its empty rows and columns at the edges, and where it lies then."""
    across, down = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
    if not len(across):
        return part[:0, :0], x, y
    left, top = int(across[0]), int(down[0])
    return part[top : down[-1] + 1, left : across[-1] + 1], x + left, y + top
