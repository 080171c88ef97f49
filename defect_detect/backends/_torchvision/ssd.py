"""torchvision's SSDs, any input size, a finer map on request, and a loss that background teaches too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large, vgg16, vgg16_bn
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead, _vgg_extractor
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

from defect_detect.backends._torchvision.options import SsdParts
from defect_detect.errors import ConfigError, Fault, Unsupported

_SSD300 = 300
_SSD300_MINIMUM = 260


class BackgroundTaughtSSD(SSD):  # type: ignore[misc]  # torchvision is untyped here
    """SSD whose every image teaches at least `least_negatives` background anchors.

    SSD (Liu et al. 2016, hard negative mining) takes three negatives for each positive of the same
    image, so an image without defects has no part in its loss, and a detector never learns what a good
    part looks like.
    """

    least_negatives = 16

    def compute_loss(
        self, targets: list[dict[str, Any]], head_outputs: dict[str, Any], anchors: list[Any], matched_idxs: list[Any]
    ) -> dict[str, Any]:
        """Smooth L1 over the positives' offsets; cross entropy over positives and hardest negatives.

        Both are divided by the batch's positives, or by its negatives / ratio where those are more, so
        that a batch without any defect weighs no more than another.
        """
        logits, offsets = head_outputs["cls_logits"], head_outputs["bbox_regression"]
        wanted = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
        misplaced = logits.new_zeros(())
        for row, (target, matched, boxes) in enumerate(zip(targets, matched_idxs, anchors, strict=True)):
            positive = matched >= 0
            truth = matched[positive]
            wanted[row, positive] = target["labels"][truth]
            aim = self.box_coder.encode_single(target["boxes"][truth], boxes[positive])
            misplaced = misplaced + functional.smooth_l1_loss(offsets[row, positive], aim, reduction="sum")
        surprise = functional.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none")
        surprise = surprise.view_as(wanted)
        positive = wanted > 0
        quota = (self.neg_to_pos_ratio * positive.sum(1)).clamp(min=self.least_negatives)
        hardest = (
            surprise.detach().masked_fill(positive, -1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        )
        negative = (hardest < quota[:, None]) & ~positive
        share = max(1.0, float(positive.sum()), float(negative.sum()) / self.neg_to_pos_ratio)
        return {
            "bbox_regression": misplaced / share,
            "classification": surprise[positive | negative].sum() / share,
        }


class _FineMaps(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """SSDLite's feature maps with MobileNet's widest map of stride 8 before them.

    Wraps torchvision's extractor and keeps its attribute names, so its weights fit.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.features, self.extra = extractor.features, extractor.extra
        # The last block that halves its map takes stride 8 to 16, by its second layer.
        self.halving = max(k for k, block in enumerate(self.features[0]) if getattr(block, "_is_cn", False))

    def forward(self, x: Any) -> Any:
        maps = []
        for index, block in enumerate(self.features[0]):
            if index == self.halving:
                x = block.block[0](x)
                maps.append(x)
                x = block.block[1:](x)
            else:
                x = block(x)
        maps.append(x)
        for block in (self.features[1], *self.extra):
            x = block(x)
            maps.append(x)
        return OrderedDict((str(index), value) for index, value in enumerate(maps))


