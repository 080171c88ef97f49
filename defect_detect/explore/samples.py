"""A split and what all runs said about it, as FiftyOne samples that already carry their results.

Adding samples that are complete is several times faster than adding bare ones and setting values later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from defect_detect.evaluation.comparison import Place
from defect_detect.explore import objects
from defect_detect.explore.names import ALARMED, TRUTH
from defect_detect.explore.rows import ABSORBED, HIT, Told, by_image, values
from defect_detect.tables import Bools, Dataset, Ints


def samples(
    fiftyone: ModuleType,
    truth: Dataset,
    runs: Sequence[Told],
    missed: Mapping[str, Bools],
    alarmed: Sequence[Place],
    *,
    image_columns: Mapping[str, str],
    defect_columns: Mapping[str, str],
    sizes: Sequence[float] = (),
) -> Iterator[Any]:
    """One sample for each picture, in the order of the table; one at a time, so that memory stays bounded.

    `missed` is `rows.missed_by`; `alarmed` the places where all detectors raise a false alarm; `image_columns`
    and `defect_columns` map the user's own columns to field names; `sizes` are the edges of the size bins.
    """
    images = truth.images
    defect = objects.defects(fiftyone, truth, runs, missed, defect_columns, sizes=sizes)
    defects_of = by_image(truth.defects.image, len(images))
    tellers = [_Teller(fiftyone, told) for told in runs]
    places = _by_file(alarmed)
    extra = {field: values(images.attribute[name]) for name, field in image_columns.items()}
    root, free, counts = truth.root.resolve(), truth.defect_free, truth.defects.counts
    for row, file in enumerate(images.file):
        width, height = images.size[row].tolist()
        rows = defects_of[row]
        found = [objects.place(fiftyone, where, width, height) for where in places.get(file, ())]
        fields: dict[str, Any] = {
            TRUTH: fiftyone.Detections(detections=[defect(g) for g in rows]),
            ALARMED: fiftyone.Detections(detections=found),
            "group": str(images.group[row]),
            "image_id": int(images.id[row]),
            "source_id": str(images.source_id[row]),
            "defect_free": bool(free[row]),
            "defects": int(counts[rows].sum()),
        }
        for teller in tellers:
            fields.update(teller.fields(row, rows))
        fields.update({field: column[row] for field, column in extra.items()})
        yield fiftyone.Sample(
            filepath=str(root / file),
            tags=[truth.split],
            metadata=fiftyone.ImageMetadata(width=width, height=height),
            **fields,
        )


class _Teller:
    """What one run adds to a sample."""

    def __init__(self, fiftyone: ModuleType, told: Told) -> None:
        judged = told.judged
        self._fiftyone = fiftyone
        self._told = told
        self._make = objects.predictions(fiftyone, told)
        self._of = by_image(judged.evaluation.predictions.image, len(judged.evaluation.truth.images))
        self._lost = judged.evaluation.truth.defects.counts & ~judged.found

    def fields(self, image: int, defects: list[int]) -> dict[str, Any]:
        told, key = self._told, self._told.key
        rows = np.array(self._of[image], np.int64)
        rows = rows[np.argsort(-told.judged.evaluation.predictions.score[rows], kind="stable")]
        above, stored = told.above[rows], told.stored[rows]
        outcome = told.judged.outcome[rows[above]]
        hits, alarms = int((outcome == HIT).sum()), int((outcome != ABSORBED).sum())
        return {
            key.key: self._detections(rows[above]),
            key.below: self._detections(rows[stored & ~above]),
            f"{key.key}_tp": hits,
            f"{key.key}_fp": alarms - hits,
            f"{key.key}_fn": int(self._lost[defects].sum()),
            f"{key.key}_alarmed": alarms > 0,
        }

    def _detections(self, rows: Ints) -> Any:
        return self._fiftyone.Detections(detections=[self._make(row) for row in rows.tolist()])


def _by_file(alarmed: Sequence[Place]) -> Mapping[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for place in alarmed:
        places.setdefault(place.image, []).append(place)
    return places
