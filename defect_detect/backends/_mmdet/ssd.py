"""mmdet's SSD, able to predict, to learn from defect-free pictures, and to train from scratch."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import SSDHead
from mmdet.models.necks.ssd_neck import L2Norm, SSDNeck
from mmdet.registry import MODELS
from torch.nn import functional

_LEAST = 16
"""Background anchors that every picture teaches at least, as with the torchvision backend's SSD."""


@MODELS.register_module()
class DefectSSDHead(SSDHead):  # type: ignore[misc]  # mmdet is untyped
    """`SSDHead` of mmdet 3.3 with two things mended.

    - Prediction asks for `loss_cls`, which SSDHead never has (mmdetection#11063, #11305, #11780):
      `'SSDHead' object has no attribute 'loss_cls'`.
    - Negatives are a multiple of *that picture's* positives, so a defect-free picture teaches nothing, and a
      batch of them divides by zero. Here each picture gives at least `_LEAST` of its hardest negatives, and the
      sum is divided by a batch's positives, or by its negatives / ratio where those are more.
    """

    loss_cls = None
    _pictures = 1

    def loss_by_feat(self, cls_scores: Any, *rest: Any, **named: Any) -> Any:
        """See `SSDHead.loss_by_feat`."""
        self._pictures = len(cls_scores[0])
        return super().loss_by_feat(cls_scores, *rest, **named)

    def loss_by_feat_single(  # noqa: PLR0917  mmdet's signature
        self, cls_score: Any, bbox_pred: Any, anchor: Any, labels: Any, label_weights: Any, bbox_targets: Any,
        bbox_weights: Any, avg_factor: int,
    ) -> tuple[Any, Any]:  # fmt: skip
        """One picture's losses; see `SSDHead.loss_by_feat_single`."""
        ratio = self.train_cfg["neg_pos_ratio"]
        average = max(avg_factor, self._pictures * _LEAST / ratio)
        positives = int((labels < self.num_classes).sum())
        if positives * ratio >= _LEAST:
            return tuple(
                super().loss_by_feat_single(
                    cls_score, bbox_pred, anchor, labels, label_weights, bbox_targets, bbox_weights, average
                )
            )
        each = functional.cross_entropy(cls_score, labels, reduction="none") * label_weights
        negative = each[labels == self.num_classes]
        hardest, _ = negative.topk(min(_LEAST, len(negative)))
        shown = (each[labels < self.num_classes].sum() + hardest.sum()) / average
        _, box = super().loss_by_feat_single(
            cls_score, bbox_pred, anchor, labels, label_weights, bbox_targets, bbox_weights, average
        )
        return torch.atleast_1d(shown), box


@MODELS.register_module()
class DefectSSDNeck(SSDNeck):  # type: ignore[misc]  # mmdet is untyped
    """`SSDNeck` of mmdet 3.3 whose normalization has a gradient where all channels are 0.

    The zoom-out augmentation pads with the mean, which a network without biases yet turns into zeros; the
    root of zero has no gradient, and a training from scratch is NaN within an epoch.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if hasattr(self, "l2_norm"):
            self.l2_norm.__class__ = _L2Norm


class _L2Norm(L2Norm):  # type: ignore[misc]  # mmdet is untyped
    def forward(self, features: Any) -> Any:
        """(N, C, H, W) features over their length across channels, times a weight learned for each channel."""
        exact = features.float()
        length = exact.pow(2).sum(1, keepdim=True).clamp(min=self.eps**2).sqrt() + self.eps
        return (self.weight[None, :, None, None].float() * exact / length).type_as(features)