def ssd300(parts: SsdParts, arguments: Mapping[str, Any], *, labels: int, side: int, given: bool) -> Any:
    """SSD300-VGG16 (Liu et al. 2016) for pictures of `side` x `side` px.

    Args:
        parts: its options.
        arguments: of torchvision's `SSD`, verbatim.
        labels: classes, background included.
        side: px.
        given: weights will be loaded into it, so early stages stay as they are.

    Raises:
        Unsupported: the input is too small for its last feature maps.
        ConfigError: anchors that don't fit the number of feature maps, or options of SSDLite.
    """
    if side < _SSD300_MINIMUM:
        raise Unsupported(
            Fault(
                where="image_size", expected=f"at least {_SSD300_MINIMUM} px for ssd300_vgg16", found=str(side),
                fix="Use ssdlite320_mobilenet_v3 for small inputs",
            )
        )  # fmt: skip
    _refuse(parts, {"fine": False, "width": 1.0}, "ssd300_vgg16")
    norm = parts.norm == "batch" or (parts.norm == "auto" and not given)
    layers = _trainable(parts, given=given, default=4, most=5)
    backbone = _vgg_extractor((vgg16_bn if norm else vgg16)(weights=None), False, layers)
    ratios = parts.anchor_ratios or ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
    scales = parts.anchor_scales or (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
    steps = [8, 16, 32, 64, 100, 300] if side == _SSD300 else None
    anchors = _anchors(ratios, scales, maps=6, steps=steps)
    channels = retrieve_out_channels(backbone, (side, side))
    head = SSDHead(channels, anchors.num_anchors_per_location(), labels)
    # VGG's weights expect means taken off, and a range of 255.
    scaling = {} if norm else {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1 / 255] * 3}
    arguments = {"nms_thresh": 0.45, **scaling, **arguments}
    model = BackgroundTaughtSSD(backbone, anchors, (side, side), labels, head=head, **arguments)
    model.least_negatives = parts.least_negatives
    return model


def ssdlite(parts: SsdParts, arguments: Mapping[str, Any], *, labels: int, side: int, given: bool) -> Any:
    """SSDLite on MobileNetV3 large (Howard et al. 2019) for pictures of `side` x `side` px.

    Arguments and errors as of `ssd300`.
    """
    _refuse(parts, {"norm": "auto"}, "ssdlite320_mobilenet_v3")
    # torchvision's momentum of 0.03 for long trainings; from scratch, on few pictures, statistics lag behind.
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03 if given else 0.1)
    mobilenet = mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=True, width_mult=parts.width)
    backbone = _mobilenet_extractor(mobilenet, _trainable(parts, given=given, default=6, most=6), norm)
    if parts.fine:
        backbone = _FineMaps(backbone)
    maps = 7 if parts.fine else 6
    scales = parts.anchor_scales
    if scales is None and parts.fine:
        scales = (0.06, 0.12, 0.24, 0.38, 0.54, 0.7, 0.85, 1.0)
    anchors = _anchors(parts.anchor_ratios or (2.0, 3.0), scales, maps=maps, steps=None)
    channels = retrieve_out_channels(backbone, (side, side))
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), labels, norm)
    scaling = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    arguments = {"nms_thresh": 0.55, **scaling, **arguments}
    model = BackgroundTaughtSSD(backbone, anchors, (side, side), labels, head=head, **arguments)
    model.least_negatives = parts.least_negatives
    return model


def _anchors(ratios: Any, scales: Any, *, maps: int, steps: list[int] | None) -> Any:
    alike = not any(isinstance(ratio, tuple) for ratio in ratios)
    per_map = [list(ratios)] * maps if alike else [list(r) if isinstance(r, tuple) else [r] for r in ratios]
    faults = []
    if len(per_map) != maps:
        faults.append(Fault(where="options.model.anchor_ratios", expected=f"{maps} lists", found=str(len(per_map))))
    if scales is not None and len(scales) != maps + 1:
        faults.append(
            Fault(where="options.model.anchor_scales", expected=f"{maps + 1} numbers", found=str(len(scales)))
        )
    if faults:
        raise ConfigError(*faults)
    return DefaultBoxGenerator(
        per_map, min_ratio=0.2, max_ratio=0.95, scales=None if scales is None else list(scales), steps=steps
    )


def _trainable(parts: SsdParts, *, given: bool, default: int, most: int) -> int:
    if not given:
        return most
    return default if parts.trainable_layers is None else parts.trainable_layers


def _refuse(parts: SsdParts, unset: Mapping[str, Any], model: str) -> None:
    faults = [
        Fault(where=f"options.model.{name}", expected=f"nothing: {model} has no such option", found=repr(value))
        for name, default in unset.items()
        if (value := getattr(parts, name)) != default
    ]
    if faults:
        raise ConfigError(*faults)
