"""What a network says about pictures, back in the pictures' own pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from defect_detect import geometry
from defect_detect.backends._torchvision.models import Detector
from defect_detect.backends._torchvision.pictures import Scaled, factors
from defect_detect.tables import Dataset, Floats, Predictions, Rle

_HALF = 0.5


def predict(
    detector: Detector, pictures: Scaled, *, device: Any, batch: int, regions: bool, report: Callable[[int, int], None]
) -> tuple[Predictions, list[float]]:
    """Predictions on every picture, and the seconds that each took, decoding included.

    Args:
        detector: in whatever mode; it is left in evaluation mode.
        pictures: those of a dataset, whose truth is not looked at.
        device: the torch device that holds the network.
        batch: pictures at a time; their seconds are shared evenly.
        regions: whether to ask the mask branch too.
        report: told (done, of) pictures after every batch.
    """
    data = pictures.data
    network, rows = detector.network.eval(), len(data.images)
    parts: list[tuple[int, dict[str, Any]]] = []
    latency: list[float] = []
    heads = getattr(network, "roi_heads", None)
    branch = getattr(heads, "mask_roi_pool", None)
    if heads is not None and not regions:
        heads.mask_roi_pool = None  # without it torchvision skips the mask branch
    try:
        for start in range(0, rows, batch):
            began = time.perf_counter()
            chosen = range(start, min(start + batch, rows))
            images = [pictures[row].to(device).float() / 255 for row in chosen]
            with torch.inference_mode():
                found = network(images)
            parts += [
                (row, _in_own_pixels(detector, data, row, one, regions=regions))
                for row, one in zip(chosen, found, strict=True)
            ]
            latency += [(time.perf_counter() - began) / len(images)] * len(images)
            report(chosen.stop, rows)
    finally:
        if heads is not None:
            heads.mask_roi_pool = branch
    return _table(parts, regions=regions), latency


def _in_own_pixels(
    detector: Detector, data: Dataset, row: int, found: dict[str, Any], *, regions: bool
) -> dict[str, Any]:
    width, height = (int(side) for side in data.images.size[row])
    boxes = found["boxes"].double().cpu().numpy() / factors(data, row, detector.fit)
    boxes = geometry.clip(boxes, width, height)
    score = np.clip(found["scores"].double().cpu().numpy(), 0, 1)
    # A box wholly in the padding, or thinner than float32 can tell, has no place in the picture.
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & np.isfinite(boxes).all(1) & np.isfinite(score)
    kept: dict[str, Any] = {
        "box": boxes[real], "score": score[real], "label": found["labels"].cpu().numpy()[real] - 1,
    }  # fmt: skip
    if regions:
        masks = found["masks"][:, 0].float().cpu().numpy()[real]
        kept["region"] = tuple(_paste(mask, box, width, height) for mask, box in zip(masks, kept["box"], strict=True))
    return kept


def _paste(mask: NDArray[np.float32], box: Floats, width: int, height: int) -> Rle:
    """The (M, M) probabilities of a mask branch, spread over its box, as a region of the picture.

    Bilinear between the cells' centres, nothing beyond the box; pixels of at least one half belong to
    the region, and where none has that much, the likeliest do: a prediction is never without a region.
    """
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    x1, y1 = min(x1, width), min(y1, height)
    across = _blend(np.arange(x0, x1) + _HALF, box[0], box[2], len(mask))
    down = _blend(np.arange(y0, y1) + _HALF, box[1], box[3], len(mask))
    likely = down @ mask @ across.T
    pixels = np.zeros((height, width), np.bool_)
    pixels[y0:y1, x0:x1] = likely >= min(_HALF, float(likely.max()))
    return geometry.from_mask(pixels)


def _blend(at: Floats, low: float, high: float, cells: int) -> Floats:
    """(len(at), cells) weights of linear interpolation between cells that divide [low, high] evenly."""
    place = (at - low) / (high - low) * cells - _HALF
    weights: Floats = np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, None)
    return weights


def _table(parts: list[tuple[int, dict[str, Any]]], *, regions: bool) -> Predictions:
    if not parts:
        return Predictions.none(regions=regions)
    return Predictions(
        image=np.concatenate([np.full(len(part["score"]), row, np.int64) for row, part in parts]),
        label=np.concatenate([part["label"] for _, part in parts]),
        box=np.concatenate([part["box"] for _, part in parts]),
        score=np.concatenate([part["score"] for _, part in parts]),
        region=tuple(region for _, part in parts for region in part["region"]) if regions else None,
    )
