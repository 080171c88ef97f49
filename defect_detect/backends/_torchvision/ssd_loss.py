"""SSD with a loss that background teaches too."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torchvision.models.detection.ssd import SSD


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
