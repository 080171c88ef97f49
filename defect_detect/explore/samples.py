"""A split and what all runs said about it, as the documents of FiftyOne samples that already carry their results.

FiftyOne's own objects check every value many times over and are made anew once they are stored, which takes over ten
times as long as the documents behind them. So the documents are made at once, each beginning as a copy of one that
FiftyOne itself makes; `tests/test_explore_documents.py` holds them equal to what FiftyOne would store.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

import numpy as np

from defect_detect.evaluation.comparison import Place
from defect_detect.explore import objects
from defect_detect.explore.names import ALARMED, TRUTH
from defect_detect.explore.objects import Document
from defect_detect.explore.rows import ABSORBED, BELOW, HIT, Told, by_image, sample_id, values
from defect_detect.tables import Bools, Dataset


def documents(
    fiftyone: ModuleType,
    truth: Dataset,
    runs: Sequence[Told],
    missed: Mapping[str, Bools],
    alarmed: Sequence[Place],
    *,
    image_columns: Mapping[str, str],
    defect_columns: Mapping[str, str],
    sizes: Sequence[float] = (),
    mark: str,
    first: int = 0,
) -> Iterator[Document]:
    """One document for each picture from row `first` on, in the order of the table; one at a time.

    `missed` is `agreement.missed_by`; `alarmed` the places where all detectors raise a false alarm; `image_columns` and
    `defect_columns` map the user's own columns to field names; `sizes` are the edges of the size bins; `mark` tells
    the samples of this dataset from those of others (`rows.sample_id`).
    """
    from bson import ObjectId

    images, empty, random = truth.images, _blank(fiftyone), np.random.default_rng(0)
    defect = objects.defects(fiftyone, truth, runs, missed, defect_columns, sizes=sizes)
    defects_of = by_image(truth.defects.image, len(images))
    tellers = [_Teller(fiftyone, told) for told in runs]
    places = _by_file(alarmed)
    extra = {field: values(images.attribute[name]) for name, field in image_columns.items()}
    root, free, counts = truth.root.resolve(), truth.defect_free.tolist(), truth.defects.counts.tolist()
    for row in range(first, len(images)):
        file, (width, height), rows = images.file[row], images.size[row].tolist(), defects_of[row]
        now = dt.datetime.now(dt.UTC)
        document = empty | {
            "_id": ObjectId(sample_id(mark, row)),
            "_rand": _LEAST_RANDOM + (1 - _LEAST_RANDOM) * random.random(),
            "created_at": now,
            "last_modified_at": now,
            "filepath": str(root / file),
            "tags": [truth.split],
            "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
            TRUTH: _labels([defect(g) for g in rows]),
            ALARMED: _labels([objects.place(fiftyone, where, width, height) for where in places.get(file, ())]),
            "group": str(images.group[row]),
            "image_id": int(images.id[row]),
            "source_id": str(images.source_id[row]),
            "defect_free": free[row],
            "defects": sum(counts[g] for g in rows),
        }
        for teller in tellers:
            document |= teller.fields(row, rows)
        document |= {field: column[row] for field, column in extra.items() if column[row] is not None}
        yield document


_LEAST_RANDOM = 0.999
"""FiftyOne draws the number by which it shuffles samples from here to 1."""


def _blank(fiftyone: ModuleType) -> Document:
    """What FiftyOne stores of a sample that says nothing."""
    # It tells pictures by their ending; what was normalized is a picture, whatever it is called.
    stored: Document = fiftyone.Sample(filepath="picture.png").to_mongo_dict()
    return {name: value for name, value in stored.items() if name != "_id" and value is not None}


def _labels(detections: list[Document]) -> Document:
    return {"_cls": "Detections", "detections": detections}


class _Teller:
    """What one run adds to a sample."""

    def __init__(self, fiftyone: ModuleType, told: Told) -> None:
        judged = told.judged
        self._key = told.key
        self._make = objects.predictions(fiftyone, told)
        self._of = _by_score(told)
        self._above, self._stored = told.above.tolist(), told.stored.tolist()
        self._outcome = judged.outcome.tolist()
        self._lost = (judged.evaluation.truth.defects.counts & ~judged.found).tolist()

    def fields(self, image: int, defects: list[int]) -> Document:
        key, rows = self._key, self._of[image]
        outcome = [self._outcome[row] for row in rows]
        hits = outcome.count(HIT)
        alarms = len(rows) - outcome.count(ABSORBED) - outcome.count(BELOW)
        return {
            key.key: _labels([self._make(row) for row in rows if self._above[row]]),
            key.below: _labels([self._make(row) for row in rows if self._stored[row] and not self._above[row]]),
            f"{key.key}_tp": hits,
            f"{key.key}_fp": alarms - hits,
            f"{key.key}_fn": sum(self._lost[row] for row in defects),
            f"{key.key}_alarmed": alarms > 0,
        }


def _by_score(told: Told) -> list[list[int]]:
    """For each picture the rows of its predictions, by descending score."""
    predictions, truth = told.judged.evaluation.predictions, told.judged.evaluation.truth
    order = np.argsort(-predictions.score, kind="stable")
    ranked = by_image(predictions.image[order], len(truth.images))
    return [order[rows].tolist() for rows in ranked]


def _by_file(alarmed: Sequence[Place]) -> Mapping[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for place in alarmed:
        places.setdefault(place.image, []).append(place)
    return places
