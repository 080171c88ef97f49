"""What a network of detectron2 says about pictures: its own resizing, inference and postprocessing, our table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as changes

from defect_detect import geometry
from defect_detect.backends._detectron2.pictures import read
from defect_detect.tables import Bools, Dataset, Floats, Predictions


def detect(
    network: Any, cfg: Any, data: Dataset, *, floor: float, batch: int, regions: bool,
    report: Callable[[int, int], None],
) -> tuple[Predictions, list[float]]:  # fmt: skip
    """Predictions on `data`'s pictures, and the seconds that each took, decoding included.

    The network is left in evaluation mode. Pictures of one padded size go through it at once, at most
    `batch` of them: among larger ones a picture would be padded further, and said of it would be other
    things than when it is alone. `report` hears how many pictures are done, of how many.
    """
    # As `DefaultPredictor` resizes them.
    resize = changes.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
    heads: Any = getattr(network, "roi_heads", None)
    branch = getattr(heads, "mask_on", False)
    if branch:
        heads.mask_on = regions  # the branch needs not be asked while only boxes are judged
    tables: dict[int, Predictions] = {}
    rows, seconds = len(data.images), [0.0] * len(data.images)
    network.eval()
    try:
        for start in range(0, rows, batch):
            chosen = range(start, min(start + batch, rows))
            began = time.perf_counter()
            shown = [_shown(data, row, resize, cfg.INPUT.FORMAT) for row in chosen]
            for alike in _alike(shown, network.backbone.size_divisibility):
                with torch.no_grad():
                    said = network([shown[at] for at in alike])
                for at, one in zip(alike, said, strict=True):
                    tables[start + at] = _table(start + at, one["instances"], floor=floor, regions=regions)
            seconds[start : chosen.stop] = [(time.perf_counter() - began) / len(chosen)] * len(chosen)
            report(chosen.stop, rows)
    finally:
        if branch:
            heads.mask_on = branch
    return Predictions.joined([tables[row] for row in range(rows)], regions=regions), seconds


def _shown(data: Dataset, row: int, resize: Any, channels: str) -> dict[str, Any]:
    picture = read(data, row, channels)
    small = resize.get_transform(picture).apply_image(picture)
    height, width = picture.shape[:2]
    image = torch.as_tensor(np.ascontiguousarray(small.astype("float32").transpose(2, 0, 1)))
    return {"image": image, "height": height, "width": width}


def _alike(shown: Sequence[dict[str, Any]], divisor: int) -> Iterator[list[int]]:
    """Which of them have one size after padding."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for at, one in enumerate(shown):
        padded = tuple(-(-side // max(1, divisor)) for side in one["image"].shape[1:])
        groups.setdefault(padded, []).append(at)
    yield from groups.values()


def _table(row: int, said: Any, *, floor: float, regions: bool) -> Predictions:
    said = said.to("cpu")
    height, width = said.image_size
    box: Floats = geometry.clip(said.pred_boxes.tensor.double().numpy().reshape(-1, 4), width, height)
    score: Floats = np.clip(said.scores.double().numpy(), 0, 1)
    kept = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (score >= floor))
    region = None
    if regions:
        masks = said.pred_masks.numpy()
        shown = masks.any(axis=(1, 2))
        region = tuple(geometry.from_mask(masks[at] if shown[at] else _filled(masks[at], box[at])) for at in kept)
    return Predictions(
        image=np.full(len(kept), row), label=said.pred_classes.numpy().astype(np.int64)[kept], box=box[kept],
        score=score[kept], region=region,
    )  # fmt: skip


def _filled(mask: Bools, box: Floats) -> Bools:
    """The box, where no pixel of the mask is likely enough: a prediction is never without a region."""
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    mask = np.zeros_like(mask)
    mask[y0:y1, x0:x1] = True
    return mask
