"""COCO results taken entry by entry: they may name images and classes, have regions, and have faults."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect.data import parsing, streaming
from defect_detect.data.naming import Names, Space, decide, used
from defect_detect.data.regions import MalformedError, parse
from defect_detect.data.spans import numbers
from defect_detect.errors import Fault, PredictionsError
from defect_detect.tables import Predictions, Region

_LISTED = 20
_ENOUGH = 1000
_LIST = "COCO results: a list of predictions"
_KEYS = "Each is an object with image_id, category_id, bbox and score."
_BROKEN = "Did the detector diverge, or does its writer do something else? Write the file anew."


def of_entries(path: Path, raw: bytes, names: Names, ids: str) -> Predictions:
    """The predictions in the bytes of the file at `path`; `ids` as in `predictions.read`.

    Raises:
        PredictionsError: no COCO results, or some that don't fit the dataset; all faults, the first 20 in words.
    """
    where = str(path)
    parsing.check(raw, where=where, error=PredictionsError)
    if not streaming.is_list(raw):
        raise PredictionsError(_no_list(where, raw))

    def entries() -> Iterator[Any]:
        return streaming.entries(raw, where=where, error=PredictionsError)

    space = decide(path, *used(entries()), names, ids=ids)
    faults: list[Fault] = []
    image, label, box, score = array("q"), array("q"), array("d"), array("d")
    region: list[Region] = []
    for at, entry in enumerate(entries()):
        row = _row(f"{path.name}[{at}]", entry, names=names, space=space, faults=faults)
        if row is not None:
            image.append(row[0])
            label.append(row[1])
            box.extend(row[2])
            score.append(row[3])
            region.extend([] if row[4] is None else [row[4]])
        if len(faults) > _ENOUGH:
            break
    if 0 < len(region) < len(image) and not faults:
        faults.append(
            Fault(where=where, expected="a segmentation in every prediction or in none",
                  found=f"{len(region)} of {len(image)} with one", fix="Leave them out, or give all.")
        )  # fmt: skip
    if faults:
        raise PredictionsError(*_first(path, faults))
    return Predictions(
        image=np.array(image, np.int64), label=np.array(label, np.int64),
        box=np.array(box, np.float64).reshape(-1, 4), score=np.array(score, np.float64),
        region=tuple(region) if region else None,
    )  # fmt: skip


def _no_list(where: str, raw: bytes) -> Fault:
    keys = streaming.keys(raw)
    first = list(islice(keys, 5))
    if not first:
        value = parsing.build(raw.removeprefix(parsing.BOM), where=where, error=PredictionsError)
        return Fault(where=where, expected=_LIST, found=type(value).__name__ if value != {} else "", fix=_KEYS)
    dataset = "images" in first or "images" in keys
    hint = "That is a dataset, not what a detector said." if dataset else _KEYS
    return Fault(where=where, expected=_LIST, found=", ".join(first), fix=hint)


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
