"""torchvision's SSDs at any input size, and narrower or finer ones for small machines and small defects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn
from torchvision.models import mobilenet_v3_large, vgg16, vgg16_bn
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSDHead, _vgg_extractor
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

from defect_detect.backends._torchvision.anchors import Anchors, default_sizes
from defect_detect.backends._torchvision.feature_maps import FineMobileNetMaps, SlimVggMaps
from defect_detect.backends._torchvision.options import SsdParts
from defect_detect.backends._torchvision.ssd_loss import BackgroundTaughtSSD
from defect_detect.errors import ConfigError, Fault, Unsupported

_OWN_SIDE, _LEAST_SIDE = 300, 260
_OWN_RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
_OWN_SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
_OWN_STEPS = [8, 16, 32, 64, 100, 300]


def ssd300(parts: SsdParts, arguments: Mapping[str, Any], *, labels: int, side: int, given: bool) -> Any:
    """SSD on VGG16 (Liu et al. 2016) for pictures of `side` x `side` px.

    torchvision's own network where `parts` asks for nothing else; narrow or fine ones have batch norm
    and as many maps as they have anchor sizes.

    Args:
        parts: its options.
        arguments: of torchvision's `SSD`, verbatim.
        labels: classes, background included.
        side: px.
        given: weights will be loaded into it, so early stages stay as they are.

    Raises:
        Unsupported: the input is too small for the feature maps of SSD300.
        ConfigError: options that don't go together.
    """
    arguments = {"nms_thresh": 0.45, **arguments}
    if parts.fine or parts.width != 1:
        anchors = Anchors(parts.anchor_sizes or default_sizes(side, 4 if parts.fine else 8), parts.anchor_ratios, side)
        maps = SlimVggMaps(parts.width, maps=len(anchors.sizes), fine=parts.fine)
        head = SSDHead(maps.out_channels, anchors.num_anchors_per_location(), labels)
        return _assembled(maps, anchors, head, parts, arguments, labels=labels, side=side)
    if parts.anchor_sizes is not None:
        expected = "options.model.fine or .width beside it"
        raise ConfigError(Fault(where="options.model.anchor_sizes", expected=expected, found="SSD300's own maps"))
    if side < _LEAST_SIDE:
        raise Unsupported(
            Fault(
                where="image_size", expected=f"at least {_LEAST_SIDE} px for ssd300_vgg16", found=str(side),
                fix="Use ssdlite320_mobilenet_v3, or options.model.fine or .width, for small inputs",
            )
        )  # fmt: skip
    norm = parts.norm == "batch" or (parts.norm == "auto" and not given)
    vgg = (vgg16_bn if norm else vgg16)(weights=None)
    backbone = _vgg_extractor(vgg, False, _trainable(parts, given=given, default=4, most=5))
    anchors = DefaultBoxGenerator(_OWN_RATIOS, scales=_OWN_SCALES, steps=_OWN_STEPS if side == _OWN_SIDE else None)
    channels = retrieve_out_channels(backbone, (side, side))
    head = SSDHead(channels, anchors.num_anchors_per_location(), labels)
    # VGG's weights expect means taken off, and a range of 255.
    scaling = {} if norm else {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1 / 255] * 3}
    return _assembled(backbone, anchors, head, parts, {**scaling, **arguments}, labels=labels, side=side)


def ssdlite(parts: SsdParts, arguments: Mapping[str, Any], *, labels: int, side: int, given: bool) -> Any:
    """SSDLite on MobileNetV3 large (Howard et al. 2019) for pictures of `side` x `side` px.

    Arguments as of `ssd300`; raises ConfigError for options that don't go together.
    """
    # torchvision's momentum is for long trainings; from scratch, on few pictures, statistics lag behind.
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03 if given else 0.1)
    mobilenet = mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=True, width_mult=parts.width)
    backbone = _mobilenet_extractor(mobilenet, _trainable(parts, given=given, default=6, most=6), norm)
    anchors = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    if parts.fine:
        backbone = FineMobileNetMaps(backbone)
    if parts.fine or parts.anchor_sizes is not None:
        sizes = parts.anchor_sizes or default_sizes(side, 8)
        anchors = Anchors(sizes, parts.anchor_ratios, side)
        backbone.extra = backbone.extra[: max(0, len(sizes) - 2 - parts.fine)]
    channels = retrieve_out_channels(backbone, (side, side))
    if len(channels) != len(anchors.aspect_ratios):
        expected = f"at least {len(channels)} lists, one per feature map"
        found = str(len(anchors.aspect_ratios))
        raise ConfigError(Fault(where="options.model.anchor_sizes", expected=expected, found=found))
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), labels, norm)
    arguments = {"nms_thresh": 0.55, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **arguments}
    return _assembled(backbone, anchors, head, parts, arguments, labels=labels, side=side)


def _assembled(
    backbone: Any, anchors: Any, head: Any, parts: SsdParts, arguments: Mapping[str, Any], *, labels: int, side: int
) -> Any:  # fmt: skip
    model = BackgroundTaughtSSD(backbone, anchors, (side, side), labels, head=head, **arguments)
    model.least_negatives = parts.least_negatives
    return model


def _trainable(parts: SsdParts, *, given: bool, default: int, most: int) -> int:
    """Backbone stages that learn."""
    if not given:
        return most
    if parts.trainable_layers is None:
        return default
    if not 0 <= parts.trainable_layers <= most:
        found = str(parts.trainable_layers)
        raise ConfigError(Fault(where="options.model.trainable_layers", expected=f"0 to {most}", found=found))
    return parts.trainable_layers
