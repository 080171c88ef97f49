"""COCO results taken entry by entry: they may name images and classes, have regions, and have faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect.data import parsing
from defect_detect.data.naming import Names, Space, decide, used
from defect_detect.data.regions import MalformedError, parse
from defect_detect.data.spans import numbers
from defect_detect.errors import Fault, PredictionsError
from defect_detect.tables import Predictions, Region

_LISTED = 20
_ENOUGH = 1000
_KEYS = "Each is an object with image_id, category_id, bbox and score."
_BROKEN = "Did the detector diverge, or does its writer do something else? Write the file anew."


def of_entries(path: Path, raw: bytes, names: Names, ids: str) -> Predictions:
    """The predictions in the bytes of the file at `path`; `ids` as in `predictions.read`.

    Raises:
        PredictionsError: no COCO results, or some that don't fit the dataset; all faults, the first 20 in words.
    """
    entries = _listed(path, parsing.parse(raw, where=str(path), error=PredictionsError))
    space = decide(path, *used(entries), names, ids=ids)
    faults: list[Fault] = []
    rows = []
    for at, entry in enumerate(entries):
        rows.append(_row(f"{path.name}[{at}]", entry, names=names, space=space, faults=faults))
        if len(faults) > _ENOUGH:
            break
    found = [row for row in rows if row is not None]
    with_region = sum(row[4] is not None for row in found)
    if 0 < with_region < len(found) and not faults:
        faults.append(
            Fault(where=str(path), expected="a segmentation in every prediction or in none",
                  found=f"{with_region} of {len(found)} with one", fix="Leave them out, or give all.")
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


def _listed(path: Path, content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    keys = ", ".join(list(content)[:5]) if isinstance(content, dict) else type(content).__name__
    hint = (
        "That is a dataset, not what a detector said." if isinstance(content, dict) and "images" in content else _KEYS
    )
    raise PredictionsError(
        Fault(where=str(path), expected="COCO results: a list of predictions", found=keys, fix=hint)
    )  # fmt: skip


_Row = tuple[int, int, tuple[float, float, float, float], float, Region | None]


def _row(where: str, entry: Any, *, names: Names, space: Space, faults: list[Fault]) -> _Row | None:
    if not isinstance(entry, Mapping):
        faults.append(Fault(where=where, expected="a prediction", found=repr(entry)[:80], fix=_KEYS))
        return None
    image, label = names.image(entry, space), names.label(entry, space)
    if isinstance(image, Fault) or isinstance(label, Fault):
        faults += [replace(bad, where=where) for bad in (image, label) if isinstance(bad, Fault)]
        return None
    box, score = numbers(entry.get("bbox")), entry.get("score")
    if box is None or box[2] < 0 or box[3] < 0:
        faults.append(
            Fault(where=f"{where}.bbox", expected="x y width height: four finite numbers, sizes not negative",
                  found=repr(entry.get("bbox"))[:80], fix=_BROKEN)
        )  # fmt: skip
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1 or math.isnan(score):
        faults.append(
            Fault(where=f"{where}.score", expected="a number from 0 to 1", found=repr(score)[:80], fix=_BROKEN)
        )
        return None
    width, height = names.dataset.images.size[image].tolist()
    try:
        region, _ = parse(entry.get("segmentation"), width, height, empty=True)
    except MalformedError as error:
        faults.append(
            Fault(where=f"{where}.segmentation", expected="a region of the picture", found=str(error), fix=_BROKEN)
        )
        return None
    x, y, w, h = box
    return image, label, (x, y, x + w, y + h), float(score), region


def _first(path: Path, faults: list[Fault]) -> list[Fault]:
    if len(faults) <= _LISTED:
        return faults
    all_of = f"more than {_ENOUGH:,}" if len(faults) > _ENOUGH else f"{len(faults)} in all"
    rest = Fault(where=str(path), expected="no faults", found=f"{all_of}, the first {_LISTED} listed")
    return [*faults[:_LISTED], rest]
