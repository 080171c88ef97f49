"""detectron2's detectors: Mask R-CNN, Faster R-CNN, and others by their config (`model: config`).

The network, its losses, optimizer, schedule, augmentations, inference and postprocessing are detectron2's; what it
sees (our arrays), how each epoch is judged (the watch) and what is kept (one checkpoint without code) are ours.
`options.config` names a YAML config of its zoo or a file of the user's, `options.override` changes it by dotted
keys. What differs from detectron2's own training, and why:
- images without defects are kept (it drops them: `FILTER_EMPTY_ANNOTATIONS`), and an epoch shows each picture once;
- crowds and ignored defects are neither objects nor background (it drops them, and they are background);
- a region that vanishes when it is scaled down stands for its box (it drops the defect);
- the floor on scores and the cap on detections are the job's, not 0.05 and 100;
- the long side is scaled to `image_size` always, the learning rate to the batch, the schedule to the epochs;
- from scratch, no stage is frozen and frozen batch norm becomes batch norm;
- where the dataset has boxes only, Mask R-CNN is trained without its mask branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._detectron2 import environment
from defect_detect.backends._failing import translated
from defect_detect.backends._loading import reading
from defect_detect.backends._memory import predicting
from defect_detect.backends._settled import torch_device
from defect_detect.errors import ConfigError, Fault
from defect_detect.job import PredictOutcome, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions

requires: tuple[str, ...] = ("detectron2>=0.6", "torch>=2.6", "torchvision>=0.21")
models: Mapping[str, Capabilities] = MappingProxyType(
    {
        "mask_rcnn_r50_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "mask_rcnn_r101_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "faster_rcnn_r50_fpn": Capabilities(family="faster_rcnn", pretrained=True),
        "config": Capabilities(family="detectron2", masks=True, pretrained=True),
    }
)
_CHECKPOINT = "checkpoint.pt"


def train(job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
    """Train by detectron2's config; see `backends.Backend.train`."""
    with environment.installed():
        from detectron2.modeling import build_model

        from defect_detect.backends._detectron2 import configs, detecting, training, weights
    if not len(train.images):
        raise ConfigError(Fault(where="train split", expected="at least one image", found="none"))
    device, names = torch_device(job.settings.device), [category.name for category in train.categories]
    settled = environment.settled(seed=job.seed, threads=job.settings.threads, device=device)
    with settled, translated("training", "detectron2"), reading(job.settings.workers):
        plan = configs.plan(
            job, classes=len(names), regions=train.has_masks, device=str(device), images=len(train.images)
        )
        learned = "regions" if plan.masks else "none"
        network = build_model(plan.cfg)
        done = training.train(
            network, job, plan, pictures=train, device=device, watch=watch,
            initialize=lambda: weights.initialize(network, job, plan),
            checkpoint=lambda file: weights.write(file, network, job, plan, names=names, masks=learned),
            predict=lambda at_once: detecting.detect(
                network, plan.cfg, val, floor=job.settings.score_floor, batch=at_once, regions=False,
                report=lambda _done, _of: None,
            )[0],
        )  # fmt: skip
    watch.deliver(out / _CHECKPOINT)
    rows = np.array(sorted(done.seen), np.int64)
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(rows),
        defect_free_seen=int(train.defect_free[rows].sum()),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        initial_weights=done.initial,
        masks=learned,
        deterministic=device.type == "cpu",
        halved=done.halved,
    )


def fetch(job: TrainJob, *, masks: bool) -> None:
    """Bring the pretrained weights that the job starts from to where `train` finds them.

    Raises:
        FrameworkMissing: they can't be had.
    """
    with environment.installed():
        from defect_detect.backends._detectron2 import configs, weights
    weights.fetch(job, configs.plan(job, classes=1, regions=masks, device="cpu", images=1))


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """What the checkpoint says about `data`; see `backends.Backend.predict`."""
    with environment.installed():
        from defect_detect.backends._detectron2 import configs, detecting, weights
    where = torch_device(device)
    with environment.settled(seed=job.seed, threads=0, device=where), translated("prediction", "detectron2"):
        # The config that the job names is not read: the checkpoint holds what it became.
        network, cfg, learned = weights.restore(
            checkpoint, job, names=[category.name for category in data.categories], device=str(where)
        )
        (found, latency), halved = predicting(
            job.settings, batch,
            lambda at_once: detecting.detect(
                network, cfg, data, floor=job.settings.score_floor, batch=at_once, regions=learned == "regions",
                report=watch.batch,
            ),
        )  # fmt: skip
    size = f"long side {cfg.INPUT.MAX_SIZE_TEST}, padded to {network.backbone.size_divisibility or 1}"
    nms_iou = configs.suppression(cfg)
    return found, PredictOutcome(nms_iou=nms_iou, input_size=size, latency=latency, halved=halved)
