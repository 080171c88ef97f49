"""torchvision's Mask R-CNN on any ResNet, with heads and anchors as small as the machine needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from defect_detect.backends._torchvision.options import MaskRcnnParts
from defect_detect.errors import ConfigError, Fault

_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")
_BOX_GRID, _MASK_GRID = 7, 14
_NORMS: Mapping[str, Any] = {
    "batch": nn.BatchNorm2d,
    "frozen": FrozenBatchNorm2d,
    "group": partial(nn.GroupNorm, 16),
}


def mask_rcnn(
    parts: MaskRcnnParts, arguments: Mapping[str, Any], *, depth: str, labels: int, side: int, given: bool
) -> Any:
    """Mask R-CNN (He et al. 2017) with a feature pyramid.

    Args:
        parts: its options.
        arguments: of torchvision's `MaskRCNN`, verbatim.
        depth: `resnet18` | `resnet34` | `resnet50` | `resnet101`.
        labels: classes, background included.
        side: px, the long side of its pictures.
        given: weights will be loaded into it, so early stages stay as they are.

    Raises:
        ConfigError: pyramid levels or anchors that don't fit each other.
    """
    sizes = _anchor_sizes(parts)
    norm = parts.norm if parts.norm != "auto" else ("frozen" if given else "batch")
    body = getattr(resnet, depth)(weights=None, norm_layer=_NORMS[norm])
    _freeze(body, 5 if not given else 3 if parts.trainable_layers is None else parts.trainable_layers)
    narrow = body.inplanes // 8
    backbone = BackboneWithFPN(
        body,
        return_layers={f"layer{stage}": str(level) for level, stage in enumerate(parts.layers)},
        in_channels_list=[narrow * 2 ** (stage - 1) for stage in parts.layers],
        out_channels=parts.fpn_channels,
    )
    levels = [str(level) for level in range(len(parts.layers))]
    return MaskRCNN(
        backbone,
        min_size=side,
        max_size=side,
        rpn_anchor_generator=AnchorGenerator(sizes, (parts.anchor_ratios,) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign(levels, _BOX_GRID, sampling_ratio=2),
        box_head=TwoMLPHead(parts.fpn_channels * _BOX_GRID**2, parts.box_head),
        box_predictor=FastRCNNPredictor(parts.box_head, labels),
        mask_roi_pool=MultiScaleRoIAlign(levels, _MASK_GRID, sampling_ratio=2),
        mask_head=MaskRCNNHeads(parts.fpn_channels, parts.mask_layers, 1),
        mask_predictor=MaskRCNNPredictor(parts.mask_layers[-1], parts.mask_layers[-1], labels),
        **arguments,
    )


def _anchor_sizes(parts: MaskRcnnParts) -> tuple[tuple[float, ...], ...]:
    faults = []
    if not parts.layers or list(parts.layers) != sorted(set(parts.layers) & {1, 2, 3, 4}):
        found = str(list(parts.layers))
        faults.append(Fault(where="options.model.layers", expected="some of 1, 2, 3, 4, rising", found=found))
    # The pyramid adds one level above the last stage; anchors of 8 strides, as He et al. have them.
    given = parts.anchor_sizes or tuple(
        2.0 ** (stage + 4) for stage in (*parts.layers, max(parts.layers, default=0) + 1)
    )
    sizes = tuple(size if isinstance(size, tuple) else (size,) for size in given)
    if len(sizes) != len(parts.layers) + 1:
        expected = f"{len(parts.layers) + 1} entries, one more than layers"
        faults.append(Fault(where="options.model.anchor_sizes", expected=expected, found=str(len(sizes))))
    if len({len(size) for size in sizes}) > 1:
        faults.append(
            Fault(where="options.model.anchor_sizes", expected="as many sizes on every level", found=str(sizes))
        )
    if not parts.mask_layers:
        faults.append(Fault(where="options.model.mask_layers", expected="at least one layer", found="none"))
    if faults:
        raise ConfigError(*faults)
    return sizes


def _freeze(body: Any, trainable: int) -> None:
    if not 0 <= trainable <= len(_STAGES):
        raise ConfigError(
            Fault(where="options.model.trainable_layers", expected="0 to 5", found=str(trainable)),
        )
    free = (*_STAGES[:trainable], "bn1") if trainable == len(_STAGES) else _STAGES[:trainable]
    for name, parameter in body.named_parameters():
        if not name.startswith(free):
            parameter.requires_grad_(False)
