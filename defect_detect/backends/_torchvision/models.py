"""A detector of this backend: the network, how pictures are fitted to it, what its job fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from defect_detect.backends._torchvision import mask_rcnn, options, ssd
from defect_detect.backends._torchvision.options import Augment, MaskRcnnParts, Optimizer, SsdParts
from defect_detect.backends._torchvision.pictures import Fit
from defect_detect.job import TrainJob

_PAD_TO = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A network and what must be known to train it or to predict with it.

    network          takes (3, H, W) float32 pictures in [0, 1] already of the right size
    fit              how pictures come to that size
    masks            whether it has a mask branch
    nms_iou          see `PredictOutcome`
    least_batch      pictures that a training batch must hold
    """

    network: Any
    fit: Fit
    augment: Augment
    optimizer: Optimizer
    masks: bool
    nms_iou: float
    least_batch: int

    @property
    def input_size(self) -> str:
        """In words, for the manifest."""
        if self.fit.stretch:
            return f"stretched to {self.fit.side} x {self.fit.side}"
        return f"long side {self.fit.side}, padded to {_PAD_TO}"


class _AsIs(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision is untyped here
    """Normalizes and batches, but leaves scaling to `pictures` and pasting of masks to `regions`."""

    def resize(self, image: Any, target: Any = None) -> Any:
        return image, target

    def postprocess(self, result: Any, image_shapes: Any, original_image_sizes: Any) -> Any:
        del image_shapes, original_image_sizes
        return result


def build(job: TrainJob, labels: int) -> Detector:
    """The detector of the job with random weights; `labels` counts the background.

    Raises:
        ConfigError: options that nothing understands.
        Unsupported: an input too small for the model.
    """
    detector = _mask_rcnn(job, labels) if job.model.startswith("mask_rcnn") else _ssd(job, labels)
    own = detector.network.transform
    detector.network.transform = _AsIs(
        own.min_size, own.max_size, own.image_mean, own.image_std, size_divisible=own.size_divisible
    )
    # Convolutions on a CPU ran 30 % faster this way (Mask R-CNN; SSDLite 10 to 30 %).
    detector.network.to(memory_format=torch.channels_last)
    return detector


def _mask_rcnn(job: TrainJob, labels: int) -> Detector:
    settings = job.settings
    chosen = options.read(job.options, MaskRcnnParts, MaskRCNN)
    network = mask_rcnn.mask_rcnn(
        chosen.parts, chosen.arguments, labels=labels, side=settings.image_size, given=settings.weights != "none",
        depth="resnet" + job.model.removeprefix("mask_rcnn_r").removesuffix("_fpn"),
    )  # fmt: skip
    heads = network.roi_heads
    heads.score_thresh, heads.detections_per_img = settings.score_floor, settings.max_detections
    return Detector(
        network=network, fit=Fit(side=settings.image_size, stretch=False), augment=chosen.augment,
        optimizer=chosen.optimizer, masks=True, nms_iou=heads.nms_thresh, least_batch=1,
    )  # fmt: skip


def _ssd(job: TrainJob, labels: int) -> Detector:
    settings = job.settings
    chosen = options.read(job.options, SsdParts, SSD)
    lite = job.model != "ssd300_vgg16"
    network = (ssd.ssdlite if lite else ssd.ssd300)(
        chosen.parts, chosen.arguments, labels=labels, side=settings.image_size, given=settings.weights != "none"
    )
    network.score_thresh, network.detections_per_img = settings.score_floor, settings.max_detections
    # SSDLite ends in a map of 1 x 1, over which batch norm needs two pictures.
    return Detector(
        network=network, fit=Fit(side=settings.image_size, stretch=True), augment=chosen.augment,
        optimizer=chosen.optimizer, masks=False, nms_iou=network.nms_thresh, least_batch=2 if lite else 1,
    )  # fmt: skip
