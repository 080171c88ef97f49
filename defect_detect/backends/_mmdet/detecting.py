"""What a network of mmdet says about pictures: its pipeline, its `test_step`, our table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defect_detect import geometry
from defect_detect.errors import RunFailed
from defect_detect.tables import Dataset, Floats, Predictions


def detect(
    network: Any, data: Dataset, *, steps: Sequence[Any], floor: float, cap: int, batch: int, regions: bool,
    done: Callable[[int], None],
) -> tuple[Predictions, list[float]]:  # fmt: skip
    """Predictions on `data`'s pictures, and seconds per picture, decoding included; `done` hears how many are done.

    The network is left in evaluation mode.

    Raises:
        RunFailed: the network's numbers are not finite.
    """
    import torch
    from mmcv.transforms import Compose

    pipeline = Compose(list(steps))
    tables: list[Predictions] = []
    seconds: list[float] = []
    network.eval()
    for first in range(0, len(data.images), batch):
        rows = range(first, min(first + batch, len(data.images)))
        began = time.perf_counter()
        shown = [
            pipeline({"img_path": str(data.root / data.images.file[row]), "img_id": row, "instances": []})
            for row in rows
        ]
        with torch.no_grad():
            said = network.test_step({key: [one[key] for one in shown] for key in ("inputs", "data_samples")})
        for row, sample in zip(rows, said, strict=True):
            width, height = (int(side) for side in data.images.size[row])
            tables.append(
                _table(row, sample.pred_instances, size=(width, height), floor=floor, cap=cap, regions=regions)
            )
        seconds += [(time.perf_counter() - began) / len(rows)] * len(rows)
        done(rows.stop)
    return Predictions.joined(tables, regions=regions), seconds


def _table(row: int, said: Any, *, size: tuple[int, int], floor: float, cap: int, regions: bool) -> Predictions:
    width, height = size
    score: Floats = np.asarray(said.scores.cpu().numpy(), np.float64)
    box: Floats = np.asarray(said.bboxes.cpu().numpy(), np.float64).reshape(-1, 4)
    if not (np.isfinite(score).all() and np.isfinite(box).all()):
        raise RunFailed("the network's output is not finite: the training diverged. Try a lower `learning_rate`")
    box = geometry.clip(box, width, height)
    kept = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (score >= floor))
    kept = kept[np.argsort(-score[kept], kind="stable")][:cap]
    region = None
    if regions:
        masks = said.masks.cpu().numpy()
        region = tuple(geometry.from_mask(masks[at] > 0) for at in kept)
    return Predictions(
        image=np.full(len(kept), row), label=said.labels.cpu().numpy().astype(np.int64)[kept], box=box[kept],
        score=np.clip(score[kept], 0.0, 1.0), region=region,
    )  # fmt: skip
