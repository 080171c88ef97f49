"""Feature maps for SSD that torchvision doesn't build: finer ones, and narrower networks."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

from torch import nn
from torchvision.ops.misc import Conv2dNormActivation


class FineMobileNetMaps(nn.Module):  # type: ignore[misc]  # torch is untyped here
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


class SlimVggMaps(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """SSD300's feature maps from a VGG16 of `width` times its channels, with batch norm throughout.

    Strides 8 and 16 as in SSD300 (Liu et al. 2016, figure 2), then every map half the one before; `fine`
    puts stride 4 before them. It learns from scratch on a CPU, where VGG16 itself takes too long.
    """

    def __init__(self, width: float, *, maps: int, fine: bool) -> None:
        super().__init__()
        stages = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
        blocks: list[Any] = []
        channels = 3
        for stage in stages:
            widths = [channels, *(_slim(full, width) for full in stage)]
            convolutions = [Conv2dNormActivation(before, after) for before, after in itertools.pairwise(widths)]
            blocks.append(nn.Sequential(*([nn.MaxPool2d(2, ceil_mode=True)] if blocks else []), *convolutions))
            channels = widths[-1]
        wide, narrow, last = _slim(1024, width), _slim(256, width), _slim(512, width)
        deepest = nn.Sequential(
            blocks[4], Conv2dNormActivation(channels, wide, dilation=2), Conv2dNormActivation(wide, wide, kernel_size=1)
        )
        steps = [nn.Sequential(*blocks[:3]), blocks[3]] if fine else [nn.Sequential(*blocks[:4])]
        self.steps = nn.ModuleList([*steps, deepest][:maps])
        self.out_channels = [*([narrow] if fine else []), channels, wide][:maps]
        for _ in range(maps - len(self.steps)):
            self.steps.append(
                nn.Sequential(
                    Conv2dNormActivation(self.out_channels[-1], narrow, kernel_size=1),
                    Conv2dNormActivation(narrow, last, stride=2),
                )
            )
            self.out_channels.append(last)

    def forward(self, x: Any) -> Any:
        maps = []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return OrderedDict((str(index), value) for index, value in enumerate(maps))


def _slim(channels: int, width: float) -> int:
    """A multiple of 8, as fast convolutions want it."""
    return max(8, round(channels * width / 8) * 8)
