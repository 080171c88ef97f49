"""Defects, predictions and places as the documents of FiftyOne detections that already carry their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from defect_detect.evaluation.comparison import Place
from defect_detect.evaluation.slices import severity, size_bin
from defect_detect.explore.rows import ABSORBED, BELOW, HIT, Told, defect_id, prediction_id, values
from defect_detect.geometry import to_mask
from defect_detect.tables import Bools, Dataset, Floats, Ints, Region

ALL, SOME, NONE, UNCOUNTED = "missed by all", "missed by some", "found by all", "not counted"
"""A defect's fate over all detectors."""

Document = dict[str, Any]
MakeObject = Callable[[int], Document]
"""The document of one row."""


def blank(fiftyone: ModuleType) -> Document:
    """What FiftyOne stores of a detection that says nothing; documents begin as a copy of it."""
    stored: Document = fiftyone.Detection().to_dict()
    return {name: value for name, value in stored.items() if name != "_id" and value is not None}


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

    `missed` is `agreement.missed_by`, `columns` the user's own columns -> attribute names, `sizes` the edges of the
    size bins (none: COCO's).
    """
    from bson import ObjectId

    table, empty, shape = truth.defects, blank(fiftyone), _shapes(truth, truth.defects)
    counts, names = table.counts.tolist(), [truth.categories[label].name for label in table.label.tolist()]
    whole = {
        "iscrowd": table.crowd.tolist(),
        "ignore": table.ignore.tolist(),
        "severity": [name or None for name in severity(truth).tolist()],
        "size": size_bin(truth, sizes).tolist(),
        "area": table.area.tolist(),
        "annotation_id": table.id.tolist(),
        "source_id": [str(own) for own in table.source_id],
    } | {field: values(table.attribute[name]) for name, field in columns.items()}
    misses = {name: whether.tolist() for name, whether in missed.items()}
    fates = [_fates(told) for told in runs]

    def make(row: int) -> Document:
        document = empty | {"_id": ObjectId(defect_id(truth, row)), "label": names[row]} | shape(row)
        document |= {name: column[row] for name, column in whole.items() if column[row] is not None}
        if counts[row]:
            by = [name for name, whether in misses.items() if whether[row]]
            document["tags"] = [f"{'missed' if name in by else 'found'} by {name}" for name in misses]
            document |= {"missed_by": by, "missed_by_count": len(by)}
            document["fate"] = NONE if not by else ALL if len(by) == len(misses) else SOME
        else:
            document |= {"tags": [], "fate": UNCOUNTED}
        for fate in fates:
            document |= fate(row)
        return document

    return make


def predictions(fiftyone: ModuleType, told: Told) -> MakeObject:
    """Makes the detection of a prediction row of one run."""
    from bson import ObjectId

    judged, truth, key = told.judged, told.judged.evaluation.truth, told.key.key
    table, matching = judged.evaluation.predictions, judged.evaluation.matching
    empty, shape = blank(fiftyone), _shapes(truth, table)
    names, label, score = [category.name for category in truth.categories], table.label.tolist(), table.score.tolist()
    outcomes, defect_of, iou = judged.outcome.tolist(), matching.defect_of.tolist(), matching.iou.tolist()

    def make(row: int) -> Document:
        outcome = outcomes[row]
        document = empty | {
            "_id": ObjectId(prediction_id(told.number, row)),
            "label": names[label[row]],
            "confidence": score[row],
            "tags": [_SPOKEN.get(outcome, "false alarm")],
            "outcome": outcome,
        }
        document |= shape(row)
        if outcome == HIT:
            defect = defect_of[row]
            document |= {key: "tp", f"{key}_id": defect_id(truth, defect), f"{key}_iou": iou[defect]}
            document["hit_of"] = int(truth.defects.id[defect])
        elif outcome != BELOW:
            # FiftyOne reads an empty id as 'no partner'.
            document[f"{key}_id"] = ""
            if outcome != ABSORBED:
                document[key] = "fp"
        return document

    return make


def place(fiftyone: ModuleType, where: Place, width: int, height: int) -> Document:
    """The detection of a place in a picture of `width` x `height` px."""
    from bson import ObjectId

    box = np.array([where.box]) / [[width, height, width, height]]
    relative = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)[0].tolist()
    return blank(fiftyone) | {"_id": ObjectId(), "label": where.category, "bounding_box": relative}


_SPOKEN = {HIT: "hit", ABSORBED: "not counted", BELOW: "below threshold"}


def _fates(told: Told) -> Callable[[int], Document]:
    judged, truth, key = told.judged, told.judged.evaluation.truth, told.key.key
    matching = judged.evaluation.matching
    counts, found, candidate = truth.defects.counts.tolist(), judged.found.tolist(), judged.candidate.tolist()
    at, iou, by = matching.found_at.tolist(), matching.iou.tolist(), matching.prediction_of.tolist()
    reason, near, score = judged.reason.tolist(), told.candidate_iou.tolist(), judged.evaluation.predictions.score
    ever = np.isfinite(matching.found_at).tolist()

    def fate(row: int) -> Document:
        if not counts[row]:
            return {f"{key}_id": ""}
        fields: Document = {f"{key}_found_at": at[row]} if ever[row] else {}
        if found[row]:
            fields |= {key: "tp", f"{key}_id": prediction_id(told.number, by[row]), f"{key}_iou": iou[row]}
            return fields
        fields |= {key: "fn", f"{key}_id": "", f"{key}_reason": reason[row]}
        if candidate[row] >= 0:
            fields[f"{key}_candidate_id"] = prediction_id(told.number, candidate[row])
            fields[f"{key}_candidate_score"] = float(score[candidate[row]])
            fields[f"{key}_candidate_iou"] = near[row]
        return fields

    return fate


class _Table(Protocol):
    """What defects and predictions have in common."""

    @property
    def image(self) -> Ints: ...
    @property
    def box(self) -> Floats: ...
    @property
    def region(self) -> tuple[Region, ...] | None: ...


def _shapes(truth: Dataset, table: _Table) -> MakeObject:
    """Makes the box, as shares of the picture, and the mask of a row."""
    size, region = truth.images.size[table.image].astype(np.float64), table.region
    scaled = np.concatenate([table.box[:, :2] / size, (table.box[:, 2:] - table.box[:, :2]) / size], axis=1).tolist()

    def shape(row: int) -> Document:
        if region is None:
            return {"bounding_box": scaled[row]}
        width, height = (int(side) for side in size[row])
        return {"bounding_box": scaled[row], "mask": _mask(region[row], table.box[row].tolist(), width, height)}

    return shape


def _mask(region: Region, box: Sequence[float], width: int, height: int) -> bytes:
    """FiftyOne stretches a mask over its box, so it is cut along whole pixels."""
    from fiftyone.core.utils import serialize_numpy_array

    x0, y0 = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    x1, y1 = max(round(box[2]), x0 + 1), max(round(box[3]), y0 + 1)
    packed: bytes = serialize_numpy_array(np.ascontiguousarray(to_mask(region, width, height)[y0:y1, x0:x1]))
    return packed
