"""What becomes of every prediction at each of COCO's IoUs and area ranges, in one pass over the pairs.

A fate is a bit: bit `a * T + t` of a uint64 speaks of area range a at IoU t, so that one walk over the pairs decides
all T x A assignments at once. Source of the assignment: `evaluation.matching`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defect_detect import geometry, native
from defect_detect.evaluation.matching import Pairs, overlapping
from defect_detect.masks import Masks, areas
from defect_detect.tables import Bools, Dataset, Defects, Floats, Ints, Predictions

Bits = NDArray[np.uint64]

IOUS: Floats = np.linspace(0.5, 0.95, 10)
CAP = 100
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
CELLS = len(AREAS) * len(IOUS)
_ONE_RANGE = (1 << len(IOUS)) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """The predictions as COCOeval ranks them, at most 100 of a class in an image, with their fates.

    label    (P,) int64, ascending
    score    (P,) float64; rows of one class come by image id, then by descending score
    rank     (P,) int64, the prediction's place within its image and class
    hit      (P,) uint64, took a defect that counts
    ignored  (P,) uint64, neither hit nor false alarm
    counted  (A, K) int64, how many defects of the class count in the area range
    """

    label: Ints
    score: Floats
    rank: Ints
    hit: Bits
    ignored: Bits
    counted: Ints


def fates(truth: Dataset, predictions: Predictions, shape: str) -> Fates:
    """The fates of all predictions, for boxes or masks.

    Raises:
        PredictionsError: masks are asked for and one side has none.
    """
    order, rank = _ranked(truth, predictions)
    said, defects = predictions.take(order), truth.defects
    masks = None
    if shape == "mask" and said.region is not None:
        masks = Masks(region=said.region, size=truth.images.size[said.image])
    pairs = overlapping(truth, said, shape, least=float(IOUS[0]), ours=masks)
    same = said.label[pairs.prediction] == defects.label[pairs.defect]
    pairs = pairs.take(same)
    counts = np.stack([defects.counts & (defects.area >= low) & (defects.area <= high) for low, high in AREAS.values()])
    hit, absorbed = _decided(defects, pairs, counts, len(said))
    area = geometry.area(said.box) if masks is None else areas(masks)
    outside = np.zeros(len(said), np.uint64)
    for place, (low, high) in enumerate(AREAS.values()):
        outside |= np.where((area < low) | (area > high), np.uint64(_ONE_RANGE << place * len(IOUS)), np.uint64(0))
    return Fates(
        label=said.label,
        score=said.score,
        rank=rank,
        hit=hit,
        ignored=absorbed | (outside & ~hit),
        counted=np.stack([np.bincount(defects.label[one], minlength=len(truth.categories)) for one in counts]),
    )


def _ranked(truth: Dataset, predictions: Predictions) -> tuple[Ints, Ints]:
    """The rows by class, image id, descending score and box, without those past the cap; and their ranks."""
    # Images in the order of their ids, since equal scores of two images keep it in COCOeval's ranking.
    place = np.argsort(np.argsort(truth.images.id, kind="stable"), kind="stable")[predictions.image]
    label, score = predictions.label, predictions.score
    if native.compiled is not None:
        order, rank = np.empty(len(score), np.int64), np.empty(len(score), np.int64)
        box = np.ascontiguousarray(predictions.box)
        kept = native.compiled.coco_order(
            place, label, score, box, len(truth.images), len(truth.categories), CAP, order, rank
        )
        return order[:kept], rank[:kept]
    order = np.lexsort((*predictions.box.T[::-1], -score, place, label))
    start = np.flatnonzero(np.diff(label[order], prepend=-1) | np.diff(place[order], prepend=-1))
    length = np.diff(np.append(start, len(order)))
    rank = np.arange(len(order)) - np.repeat(start, length)
    return order[rank < CAP], rank[rank < CAP]


def _decided(defects: Defects, pairs: Pairs, counts: Bools, predictions: int) -> tuple[Bits, Bits]:
    """(P,) hits and (P,) absorptions, given pairs by ascending turn and `counts` (A, G)."""
    hit, absorbed = np.zeros(predictions, np.uint64), np.zeros(predictions, np.uint64)
    if native.compiled is not None:
        native.compiled.coco_fates(
            pairs.prediction, pairs.defect, pairs.overlap, defects.label, np.ascontiguousarray(defects.box),
            defects.crowd, counts, IOUS, hit, absorbed,
        )  # fmt: skip
        return hit, absorbed
    place = np.argsort(np.lexsort((defects.label, *defects.box.T[::-1])))
    order = np.lexsort((-place[pairs.defect], -pairs.overlap, pairs.prediction))
    steps = np.searchsorted(IOUS, pairs.overlap[order], side="right")
    reached = [((1 << step) - 1) * _everywhere(1) for step in range(len(IOUS) + 1)]
    counting = _packed(counts)
    crowd, taken, everywhere = defects.crowd.tolist(), [0] * len(defects), _everywhere(_ONE_RANGE)
    rows = list(zip(pairs.prediction[order].tolist(), pairs.defect[order].tolist(), steps.tolist(), strict=True))
    first = 0
    while first < len(rows):
        said, last = rows[first][0], first
        while last < len(rows) and rows[last][0] == said:
            last += 1
        free = everywhere
        for counted, fate in ((True, hit), (False, absorbed)):
            won = 0
            for _, defect, step in rows[first:last]:
                fitting = counting[defect] if counted else ~counting[defect]
                now = free & reached[step] & ~taken[defect] & fitting
                won |= now
                free &= ~now
                if not crowd[defect]:
                    taken[defect] |= now
            fate[said] = won
        first = last
    return hit, absorbed


def _everywhere(bits: int) -> int:
    return sum(bits << place * len(IOUS) for place in range(len(AREAS)))


def _packed(counts: Bools) -> list[int]:
    """(A, G) bool as a mask for each defect: all IoUs of the area ranges in which it counts."""
    packed = np.zeros(counts.shape[1], np.int64)
    for place, row in enumerate(counts):
        packed |= np.where(row, _ONE_RANGE << place * len(IOUS), 0)
    result: list[int] = packed.tolist()
    return result
