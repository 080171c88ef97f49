"""How well hits are placed: per detector over its own hits, between detectors over common ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.comparison import Localization, Rate
from defect_detect.evaluation.judged import Evaluation, Judged, Rule
from defect_detect.evaluation.matching import match
from defect_detect.tables import Floats, Ints

TOUCHED = 0.1
TIGHT = 0.75


def localization(judged: Sequence[Judged]) -> Localization:
    """Over the hits of one detector, all its seeds together. IoU is that of boxes; masks have a mean of their own."""
    hits = [(one.evaluation, *_hits(one)) for one in judged]
    ours = np.concatenate([e.predictions.box[p] for e, _, p in hits])
    theirs = np.concatenate([e.truth.defects.box[d] for e, d, _ in hits])
    iou = geometry.paired_iou(ours, theirs)
    tight = Rate(count=int((iou >= TIGHT).sum()), of=len(iou))
    if len(iou) == 0:
        return Localization(
            hits=0, iou_mean=None, iou_median=None, iou_p05=None, share_075=tight, centre_offset_px=None,
            centre_offset_relative=None, width_ratio=None, height_ratio=None, mask_iou_mean=None,
        )  # fmt: skip
    size, true_size = ours[:, 2:] - ours[:, :2], theirs[:, 2:] - theirs[:, :2]
    offset = np.hypot(*((ours[:, :2] + ours[:, 2:] - theirs[:, :2] - theirs[:, 2:]) / 2).T)
    masks = [_mask_iou(e, d, p) for e, d, p in hits]
    return Localization(
        hits=len(iou),
        iou_mean=float(iou.mean()),
        iou_median=float(np.median(iou)),
        iou_p05=float(np.percentile(iou, 5)),
        share_075=tight,
        centre_offset_px=float(np.median(offset)),
        centre_offset_relative=float(np.median(offset / np.sqrt(geometry.area(theirs)))),
        width_ratio=float(np.median(size[:, 0] / true_size[:, 0])),
        height_ratio=float(np.median(size[:, 1] / true_size[:, 1])),
        mask_iou_mean=_mean_of(masks),
    )


def _hits(one: Judged) -> tuple[Ints, Ints]:
    """Rows of the found defects and of the predictions that found them."""
    defects = np.flatnonzero(one.found & one.evaluation.truth.defects.counts)
    return defects, one.evaluation.matching.prediction_of[defects]


def _mask_iou(evaluation: Evaluation, defects: Ints, predictions: Ints) -> Floats | None:
    truth, said = evaluation.truth, evaluation.predictions
    if truth.defects.region is None or said.region is None:
        return None
    result = np.zeros(len(defects))
    for row, (d, p) in enumerate(zip(defects.tolist(), predictions.tolist(), strict=True)):
        width, height = truth.images.size[truth.defects.image[d]].tolist()
        ours, theirs = (geometry.to_rle(region, width, height) for region in (said.region[p], truth.defects.region[d]))
        result[row] = geometry.mask_iou([ours], [theirs])[0, 0]
    return result


def _mean_of(parts: Sequence[Floats | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return float(np.concatenate(known).mean()) if len(known) == len(parts) else None


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
