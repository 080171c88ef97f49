"""Is there room for the checkpoints? Asked before hours are spent."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from defect_detect import folder
from defect_detect.config import DetectorConfig
from defect_detect.errors import ConfigError, Fault

MEGABYTES: Mapping[str, int] = MappingProxyType({
    "ssd300_vgg16": 138, "ssd300": 138, "ssd512": 144, "ssdlite320_mobilenet_v3": 14, "ssdlite320": 14,
    "mask_rcnn_r18_fpn": 126, "mask_rcnn_r34_fpn": 166, "mask_rcnn_r50_fpn": 178, "mask_rcnn_r101_fpn": 254,
    "faster_rcnn_r50_fpn": 168,
    "yolo11n": 12, "yolo11s": 41, "yolo11m": 90, "yolo26n": 13, "yolo26s": 47, "yolo26m": 109,
    "yolov8n": 14, "yolov8s": 48, "yolov8m": 110, "threshold": 0,
})  # fmt: skip
"""MB (10^6 bytes) of a model's weights for 80 classes with masks, as float32; `tests/test_space.py` counts them."""
_UNKNOWN = 256
_STATE: Mapping[str, int] = MappingProxyType({"ultralytics": 4})
"""Weights that a training's state holds at most: network, moving average, two moments. Others: network, momentum."""
_STATES = 3
"""Two that are kept and the one being written (`resuming`); beside them, the best checkpoint twice."""
_REST = 20
"""MB of a run's predictions, logs and tables."""


def check(out: Path, configs: Sequence[DetectorConfig], seeds: Sequence[int], *, jobs: int) -> None:
    """Refuse to start trainings whose checkpoints won't fit on the disk of the folder `out`, which may be made yet.

    Raises:
        ConfigError: how much is needed, and how much is free.
    """
    todo = [
        made
        for made in configs
        for seed in seeds
        if not (folder.run_folder(out, made.name, seed) / "result.json").exists()
    ]
    needed, free = needs(todo, jobs=jobs), shutil.disk_usage(existing(out)).free
    if needed > free:
        raise ConfigError(Fault(
            where=str(out), expected=f"room for the checkpoints of {len(todo)} trainings, about {needed / 1e6:,.0f} MB",
            found=f"{free / 1e6:,.0f} MB free", fix="Make room, or give an --out on another disk.",
        ))  # fmt: skip


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def needs(todo: Sequence[DetectorConfig], *, jobs: int) -> int:
    """Bytes that the trainings need at most, `jobs` of them at a time: what they end with, and what they go on from."""
    sizes = [(MEGABYTES.get(made.model, _UNKNOWN), _STATE.get(made.framework, 2)) for made in todo]
    ends = sum(weights + _REST for weights, _ in sizes if weights)
    running = sorted((weights * (_STATES * state + 2) for weights, state in sizes), reverse=True)[:jobs]
    return (ends + sum(running)) * 10**6
