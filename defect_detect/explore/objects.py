"""Defects, predictions and places as FiftyOne detections that already carry their results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from defect_detect.evaluation.comparison import Place
from defect_detect.evaluation.slices import severity, size_bin
from defect_detect.explore.rows import ABSORBED, BELOW, HIT, Told, defect_id, prediction_id, values
from defect_detect.geometry import to_mask
from defect_detect.tables import Bools, Dataset, Region

ALL, SOME, NONE, UNCOUNTED = "missed by all", "missed by some", "found by all", "not counted"
"""A defect's fate over all detectors."""

MakeObject = Callable[[int], Any]
"""The detection of one row."""


def defects(
    fiftyone: ModuleType,
    truth: Dataset,
    runs: Sequence[Told],
    missed: Mapping[str, Bools],
    columns: Mapping[str, str],
    *,
    sizes: Sequence[float] = (),
) -> MakeObject:
    """Makes the detection of a ground-truth row, with its fate under every run.

    `missed` is `rows.missed_by`, `columns` the user's own columns -> attribute names, `sizes` the edges of the size
    bins (none: COCO's).
    """
    table, counts = truth.defects, truth.defects.counts
    extra = {field: values(table.attribute[name]) for name, field in columns.items()}
    fates = [_fates(told) for told in runs]
    severities, bins = severity(truth).tolist(), size_bin(truth, sizes).tolist()

    def make(row: int) -> Any:
        category = truth.categories[table.label[row]]
        misses = [name for name, whether in missed.items() if whether[row]] if counts[row] else None
        fields: dict[str, Any] = {field: column[row] for field, column in extra.items()}
        for fate in fates:
            fields.update(fate(row))
        return fiftyone.Detection(
            id=defect_id(truth, row),
            label=category.name,
            tags=[] if misses is None else [f"{'missed' if d in misses else 'found'} by {d}" for d in missed],
            **_shape(
                truth,
                int(table.image[row]),
                table.box[row].tolist(),
                None if table.region is None else table.region[row],
            ),
            iscrowd=bool(table.crowd[row]),
            ignore=bool(table.ignore[row]),
            severity=severities[row] or None,
            size=bins[row],
            area=float(table.area[row]),
            annotation_id=int(table.id[row]),
            source_id=str(table.source_id[row]),
            missed_by=misses,
            missed_by_count=None if misses is None else len(misses),
            fate=_over_all(misses, len(missed)),
            **fields,
        )

    return make


def predictions(fiftyone: ModuleType, told: Told) -> MakeObject:
    """Makes the detection of a prediction row of one run."""
    judged, truth, key = told.judged, told.judged.evaluation.truth, told.key.key
    table, matching = judged.evaluation.predictions, judged.evaluation.matching

    def make(row: int) -> Any:
        outcome = str(judged.outcome[row])
        hit = outcome == HIT
        defect = int(matching.defect_of[row]) if hit else -1
        fields: dict[str, Any] = {"outcome": outcome}
        if hit:
            fields["hit_of"] = int(truth.defects.id[defect])
        if outcome not in (BELOW, ABSORBED):
            fields[key] = "tp" if hit else "fp"
        if outcome != BELOW:
            # FiftyOne reads an empty id as 'no partner'.
            fields[f"{key}_id"] = defect_id(truth, defect) if hit else ""
            fields[f"{key}_iou"] = float(matching.iou[defect]) if hit else None
        return fiftyone.Detection(
            id=prediction_id(told.number, row),
            label=truth.categories[table.label[row]].name,
            confidence=float(table.score[row]),
            tags=[_SPOKEN.get(outcome, "false alarm")],
            **_shape(
                truth,
                int(table.image[row]),
                table.box[row].tolist(),
                None if table.region is None else table.region[row],
            ),
            **fields,
        )

    return make


def place(fiftyone: ModuleType, where: Place, width: int, height: int) -> Any:
    """The detection of a place in a picture of `width` x `height` px."""
    return fiftyone.Detection(label=where.category, bounding_box=_relative(where.box, width, height))


_SPOKEN = {HIT: "hit", ABSORBED: "not counted", BELOW: "below threshold"}


def _fates(told: Told) -> Callable[[int], dict[str, Any]]:
    judged, truth, key = told.judged, told.judged.evaluation.truth, told.key.key
    counts, matching, score = truth.defects.counts, judged.evaluation.matching, judged.evaluation.predictions.score

    def fate(row: int) -> dict[str, Any]:
        if not counts[row]:
            return {f"{key}_id": ""}
        found, candidate, found_at = bool(judged.found[row]), int(judged.candidate[row]), float(matching.found_at[row])
        fields: dict[str, Any] = {
            key: "tp" if found else "fn",
            f"{key}_id": prediction_id(told.number, int(matching.prediction_of[row])) if found else "",
            f"{key}_iou": float(matching.iou[row]) if found else None,
            f"{key}_found_at": found_at if math.isfinite(found_at) else None,
        }
        if not found:
            fields[f"{key}_reason"] = str(judged.reason[row])
            if candidate >= 0:
                fields[f"{key}_candidate_id"] = prediction_id(told.number, candidate)
                fields[f"{key}_candidate_score"] = float(score[candidate])
                fields[f"{key}_candidate_iou"] = float(told.candidate_iou[row])
        return fields

    return fate


def _over_all(misses: list[str] | None, detectors: int) -> str:
    if misses is None:
        return UNCOUNTED
    return NONE if not misses else ALL if len(misses) == detectors else SOME


def _shape(truth: Dataset, image: int, box: list[float], region: Region | None) -> dict[str, Any]:
    width, height = truth.images.size[image].tolist()
    shape: dict[str, Any] = {"bounding_box": _relative(box, width, height)}
    if region is not None:
        # FiftyOne stretches a mask over its box, so it is cut along whole pixels.
        x0, y0 = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
        x1, y1 = max(round(box[2]), x0 + 1), max(round(box[3]), y0 + 1)
        shape["mask"] = np.ascontiguousarray(to_mask(region, width, height)[y0:y1, x0:x1])
    return shape


def _relative(box: Sequence[float], width: int, height: int) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
