"""COCO's AP and AR, equal to pycocotools' COCOeval.

Source: `pycocotools.cocoeval` (evaluate, accumulate, summarize). One difference, on purpose: COCOeval
overwrites a defect's `ignore` with its `iscrowd`; here ignored defects stay ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect import native
from defect_detect.evaluation.coco_fates import AREAS, CAP, CELLS, IOUS, Bits, Fates, fates
from defect_detect.evaluation.comparison import AveragePrecision
from defect_detect.tables import Bools, Dataset, Floats, Predictions

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_CAPS = (1, 10, CAP)


def average_precision(truth: Dataset, predictions: Predictions, shape: str = "box") -> AveragePrecision:
    """COCO's twelve figures for boxes or masks (`shape` is `box` or `mask`).

    >>> from defect_detect.evaluation import example
    >>> figures = average_precision(example.truth(), example.said())
    >>> round(figures.ap50, 3), round(figures.ap75, 3)
    (0.752, 0.5)

    Raises:
        PredictionsError: masks are asked for and one side has none.
    """
    judged = fates(truth, predictions, shape)
    all_, small, medium, large = _precision(judged)
    ar_small, ar_medium, ar_large = (_mean(_recall(judged, place, CAP)) for place in range(1, len(AREAS)))
    ar1, ar10, ar100 = (_mean(_recall(judged, 0, cap)) for cap in _CAPS)
    return AveragePrecision(
        ap=_mean(all_), ap50=_mean(all_[:1]), ap75=_mean(all_[5:6]),
        ap_small=_mean(small), ap_medium=_mean(medium), ap_large=_mean(large),
        ar1=ar1, ar10=ar10, ar100=ar100, ar_small=ar_small, ar_medium=ar_medium, ar_large=ar_large,
    )  # fmt: skip


def mean_of(figures: Sequence[AveragePrecision]) -> AveragePrecision:
    """The mean over seeds, figure by figure; None where one has none."""
    names = AveragePrecision.__struct_fields__
    columns = {name: [getattr(one, name) for one in figures] for name in names}
    return AveragePrecision(**{
        name: None if any(value is None for value in column) else float(np.mean(column))
        for name, column in columns.items()
    })  # fmt: skip


def _precision(judged: Fates) -> Floats:
    """(A, T, K, 101) the best precision at COCO's recalls or beyond; -1 for classes without a defect that counts."""
    areas, classes = judged.counted.shape
    result = np.full((areas, len(IOUS), classes, len(RECALLS)), -1.0)
    if native.compiled is not None:
        counted = np.repeat(judged.counted, len(IOUS), axis=0)
        native.compiled.coco_curves(
            judged.label, judged.score, judged.hit, judged.ignored, counted, classes, CELLS, RECALLS, result
        )
        return result
    order = np.lexsort((np.arange(len(judged.score)), -judged.score, judged.label))
    edges = np.searchsorted(judged.label[order], np.arange(classes + 1))
    for k in np.flatnonzero(judged.counted.any(axis=0)):
        rows = order[edges[k] : edges[k + 1]]
        for area in np.flatnonzero(judged.counted[:, k]).tolist():
            for t in range(len(IOUS)):
                hit, ignored = (_bit(bits[rows], area, t) for bits in (judged.hit, judged.ignored))
                true, false = np.cumsum(hit), np.cumsum(~hit & ~ignored)
                precision = true / (true + false + np.spacing(1))
                result[area, t, k] = _interpolated(true / judged.counted[area, k], precision)
    return result


def _interpolated(recall: Floats, precision: Floats) -> Floats:
    """(101,) the best precision at each of COCO's recalls or beyond it; 0 where they aren't reached."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    result: Floats = envelope[np.searchsorted(recall, RECALLS, side="left")]
    return result


def _recall(judged: Fates, area: int, cap: int) -> Floats:
    """(T, K) the recall with `cap` predictions per image and class; -1 for classes without defects."""
    counted = judged.counted[area]
    result = np.full((len(IOUS), len(counted)), -1.0)
    some, capped = counted > 0, judged.rank < cap
    for t in range(len(IOUS)):
        hits = np.bincount(judged.label[_bit(judged.hit, area, t) & capped], minlength=len(counted))
        result[t, some] = hits[some] / counted[some]
    return result


def _bit(bits: Bits, area: int, t: int) -> Bools:
    """(P,) bool: the fate in one area range at one IoU."""
    picked: Bools = (bits >> np.uint64(area * len(IOUS) + t) & np.uint64(1)).astype(np.bool_)
    return picked


def _mean(values: Floats) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if len(known) else None
