"""torchvision's detectors: SSD300-VGG16, SSDLite320-MobileNetV3, Mask R-CNN on ResNet 18 to 101.

What differs from torchvision's own reference training, and why:
- images without defects are trained on like any other, and SSD takes background from each of them;
- the floor on scores and the cap on detections are the job's, not 0.01 / 200 and 0.05 / 100;
- crowds and ignored defects are not trained on: what they cover counts as background;
- where the dataset has boxes only, Mask R-CNN learns box-shaped masks, and its predictions carry none;
- pictures are scaled once, with antialiasing: SSD stretches them to a square, Mask R-CNN scales the long side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._loading import reading
from defect_detect.backends._memory import predicting
from defect_detect.backends._settled import settled, torch_device
from defect_detect.errors import ConfigError, Fault, FrameworkMissing
from defect_detect.job import PredictOutcome, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions

requires: tuple[str, ...] = ("torch>=2.5", "torchvision>=0.20")
models: Mapping[str, Capabilities] = MappingProxyType(
    {
        "ssd300_vgg16": Capabilities(family="ssd", pretrained=True),
        "ssdlite320_mobilenet_v3": Capabilities(family="ssd", pretrained=True),
        "mask_rcnn_r18_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "mask_rcnn_r34_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "mask_rcnn_r50_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
        "mask_rcnn_r101_fpn": Capabilities(family="mask_rcnn", masks=True, pretrained=True),
    }
)
_CHECKPOINT = "checkpoint.pt"


def train(job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
    """Train `job.model`; see `backends.Backend.train`."""
    with _installed():
        from defect_detect.backends._torchvision import loop, models, weights
    if not len(train.images):
        raise ConfigError(Fault(where="train split", expected="at least one image", found="none"))
    device, labels = torch_device(job.settings.device), len(train.categories) + 1
    with settled(seed=job.seed, threads=job.settings.threads, device=device), reading(job.settings.workers):
        detector = models.build(job, labels)
        learned = ("regions" if train.has_masks else "boxes") if detector.masks else "none"
        done = loop.train(
            detector, job, pictures=train, val=val, device=device, watch=watch,
            initialize=lambda: weights.initialize(detector.network, job),
            checkpoint=lambda file: weights.write(file, detector.network, job, labels=labels, masks=learned),
        )  # fmt: skip
    watch.deliver(out / _CHECKPOINT)
    rows = np.array(sorted(done.seen), np.int64)
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(rows),
        defect_free_seen=int(train.defect_free[rows].sum()),
        parameters=sum(parameter.numel() for parameter in detector.network.parameters()),
        initial_weights=done.initial,
        masks=learned,
        deterministic=device.type == "cpu",
        halved=done.halved,
    )


def fetch(job: TrainJob, *, masks: bool) -> None:  # noqa: ARG001 - as all backends have it
    """Bring the pretrained weights that the job starts from to where `train` finds them.

    Raises:
        FrameworkMissing: they can't be had.
    """
    with _installed():
        from defect_detect.backends._torchvision import weights
    weights.fetch(job.model)


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """What the checkpoint says about `data`; see `backends.Backend.predict`."""
    with _installed():
        from defect_detect.backends._torchvision import detect, models, weights
        from defect_detect.backends._torchvision.pictures import Scaled
    where, labels = torch_device(device), len(data.categories) + 1
    with settled(seed=job.seed, threads=job.settings.threads, device=where):
        detector = models.build(job, labels)
        learned = weights.restore(detector.network, job, labels=labels, path=checkpoint)
        detector.network.to(where)
        pictures = Scaled(data, detector.fit)
        (found, latency), halved = predicting(
            job.settings, batch,
            lambda at_once: detect.predict(
                detector, pictures, device=where, batch=at_once, regions=learned == "regions", report=watch.batch
            ),
        )  # fmt: skip
    return found, PredictOutcome(
        nms_iou=detector.nms_iou, input_size=detector.input_size, latency=latency, halved=halved
    )


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise FrameworkMissing(
            Fault(
                where="framework torchvision", expected=" and ".join(requires), found=str(error),
                fix="pip install 'defect-detect[torchvision]'",
            )
        ) from error  # fmt: skip
