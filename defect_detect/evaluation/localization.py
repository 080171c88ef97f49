"""How well hits are placed: per detector over its own hits, between detectors over common ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.boundary import boundary_iou
from defect_detect.evaluation.comparison import Localization, LocalizationSlice, Rate
from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.evaluation.matching import match
from defect_detect.evaluation.slices import parts
from defect_detect.tables import Bools, Floats, Ints

TOUCHED = 0.1
TIGHT = 0.75
BARS = 20
"""Bars of the histogram of IoU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """H hits, all seeds of a detector together.

    defect              (H,) int64, the row of the defect that was hit
    iou                 (H,) float64, of the boxes
    offset, relative    (H,) float64, distance of the boxes' centres, px and over the root of the defect's box area
    width, height       (H,) float64, predicted / true
    mask_iou, boundary  (H,) float64, or None where a side has no masks
    """

    defect: Ints
    iou: Floats
    offset: Floats
    relative: Floats
    width: Floats
    height: Floats
    mask_iou: Floats | None
    boundary: Floats | None


def localization(judged: Sequence[Judged]) -> Localization:
    """Over the hits of one detector, all its seeds together. IoU is that of boxes; masks have means of their own.

    >>> from defect_detect.evaluation import example
    >>> placed_ = localization([example.judged()])
    >>> placed_.hits, round(placed_.iou_mean, 3), round(placed_.centre_offset_px, 3)
    (2, 0.84, 1.414)
    """
    return summed_up(placed(judged))


def localization_slices(hits: Placed, judged: Sequence[Judged], edges: Sequence[float] = ()) -> list[LocalizationSlice]:
    """The same by class and by size (COCO's bins, or those between `edges` of the long side)."""
    return [
        LocalizationSlice(by=part.by, value=part.value, localization=summed_up(hits, part.defects[hits.defect]))
        for part in parts(judged[0].evaluation.truth, edges)
        if part.by in ("class", "size")
    ]


def placed(judged: Sequence[Judged]) -> Placed:
    """Every hit of one detector, held against its defect."""
    defect, ours, theirs = (np.concatenate(columns) for columns in zip(*map(_hits, judged), strict=True))
    size, true_size = ours[:, 2:] - ours[:, :2], theirs[:, 2:] - theirs[:, :2]
    offset = np.hypot(*((ours[:, :2] + ours[:, 2:] - theirs[:, :2] - theirs[:, 2:]) / 2).T)
    masks = [_masks(one) for one in judged]
    both = [pair for pair in masks if pair is not None]
    told = len(both) == len(masks)
    return Placed(
        defect=defect,
        iou=geometry.paired_iou(ours, theirs),
        offset=offset,
        relative=offset / np.sqrt(geometry.area(theirs)),
        width=size[:, 0] / true_size[:, 0],
        height=size[:, 1] / true_size[:, 1],
        mask_iou=np.concatenate([one for one, _ in both]) if told else None,
        boundary=np.concatenate([one for _, one in both]) if told else None,
    )


def summed_up(hits: Placed, where: Bools | None = None) -> Localization:
    """The figures of the hits, or of those that the mask (H,) picks; None throughout without any."""
    keep = np.ones(len(hits.defect), np.bool_) if where is None else where
    iou = hits.iou[keep]
    tight = Rate(count=int((iou >= TIGHT).sum()), of=len(iou))
    if len(iou) == 0:
        return Localization(
            hits=0, iou_mean=None, iou_median=None, iou_p05=None, share_075=tight, centre_offset_px=None,
            centre_offset_relative=None, width_ratio=None, height_ratio=None, mask_iou_mean=None,
            iou_histogram=[0] * BARS,
        )  # fmt: skip
    bar = np.minimum((iou * BARS).astype(np.int64), BARS - 1)
    return Localization(
        hits=len(iou),
        iou_mean=float(iou.mean()),
        iou_median=float(np.median(iou)),
        iou_p05=float(np.percentile(iou, 5)),
        share_075=tight,
        centre_offset_px=float(np.median(hits.offset[keep])),
        centre_offset_relative=float(np.median(hits.relative[keep])),
        width_ratio=float(np.median(hits.width[keep])),
        height_ratio=float(np.median(hits.height[keep])),
        mask_iou_mean=None if hits.mask_iou is None else float(hits.mask_iou[keep].mean()),
        boundary_iou_mean=None if hits.boundary is None else float(hits.boundary[keep].mean()),
        iou_histogram=np.bincount(bar, minlength=BARS).tolist(),
    )


def _found(one: Judged) -> tuple[Ints, Ints]:
    """Rows of the found defects and of the predictions that found them."""
    defects = np.flatnonzero(one.found & one.evaluation.truth.defects.counts)
    return defects, one.evaluation.matching.prediction_of[defects]


def _hits(one: Judged) -> tuple[Ints, Floats, Floats]:
    """Rows of the found defects, the boxes that found them, and theirs."""
    defects, predictions = _found(one)
    return defects, one.evaluation.predictions.box[predictions], one.evaluation.truth.defects.box[defects]


def _masks(one: Judged) -> tuple[Floats, Floats] | None:
    """Mask IoU and boundary IoU of each hit."""
    truth, said = one.evaluation.truth, one.evaluation.predictions
    if truth.defects.region is None or said.region is None:
        return None
    defects, predictions = _found(one)
    result = np.zeros((2, len(defects)))
    for row, (d, p) in enumerate(zip(defects.tolist(), predictions.tolist(), strict=True)):
        width, height = truth.images.size[truth.defects.image[d]].tolist()
        ours, theirs = (geometry.to_rle(region, width, height) for region in (said.region[p], truth.defects.region[d]))
        result[:, row] = geometry.mask_iou([ours], [theirs])[0, 0], boundary_iou(ours, theirs)
    return result[0], result[1]


def touched_iou(judged: Sequence[Judged]) -> Floats:
    """(G,) box IoU of the pair where a detector found a defect at IoU 0.1, the mean over its seeds; NaN elsewhere.

    Over this lower bar two detectors can be compared on what both found; over each one's own hits the
    detector that finds only the easy defects would look more precise.
    """
    total = np.zeros(len(judged[0].evaluation.truth.defects))
    seeds = np.zeros_like(total)
    for one in judged:
        truth, predictions = one.evaluation.truth, one.evaluation.predictions
        rule = Rule(iou=min(TOUCHED, one.evaluation.matching.rule.iou))
        matching = match(truth, predictions, rule)
        hit = np.isfinite(matching.found_at) & (matching.found_at >= one.threshold[truth.defects.label])
        total[hit] += geometry.paired_iou(predictions.box[matching.prediction_of[hit]], truth.defects.box[hit])
        seeds += hit
    often = seeds * 2 > len(judged)
    return np.where(often, total / np.maximum(seeds, 1), np.nan)
