"""Reads and writes what a detector said, as COCO results. No prediction may meet the wrong image."""

from __future__ import annotations

import hashlib
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect import geometry, native
from defect_detect.data import outlined
from defect_detect.data.entries import of_entries
from defect_detect.data.files import atomic_write
from defect_detect.data.naming import Names, decide
from defect_detect.data.parsing import read_bytes
from defect_detect.data.placing import places
from defect_detect.data.plain import Said, results
from defect_detect.data.regions import to_coco
from defect_detect.errors import Fault, PredictionsError
from defect_detect.job import Manifest, decode
from defect_detect.ranking import ranked
from defect_detect.tables import Column, Dataset, Floats, Ints, Predictions, Region, Rle

_TABLE = 8
"""A table of all ids is quicker than sorting them while it is at most so many times as long as the rows."""


def read(path: Path, dataset: Dataset, *, ids: str = "auto") -> Predictions:
    """The predictions of a COCO results file about one split.

    An image is named by `file_name` or by `image_id`, a class by `category_name` or `category_id`.
    Ids are the normalized dataset's or the user's own: `ids` says which (`normalized` | `source`),
    `auto` finds out, and refuses a file that fits both with different meanings.

    Raises:
        PredictionsError: not such a file, or one that does not fit the dataset; all its faults,
            the first 20 in words.
    """
    if ids not in ("auto", "normalized", "source"):
        raise ValueError(f"ids is {ids!r}, not auto, normalized or source")
    raw = read_bytes(path, error=PredictionsError)
    ids = _numbering(path, raw, dataset, ids)
    names = Names(dataset)
    plain = results(raw)
    found = None if plain is None else _of_columns(path, plain, names, ids)
    if plain is None:
        with_regions = outlined.results(raw)
        found = None if with_regions is None else _of_columns(path, with_regions[0], names, ids, with_regions[1])
    # One by one takes ten times as long, but knows names and regions, and can say what is wrong where.
    return of_entries(path, raw, names, ids) if found is None else found


def _of_columns(
    path: Path, said: Said, names: Names, ids: str, region: tuple[Rle, ...] | None = None
) -> Predictions | None:
    """The predictions, or None if one of them does not fit the dataset. `said` is used up.

    Raises:
        PredictionsError: their ids as a whole don't.
    """
    meant = _meant(said, names) if ids != "source" else None
    image, label = _decided(path, said, names, ids) if meant is None else meant
    known = image.min(initial=0) >= 0 and label.min(initial=0) >= 0
    if not (known and _settled(said.xywh, said.score)):
        return None
    if region is not None:
        size = np.array([(one.width, one.height) for one in region], np.int64)
        if not np.array_equal(size, names.dataset.images.size[image]):
            return None
    return Predictions(image=image, label=label, box=said.xywh, score=said.score, region=region)


def _meant(said: Said, names: Names) -> tuple[Ints, Ints] | None:
    """Rows of images and classes where every id is known and either numbering has one meaning: the normal case."""
    dataset = names.dataset
    images, categories = dataset.images.id, np.array([one.id for one in dataset.categories], np.int64)
    if not _same(dataset.images.source_id, images) or not _same(
        tuple(c.source_id for c in dataset.categories), categories
    ):
        return None
    image = places(images, said.image_id)
    label = None if image is None else places(categories, said.category_id)
    return None if image is None or label is None else (image, label)


def _same(source: tuple[int | str, ...], ids: Ints) -> bool:
    if native.compiled is not None:
        return bool(native.compiled.same_ids(source, ids))
    return set(map(type, source)) <= {int} and list(source) == ids.tolist()


def _decided(path: Path, said: Said, names: Names, ids: str) -> tuple[Ints, Ints]:
    """Rows of images and classes, -1 for unknown ids.

    Raises:
        PredictionsError: the ids as a whole don't fit.
    """
    images, image_of = _distinct(said.image_id)
    labels, label_of = _distinct(said.category_id)
    space = decide(path, set(images.tolist()), set(labels.tolist()), names, ids=ids)
    image_row = np.fromiter(map(names.images[space].get, images.tolist(), repeat(-1)), np.int64)
    label_row = np.fromiter(map(names.labels[space].get, labels.tolist(), repeat(-1)), np.int64)
    return image_row[image_of], label_row[label_of]


