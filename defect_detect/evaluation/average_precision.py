"""COCO's AP and AR, equal to pycocotools' COCOeval and vectorized.

Source: `pycocotools.cocoeval` (evaluate, accumulate, summarize). One difference, on purpose: COCOeval
overwrites a defect's `ignore` with its `iscrowd`; here ignored defects stay ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.comparison import AveragePrecision
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.matching import Pairs, assign, content_order, overlapping
from defect_detect.tables import Bools, Dataset, Defects, Floats, Ints, Predictions

IOUS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
CAPS = (1, 10, 100)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


def average_precision(truth: Dataset, predictions: Predictions, shape: str = "box") -> AveragePrecision:
    """COCO's figures for boxes or masks (`shape` is `box` or `mask`).

    Raises:
        PredictionsError: masks are asked for and one side has none.
    """
    table = _sorted(truth, predictions, shape)
    fates = {name: _fates(table, bounds) for name, bounds in AREAS.items()}
    precision = {name: _precision(table, fate) for name, fate in fates.items()}
    recall = {cap: _recall(table, fates["all"], cap) for cap in CAPS}
    ap = precision["all"]
    return AveragePrecision(
        ap=_mean(ap),
        ap50=_mean(ap[:, :1]),
        ap75=_mean(ap[:, 5:6]),
        ap_small=_mean(precision["small"]),
        ap_medium=_mean(precision["medium"]),
        ap_large=_mean(precision["large"]),
        ar1=_mean(recall[1]),
        ar10=_mean(recall[10]),
        ar100=_mean(recall[100]),
    )


def mean_of(figures: Sequence[AveragePrecision]) -> AveragePrecision:
    """The mean over seeds, figure by figure; None where one has none."""
    names = AveragePrecision.__struct_fields__
    columns = {name: [getattr(one, name) for one in figures] for name in names}
    return AveragePrecision(**{
        name: None if any(value is None for value in column) else float(np.mean(column))
        for name, column in columns.items()
    })  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sorted:
    """Predictions as COCOeval ranks them, capped, with their pairs of the same label at IoU >= 0.5."""

    defects: Defects
    predictions: Predictions
    area: Floats
    pairs: Pairs
    rank: Ints
    classes: int


def _sorted(truth: Dataset, predictions: Predictions, shape: str) -> _Sorted:
    # Images in the order of their ids, since equal scores of two images keep it in COCOeval's ranking.
    place = np.argsort(np.argsort(truth.images.id, kind="stable"), kind="stable")[predictions.image]
    within = (*predictions.box.T[::-1], -predictions.score)
    order = np.lexsort((*within, place, predictions.label))
    rank = _rank(predictions.label[order], place[order])
    order, rank = order[rank < CAPS[-1]], rank[rank < CAPS[-1]]
    said = predictions.take(order)
    pairs = overlapping(truth, said, shape)
    same = said.label[pairs.prediction] == truth.defects.label[pairs.defect]
    pairs = pairs.take(same & (pairs.overlap >= IOUS[0]))
    if shape == "mask" and said.region is not None:
        sizes = truth.images.size[said.image].tolist()
        area = np.array(
            [geometry.region_area(geometry.to_rle(r, w, h)) for r, (w, h) in zip(said.region, sizes, strict=True)],
            np.float64,
        )
    else:
        area = geometry.area(said.box)
    return _Sorted(
        defects=truth.defects, predictions=said, area=area, pairs=pairs, rank=rank, classes=len(truth.categories)
    )


def _rank(label: Ints, image: Ints) -> Ints:
    """(P,) the prediction's place within its image and label; rows come sorted by both."""
    start = np.flatnonzero(np.diff(label, prepend=-1) | np.diff(image, prepend=-1))
    length = np.diff(np.append(start, len(label)))
    return np.arange(len(label)) - np.repeat(start, length)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fates:
    """hit, ignored (T, P) bool: hits of counting defects, and what leaves the reckoning; counted (K,) defects."""

    hit: Bools
    ignored: Bools
    counted: Ints


def _fates(table: _Sorted, bounds: tuple[float, float]) -> _Fates:
    """The fates when only defects with an area within bounds count."""
    inside = (table.defects.area >= bounds[0]) & (table.defects.area <= bounds[1])
    defects = dataclasses.replace(table.defects, ignore=table.defects.ignore | ~inside)
    outside = (table.area < bounds[0]) | (table.area > bounds[1])
    order = content_order(defects, table.predictions)
    matchings = [assign(defects, table.predictions, table.pairs, Rule(iou=float(iou)), order) for iou in IOUS]
    hit = np.stack([matching.defect_of >= 0 for matching in matchings])
    absorbed = np.stack([matching.absorbed for matching in matchings])
    counted = np.bincount(defects.label[defects.counts], minlength=table.classes)
    return _Fates(hit=hit, ignored=absorbed | (outside & ~hit), counted=counted)


def _precision(table: _Sorted, fates: _Fates) -> Floats:
    """(K, T, 101) precision at COCO's recalls; -1 for classes without a defect that counts."""
    label, score = table.predictions.label, table.predictions.score
    order = np.lexsort((np.arange(len(score)), -score, label))
    edges = np.searchsorted(label[order], np.arange(table.classes + 1))
    result = np.full((table.classes, len(IOUS), len(RECALLS)), -1.0)
    for k in np.flatnonzero(fates.counted):
        rows = order[edges[k] : edges[k + 1]]
        true = np.cumsum(fates.hit[:, rows], axis=1)
        false = np.cumsum(~fates.hit[:, rows] & ~fates.ignored[:, rows], axis=1)
        precision = true / (true + false + np.spacing(1))
        for t in range(len(IOUS)):
            result[k, t] = _interpolated(true[t] / fates.counted[k], precision[t])
    return result


def _interpolated(recall: Floats, precision: Floats) -> Floats:
    """(101,) the best precision at each of COCO's recalls or beyond it; 0 where they aren't reached."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    result: Floats = envelope[np.searchsorted(recall, RECALLS, side="left")]
    return result


def _recall(table: _Sorted, fates: _Fates, cap: int) -> Floats:
    """(K, T) the recall with `cap` predictions per image and class; -1 for classes without defects."""
    result = np.full((table.classes, len(IOUS)), -1.0)
    some = fates.counted > 0
    for t in range(len(IOUS)):
        rows = fates.hit[t] & (table.rank < cap)
        hits = np.bincount(table.predictions.label[rows], minlength=table.classes)
        result[some, t] = hits[some] / fates.counted[some]
    return result


def _mean(values: Floats) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if len(known) else None
