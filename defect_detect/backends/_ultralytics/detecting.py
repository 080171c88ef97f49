"""What a network says about pictures, in their own pixels: the one way for validation and for prediction.

ultralytics' letterbox, network, NMS and mask assembly, called directly: its predictor takes files of
its own choosing, decodes them its own way, and its NMS gives up silently after some seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defect_detect import geometry
from defect_detect.data import pixels
from defect_detect.errors import RunFailed
from defect_detect.tables import Dataset, Floats, Ints, Predictions, Rle

_STRIDE = 32
_AT_ONCE = 16
"""Masks of a picture that are decoded at once."""


def detect(
    network: Any,
    data: Dataset,
    *,
    image_size: int,
    floor: float,
    cap: int,
    iou: float,
    agnostic_nms: bool,
    device: str,
    batch: int,
    masks: bool,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[Predictions, list[float]]:
    """Predictions on `data`'s pictures, and seconds per picture in the order predicted, decoding included.

    Pictures are scaled to a long side of `image_size` and padded to multiples of 32; only pictures of
    one padded size share a batch, so what is said about one doesn't depend on its neighbours' shapes.
    `done` hears how many pictures are done.

    Raises:
        RunFailed: the network's numbers are not finite.
    """
    import torch

    tables: list[Predictions] = []
    seconds: list[float] = []
    network.eval()
    with torch.inference_mode():
        for shape, rows in _batches(data.images.size, image_size, batch):
            started = time.perf_counter()
            pictures = [pixels.read(data.root / data.images.file[row]) for row in rows]
            inputs = torch.from_numpy(np.stack([_letterbox(picture, shape) for picture in pictures])).to(device)
            kept, prototypes = _run(network, inputs.float() / 255, floor=floor, cap=cap, iou=iou, agnostic=agnostic_nms)
            for index, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
                prototype = prototypes[index] if masks else None
                size = picture.shape[:2]
                tables.append(_table(int(row), kept[index], prototype, shape=shape, size=size, floor=floor))
            seconds += [(time.perf_counter() - started) / len(rows)] * len(rows)
            done(len(seconds))
    return Predictions.joined(tables, regions=masks), seconds


def padded(width: int, height: int, image_size: int) -> tuple[int, int]:
    """(height, width) px that a picture is shown to the network at."""
    scale = image_size / max(width, height)
    high, wide = (max(math.ceil(round(side * scale) / _STRIDE), 1) * _STRIDE for side in (height, width))
    return high, wide


def _batches(size: Ints, image_size: int, batch: int) -> Iterator[tuple[tuple[int, int], Ints]]:
    shapes = np.array([padded(width, height, image_size) for width, height in size.tolist()]).reshape(-1, 2)
    for shape in np.unique(shapes, axis=0):
        rows = np.flatnonzero((shapes == shape).all(axis=1))
        for first in range(0, len(rows), batch):
            yield (int(shape[0]), int(shape[1])), rows[first : first + batch]


def _letterbox(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(3, H, W) RGB."""
    from ultralytics.data.augment import LetterBox

    shown = LetterBox(new_shape=shape, auto=False, stride=_STRIDE)(image=picture)
    return np.ascontiguousarray(shown.transpose(2, 0, 1))


def _run(
    network: Any, inputs: Any, *, floor: float, cap: int, iou: float, agnostic: bool
) -> tuple[list[Any], Sequence[Any]]:
    """For each picture (n, 6 + coefficients) x0 y0 x1 y1 score label ..., and mask prototypes (if any)."""
    from ultralytics.utils.nms import non_max_suppression

    said = network(inputs)[0]
    boxes, prototypes = said if isinstance(said, tuple) else (said, ())
    if not bool(boxes.isfinite().all()):
        raise RunFailed("the network's output is not finite: the training diverged. Try a lower `learning_rate`")
    kept = non_max_suppression(
        boxes,
        # it keeps scores above the threshold, we promise scores from the floor on
        conf_thres=math.nextafter(floor, 0.0) if floor > 0 else 0.0,
        iou_thres=iou,
        agnostic=agnostic,
        max_det=cap,
        nc=len(network.names),
        max_time_img=1e9,  # by default it leaves pictures out once it took 2 seconds
        end2end=bool(getattr(network, "end2end", False)),
    )
    return kept, prototypes


def _table(
    row: int, kept: Any, prototype: Any | None, *, shape: tuple[int, int], size: tuple[int, int], floor: float
) -> Predictions:
    from ultralytics.utils import ops

    kept = kept.float()
    kept[:, :4] = ops.scale_boxes(shape, kept[:, :4], size)
    box: Floats = geometry.clip(kept[:, :4].cpu().numpy().astype(np.float64), size[1], size[0])
    score: Floats = np.clip(kept[:, 4].cpu().numpy().astype(np.float64), 0.0, 1.0)
    # float32 and our floor differ in the eighth digit; boxes wholly in the padding have no area left
    rows = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (score >= floor))
    region: tuple[Rle, ...] | None = None
    if prototype is not None:
        region = tuple(_regions(kept[rows.tolist()], prototype, size))
    label = kept[:, 5].cpu().numpy().astype(np.int64)[rows]
    return Predictions(image=np.full(len(rows), row), label=label, box=box[rows], score=score[rows], region=region)


def _regions(kept: Any, prototype: Any, size: tuple[int, int]) -> Iterator[Rle]:
    """A mask may be empty, where no pixel of it is above one half: the box stands, with no pixel."""
    from ultralytics.utils import ops

    for first in range(0, len(kept), _AT_ONCE):
        some = kept[first : first + _AT_ONCE]
        for mask in ops.process_mask_native(prototype, some[:, 6:], some[:, :4], size).cpu().numpy():
            yield geometry.from_mask(mask > 0)
