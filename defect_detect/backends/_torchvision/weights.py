"""Where a detector's first weights come from, and the checkpoint that holds its last."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import URLError

import torch
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet101_Weights
from torchvision.models.detection import (
    MaskRCNN_ResNet50_FPN_Weights,
    SSD300_VGG16_Weights,
    SSDLite320_MobileNet_V3_Large_Weights,
)

from defect_detect.backends._weights import content as content_of
from defect_detect.backends._weights import enough, given
from defect_detect.data.files import sha256_file
from defect_detect.errors import Fault, FrameworkMissing, RunFailed
from defect_detect.job import TrainJob

_FORMAT = "defect_detect torchvision 1"
_PRETRAINED = {
    "ssd300_vgg16": SSD300_VGG16_Weights.COCO_V1,
    "ssdlite320_mobilenet_v3": SSDLite320_MobileNet_V3_Large_Weights.COCO_V1,
    "mask_rcnn_r18_fpn": ResNet18_Weights.IMAGENET1K_V1,
    "mask_rcnn_r34_fpn": ResNet34_Weights.IMAGENET1K_V1,
    "mask_rcnn_r50_fpn": MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
    "mask_rcnn_r101_fpn": ResNet101_Weights.IMAGENET1K_V1,
}
_FOREIGN_CLASSES = (
    "head.classification_head.",
    "roi_heads.box_predictor.",
    "roi_heads.mask_predictor.mask_fcn_logits.",
)


def initialize(network: Any, job: TrainJob) -> str:
    """Put the weights that the job starts from into the network; returns what they are, with SHA-256.

    Raises:
        FrameworkMissing: pretrained weights that can't be downloaded.
        ConfigError: a path that holds no weights for this network.
    """
    if job.settings.weights == "none":
        return "none"
    if job.settings.weights == "pretrained":
        source, path = str(_PRETRAINED[job.model]), fetch(job.model)
        # Heads that tell COCO's classes apart know nothing about defects.
        state = {k: v for k, v in _tensors(path).items() if not k.startswith(_FOREIGN_CLASSES)}
    else:
        path = Path(job.settings.weights)
        source, state = str(path), _tensors(path, job.settings.trust_checkpoint)
    filled = _transfer(network, state)
    enough(filled, network, source=source, model=job.model, whose="torchvision's")
    return f"{source} sha256:{sha256_file(path)}"


def write(file: BinaryIO, network: Any, job: TrainJob, *, labels: int, masks: str) -> None:
    """Write the checkpoint: tensors and plain values only, so that loading one runs no code."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    torch.save({"format": _FORMAT, "model": job.model, "labels": labels, "masks": masks, "state": state}, file)


def restore(network: Any, job: TrainJob, *, labels: int, path: Path) -> str:
    """Put a checkpoint back into the network; returns what its mask branch learned from.

    Raises:
        RunFailed: the file is missing, damaged, or a checkpoint of something else.
    """
    content = content_of(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RunFailed(f"{path} is not a checkpoint of the torchvision backend; train the detector again")
    found = (content.get("model"), content.get("labels"))
    if found != (job.model, labels):
        raise RunFailed(
            f"{path} holds {found[0]} with {found[1]} labels, but the job asks for {job.model} with {labels} "
            "(background included); predict with the job and the dataset it was trained with"
        )
    try:
        network.load_state_dict(content["state"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise RunFailed(f"{path} doesn't fit the options of its job: {error}") from error
    return str(content["masks"])


def _tensors(path: Path, trust: str = "") -> dict[str, Any]:
    """Named tensors of a checkpoint of ours, or of a plain state dict such as torchvision's files."""
    content = given(path, trust)
    state = content.get("state", content) if isinstance(content, dict) else {}
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def _transfer(network: Any, state: dict[str, Any]) -> set[str]:
    """Copy every tensor whose name and shape fit, a bare ResNet's into the backbone; their names."""
    own = network.state_dict()
    if "layer1.0.conv1.weight" in state:
        state = {f"backbone.body.{name}": tensor for name, tensor in state.items()}
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    network.load_state_dict(fitting, strict=False)
    return set(fitting)


def fetch(model: str) -> Path:
    """The cached file of torchvision's weights, downloaded and checked at the first use.

    Raises:
        FrameworkMissing: they can't be downloaded.
    """
    weights = _PRETRAINED[model]
    name = str(weights.url).rpartition("/")[2]
    try:
        weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise FrameworkMissing(
            Fault(
                where=f"pretrained weights of {model}", expected=f"{name} from {weights.url}", found=str(error),
                fix="Connect to the internet once, or download that file elsewhere and give its path "
                f"(--set weights=/path/to/{name}), or train from scratch (--set weights=none)",
            )
        ) from error  # fmt: skip
    return Path(str(torch.hub.get_dir())) / "checkpoints" / name
