"""Reads and writes what a detector said, as COCO results. No prediction may meet the wrong image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect import geometry
from defect_detect.data.files import atomic_write
from defect_detect.data.naming import Names, Space, decide
from defect_detect.data.parsing import read_json
from defect_detect.data.regions import MalformedError, parse, to_coco
from defect_detect.data.spans import numbers
from defect_detect.errors import Fault, PredictionsError
from defect_detect.job import Manifest
from defect_detect.tables import Dataset, Ints, Predictions, Region

_LISTED = 20


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
    raw, content = read_json(path, error=PredictionsError)
    entries = _results(path, content)
    if ids == "auto" and _is_ours(path, raw, dataset):
        ids = "normalized"
    names = Names(dataset)
    space = decide(path, entries, names, ids)
    faults: list[Fault] = []
    rows = [
        _row(f"{path.name}[{at}]", entry, names=names, space=space, dataset=dataset, faults=faults)
        for at, entry in enumerate(entries)
    ]
    found = [row for row in rows if row is not None]
    with_region = sum(row[4] is not None for row in found)
    if 0 < with_region < len(found) and not faults:
        faults.append(
            Fault(where=str(path), expected="a segmentation in every prediction or in none",
                  found=f"{with_region} of {len(found)} with one")
        )  # fmt: skip
    if faults:
        raise PredictionsError(*_first(path, faults))
    return Predictions(
        image=np.array([row[0] for row in found], np.int64),
        label=np.array([row[1] for row in found], np.int64),
        box=np.array([row[2] for row in found], np.float64).reshape(-1, 4),
        score=np.array([row[3] for row in found], np.float64),
        region=tuple(row[4] for row in found if row[4] is not None) if with_region else None,
    )


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
    box = predictions.box
    keys: list[Any] = [predictions.label, *box.T[::-1], -predictions.score, predictions.image]
    if predictions.region is not None:
        text = [msgspec.json.encode(to_coco(region)) for region in predictions.region]
        # Equal but for the region: any fixed order will do.
        keys.insert(0, np.unique(np.array(text, np.object_), return_inverse=True)[1] if text else np.zeros(0))
    return predictions.take(np.lexsort(keys))


def _segmentation(regions: tuple[Region, ...] | None, row: int, size: Ints) -> dict[str, Any]:
    if regions is None:
        return {}
    return {"segmentation": to_coco(geometry.to_rle(regions[row], int(size[0]), int(size[1])))}


def _results(path: Path, content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    keys = ", ".join(list(content)[:5]) if isinstance(content, dict) else type(content).__name__
    hint = "That is a dataset, not what a detector said." if isinstance(content, dict) and "images" in content else ""
    raise PredictionsError(
        Fault(where=str(path), expected="COCO results: a list of predictions", found=keys, fix=hint)
    )  # fmt: skip


def _is_ours(path: Path, raw: bytes, dataset: Dataset) -> bool:
    """Whether the manifest beside the file says that it was made for this split by our own runs.

    Raises:
        PredictionsError: it was made by our own runs, for another dataset.
    """
    try:
        manifest = msgspec.json.decode((path.parent / "manifest.json").read_bytes(), type=Manifest)
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


_Row = tuple[int, int, tuple[float, float, float, float], float, Region | None]


def _row(
    where: str, entry: Any, *, names: Names, space: Space, dataset: Dataset, faults: list[Fault]
) -> _Row | None:  # fmt: skip
    if not isinstance(entry, Mapping):
        faults.append(Fault(where=where, expected="a prediction", found=repr(entry)[:80]))
        return None
    image, label = names.image(entry, space), names.label(entry, space)
    if isinstance(image, Fault) or isinstance(label, Fault):
        faults += [replace(bad, where=where) for bad in (image, label) if isinstance(bad, Fault)]
        return None
    box, score = numbers(entry.get("bbox")), entry.get("score")
    if box is None or box[2] < 0 or box[3] < 0:
        faults.append(
            Fault(where=f"{where}.bbox", expected="x y width height: four finite numbers, sizes not negative",
                  found=repr(entry.get("bbox"))[:80])
        )  # fmt: skip
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1 or math.isnan(score):
        faults.append(Fault(where=f"{where}.score", expected="a number from 0 to 1", found=repr(score)[:80]))
        return None
    width, height = dataset.images.size[image].tolist()
    try:
        region, _ = parse(entry.get("segmentation"), width, height, empty=True)
    except MalformedError as error:
        faults.append(Fault(where=f"{where}.segmentation", expected="a region of the picture", found=str(error)))
        return None
    x, y, w, h = box
    return image, label, (x, y, x + w, y + h), float(score), region


def _first(path: Path, faults: list[Fault]) -> list[Fault]:
    if len(faults) <= _LISTED:
        return faults
    rest = Fault(where=str(path), expected="no faults", found=f"{len(faults)} in all, the first {_LISTED} listed")
    return [*faults[:_LISTED], rest]
