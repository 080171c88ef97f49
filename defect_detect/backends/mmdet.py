"""mmdet's detectors: SSD300, SSD512, Mask R-CNN, and any other by its config (`model: config`).

mmdet trains by its own config and runner; what it sees (our arrays), how each epoch is judged (the
watch) and what is kept (one checkpoint without code) are ours. `options.config` names a config of
mmdet's zoo or a file of the user's, `options.override` changes it by dotted keys. What differs from
mmdet's own training, and why:
- images without defects and small ones are kept (mmdet's configs drop them: `filter_cfg`);
- SSD takes background from every picture, and can predict (`_mmdet.ssd`);
- the floor on scores and the cap on detections are the job's;
- the learning rate is scaled to the batch as mmdet itself does on request (`auto_scale_lr`), the schedule
  stretched from the config's epochs to the job's, and an epoch shows each picture once (no RepeatDataset).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._failing import scratch, translated
from defect_detect.backends._loading import reading
from defect_detect.backends._memory import predicting
from defect_detect.backends._mmdet import configs, detecting, environment, loading, weights
from defect_detect.errors import ConfigError, Fault
from defect_detect.job import PredictOutcome, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions

requires: tuple[str, ...] = ("mmdet>=3.3,<3.4", "mmengine>=0.10.7", "torch>=2.6", "torchvision>=0.21")
models: Mapping[str, Capabilities] = MappingProxyType(
    {
        "ssd300": Capabilities(family="ssd", pretrained=True),
        "ssd512": Capabilities(family="ssd", pretrained=True),
        "ssdlite320": Capabilities(family="ssd", pretrained=True),
        "mask_rcnn_r50_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "mask_rcnn_r101_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "config": Capabilities(family="mmdet", masks=True, pretrained=True),
    }
)
_CHECKPOINT = "checkpoint.pt"


def train(job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
    """Train by mmdet's config; see `backends.Backend.train`."""
    if not len(train.images):
        raise ConfigError(Fault(where="train split", expected="at least one image", found="none"))
    environment.start(job.settings.threads)
    device = environment.device(job.settings.device)
    from mmdet.registry import MODELS
    from mmengine.runner import set_random_seed

    from defect_detect.backends._mmdet import loop, training

    plan = configs.plan(job, classes=len(train.categories))
    learned = ("regions" if train.has_masks else "boxes") if plan.masks else "none"
    names = [category.name for category in train.categories]
    with scratch(out, "mmdet") as folder, environment.quiet(), translated("training", "mmdet"):
        set_random_seed(job.seed)
        with loading.tensors_only():
            network, start = MODELS.build(plan.model), watch.resume()
        room = loop.Room(
            settings=job.settings, at_once=job.settings.batch, least=loop.least(network), names=train.images.file
        )
        watching = training.Watching(
            watch, room=room, start=start,
            initial=weights.initialize(network, job, plan.rest) if start is None else "",
            predict=lambda now, at_once: _detect(job, now, val, steps=plan.test, batch=at_once, regions=False)[0],
            checkpoint=lambda now, file: weights.write(file, now, job, plan, names=names, masks=learned),
        )  # fmt: skip
        with loading.tensors_only(), reading(job.settings.workers):
            training.train(
                network, job, plan, data=train, masks=learned, folder=folder, watching=watching, on_cpu=device == "cpu"
            )
    watch.deliver(out / _CHECKPOINT)
    rows = np.array(sorted(watching.seen), np.int64)
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(rows),
        defect_free_seen=int(train.defect_free[rows].sum()),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        initial_weights=watching.initial,
        masks=learned,
        deterministic=device == "cpu",
        halved=room.halved,
    )


def fetch(job: TrainJob, *, masks: bool) -> None:  # noqa: ARG001 - as all backends have it
    """Bring the pretrained weights that the job starts from to where `train` finds them.

    Raises:
        FrameworkMissing: they can't be had.
    """
    environment.start(job.settings.threads)
    with environment.quiet():
        weights.fetch(job, configs.plan(job, classes=1).rest)


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """What the checkpoint says about `data`; see `backends.Backend.predict`."""
    environment.start(0)
    where = environment.device(device)
    # The config that the job names is not read: it is a program, and the job may be a stranger's.
    with environment.quiet(), translated("prediction", "mmdet"):
        network, steps, learned, nms_iou = weights.restore(checkpoint, job, names=[one.name for one in data.categories])
        network.to(where)
        (said, seconds), halved = predicting(
            job.settings, batch,
            lambda at_once: _detect(
                job, network, data, steps=steps, batch=at_once, regions=learned == "regions",
                done=lambda number: watch.batch(number, len(data.images)),
            ),
        )  # fmt: skip
    size = configs.input_size(steps)
    return said, PredictOutcome(nms_iou=nms_iou, input_size=size, latency=seconds, halved=halved)


def _detect(
    job: TrainJob, network: Any, data: Dataset, *, steps: list[Any], batch: int, regions: bool, done: Any = None
) -> tuple[Predictions, list[float]]:
    settings = job.settings
    return detecting.detect(
        network, data, steps=steps, floor=settings.score_floor, cap=settings.max_detections, batch=batch,
        regions=regions, done=done or (lambda _: None),
    )  # fmt: skip