def _settled(box: Floats, score: Floats) -> bool:
    """Whether sizes and scores are as they should be; if so x y width height have become x0 y0 x1 y1."""
    if native.compiled is not None:
        return bool(native.compiled.said_right(box, score))
    if not (box[:, 2:].min(initial=0) >= 0 and score.min(initial=0) >= 0 and score.max(initial=0) <= 1):
        return False
    box[:, 2:] += box[:, :2]
    return True


def _distinct(ids: Ints) -> tuple[Ints, Ints]:
    """The ids, rising, each once, and where each row's is among them: numpy.unique, by a table where that is short."""
    low = int(ids.min(initial=0))
    span = int(ids.max(initial=0)) - low + 1
    if span > _TABLE * (len(ids) + 1):
        return np.unique(ids, return_inverse=True)
    seen = np.zeros(span, np.bool_)
    seen[ids - low] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[ids - low]


def write(path: Path, predictions: Predictions, dataset: Dataset) -> None:
    """Write COCO results with the normalized ids, in canonical order, whole or not at all.

    Regions are written as compressed run lengths.

    Raises:
        OSError: the folder can't be written.
        ValueError: a row that the table's promises rule out (a score outside [0, 1], a box not finite).
    """
    ordered = canonical_order(predictions)
    box, score = ordered.box, ordered.score
    if not (np.isfinite(box).all() and ((score >= 0) & (score <= 1)).all()):
        raise ValueError("predictions with boxes that are not finite, or scores outside [0, 1]")
    lines = [
        msgspec.json.encode(
            {
                "image_id": int(dataset.images.id[image]),
                "category_id": dataset.categories[label].id,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": said,
                **_segmentation(ordered.region, row, dataset.images.size[image]),
            }
        )
        for row, (image, label, (x0, y0, x1, y1), said) in enumerate(
            zip(ordered.image.tolist(), ordered.label.tolist(), box.tolist(), score.tolist(), strict=True)
        )
    ]
    atomic_write(path, b"[" + b",\n".join(lines) + b"]\n")


def canonical_order(predictions: Predictions) -> Predictions:
    """The same rows by image, descending score, box, label: nothing may depend on a file's order."""

    def content(rows: Ints) -> list[Column]:
        keys: list[Column] = [*predictions.box[rows].T, predictions.label[rows]]
        if predictions.region is not None:
            # Equal but for the region: any fixed order will do.
            text = [msgspec.json.encode(to_coco(predictions.region[row])) for row in rows.tolist()]
            keys.append(np.unique(np.array(text, np.object_), return_inverse=True)[1])
        return keys

    order = ranked([predictions.image, -predictions.score], content)
    return predictions if (np.diff(order) == 1).all() else predictions.take(order)


def _segmentation(regions: tuple[Region, ...] | None, row: int, size: Ints) -> dict[str, Any]:
    if regions is None:
        return {}
    return {"segmentation": to_coco(geometry.to_rle(regions[row], int(size[0]), int(size[1])))}


def _numbering(path: Path, raw: bytes, dataset: Dataset, ids: str) -> str:
    return "normalized" if ids == "auto" and _is_ours(path, raw, dataset) else ids


def _is_ours(path: Path, raw: bytes, dataset: Dataset) -> bool:
    """Whether the manifest beside the file says that it was made for this split by our own runs.

    Raises:
        PredictionsError: it was made by our own runs, for another dataset.
    """
    try:
        manifest: Manifest = decode((path.parent / "manifest.json").read_bytes(), Manifest)
    except (OSError, msgspec.DecodeError):
        return False
    if manifest.predictions_sha256 != hashlib.sha256(raw).hexdigest():
        return False
    if manifest.dataset_fingerprint != dataset.fingerprint:
        raise PredictionsError(
            Fault(
                where=str(path), expected=f"predictions about this {dataset.split} split",
                found=f"a manifest that names another dataset or split ({manifest.split},"
                f" {manifest.dataset_fingerprint[:12]})",
                fix="Predict again on this dataset.",
            )
        )  # fmt: skip
    return True
