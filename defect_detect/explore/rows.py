"""What is told about one run, prepared as columns: which predictions are stored, what everything is called.

Labels get ids made of where they come from, so storing a comparison again gives every object the id it had.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from defect_detect.evaluation.judged import Judged
from defect_detect.explore.names import Key
from defect_detect.geometry import paired_iou
from defect_detect.tables import Bools, Column, Dataset, Floats, Ints

FLOOR = 0.01
"""Predictions under the operating point are stored from this score up ..."""
BELOW_PER_IMAGE = 20
"""... and the best of them only, so many a picture. Hits and whatever explains a miss are always stored."""

BELOW = "below_threshold"
HIT = "hit"
ABSORBED = "absorbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One run, ready to be written.

    number         its place among all runs, from 1
    stored         (P,) bool, the prediction goes into the dataset
    above          (P,) bool, it reaches the operating point
    candidate_iou  (G,) float64, IoU of the boxes of a defect and its candidate, nan: no candidate
    """

    key: Key
    number: int
    judged: Judged
    stored: Bools
    above: Bools
    candidate_iou: Floats

    @property
    def left_out(self) -> int:
        """Predictions that are not stored."""
        return int((~self.stored).sum())


def tell(key: Key, number: int, judged: Judged) -> Told:
    """The run under its key, with what is to be stored of it."""
    predictions = judged.evaluation.predictions
    above = judged.outcome != BELOW
    stored = above | (judged.evaluation.matching.defect_of >= 0)
    explains = judged.candidate >= 0
    stored[judged.candidate[explains]] = True
    rest = np.flatnonzero(~stored & (predictions.score >= FLOOR))
    order = rest[np.lexsort((-predictions.score[rest], predictions.image[rest]))]
    image = predictions.image[order]
    stored[order[np.arange(len(order)) - np.searchsorted(image, image) < BELOW_PER_IMAGE]] = True
    return Told(
        key=key, number=number, judged=judged, stored=stored, above=above, candidate_iou=candidate_iou(judged)
    )  # fmt: skip


def candidate_iou(judged: Judged) -> Floats:
    """(G,) IoU of the boxes of a defect and its candidate, nan: no candidate."""
    truth, predictions, explains = judged.evaluation.truth, judged.evaluation.predictions, judged.candidate >= 0
    iou = np.full(len(truth.defects), np.nan)
    iou[explains] = paired_iou(truth.defects.box[explains], predictions.box[judged.candidate[explains]])
    return iou


def defect_id(truth: Dataset, row: int) -> str:
    """24 hex digits, from the annotation id."""
    return f"{0:08x}{int(truth.defects.id[row]):016x}"


def prediction_id(number: int, row: int) -> str:
    """24 hex digits, from the run's number (from 1) and the prediction's row."""
    return f"{number:08x}{row:016x}"


def sample_id(mark: str, row: int) -> str:
    """24 hex digits, from 8 of the dataset's own and the picture's row."""
    return f"{mark[:8]}{row + 1:016x}"


def by_image(image: Ints, images: int) -> list[list[int]]:
    """For each picture the rows that lie in it, in their own order."""
    order = np.argsort(image, kind="stable")
    bounds = np.searchsorted(image[order], np.arange(images + 1))
    return [order[start:end].tolist() for start, end in itertools.pairwise(bounds)]


def values(column: Column) -> list[Any]:
    """The column as Python values of one kind: bool, int, float or str; None where there is none."""
    if column.dtype.kind == "f":
        return [None if np.isnan(value) else value for value in column.tolist()]
    if column.dtype.kind in "biu":
        return list(column.tolist())
    return [None if value is None else str(value) for value in column.tolist()]


def matches(
    judged: Judged, defects: Sequence[str], predictions: Sequence[str], *, of: Labels | None = None
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """What happened at the operating point, as FiftyOne's results want it, each with its row of the pictures.

    (true label, predicted label, IoU, score, defect id, prediction id) for every hit, miss and false alarm, None
    where there is no such side. Crowds, ignored defects and what they absorb have none. `defects` and `predictions`
    are the ids; `of` the labels' names, where they aren't those that were matched.
    """
    truth, said, matching = judged.evaluation.truth, judged.evaluation.predictions, judged.evaluation.matching
    names = of or labels(judged)
    for row in np.flatnonzero(truth.defects.counts).tolist():
        image = int(truth.defects.image[row])
        if judged.found[row]:
            hit = int(matching.prediction_of[row])
            pair = (names[0][row], names[1][hit], float(matching.iou[row]), float(said.score[hit]))
            yield image, (*pair, defects[row], predictions[hit])
        else:
            yield image, (names[0][row], None, None, None, defects[row], None)
    for row in np.flatnonzero(~np.isin(judged.outcome, (HIT, ABSORBED, BELOW))).tolist():
        yield int(said.image[row]), (None, names[1][row], None, float(said.score[row]), None, predictions[row])


Labels = tuple[Sequence[str], Sequence[str]]
"""The names of the classes of all defects, and of all predictions."""


def labels(judged: Judged) -> Labels:
    """Row by row."""
    truth = judged.evaluation.truth
    names = [category.name for category in truth.categories]
    of_defects = [names[label] for label in truth.defects.label.tolist()]
    return of_defects, [names[label] for label in judged.evaluation.predictions.label.tolist()]
