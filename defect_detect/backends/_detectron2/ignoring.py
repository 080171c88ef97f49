"""Crowds and ignored defects neither objects nor background: detectron2 drops them, and learns that they are good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.structures import Boxes, pairwise_ioa, pairwise_iou

_COVERED = 0.5
"""An anchor or proposal at least this share of which lies in one ignored box is no background."""


def teach(network: Any) -> Any:
    """Give the network parts that know of what is to be ignored; returns the network."""
    kinds = {"proposal_generator": _Anchors, "roi_heads": _Proposals}
    parts = [(getattr(network, name), kind) for name, kind in kinds.items() if hasattr(network, name)]
    for part, kind in parts or [(network, _DenseAnchors)]:
        part.__class__ = type(type(part).__name__, (kind, type(part)), {})
        part.ignored = ()
    return network


def tell(network: Any, ignored: Sequence[Any]) -> None:
    """Before a training step: the (n, 4) boxes of each picture that are to be ignored, px of the network's input."""
    parts: list[Any] = [network, getattr(network, "proposal_generator", None), getattr(network, "roi_heads", None)]
    for part in parts:
        if hasattr(part, "ignored"):
            part.ignored = [Boxes(boxes.to(network.device)) for boxes in ignored]


def covered(boxes: Any, ignored: Any) -> Any:
    """(N,) bool: which of N boxes lie mostly in one of the ignored ones; both detectron2's `Boxes`."""
    if not len(ignored):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return (pairwise_ioa(ignored, boxes) >= _COVERED).any(dim=0)


class _Anchors:
    """For `RPN`: background anchors that are covered are left out before it draws those that it learns from."""

    ignored: Sequence[Any]
    _left_out: Iterator[Any]

    def label_and_sample_anchors(self, anchors: Any, gt_instances: Any) -> Any:
        every = Boxes.cat(anchors)
        self._left_out = iter([covered(every, boxes) for boxes in self.ignored])
        return super().label_and_sample_anchors(anchors, gt_instances)  # type: ignore[misc]  # of RPN

    def _subsample_labels(self, label: Any) -> Any:
        label[(label == 0) & next(self._left_out)] = -1
        return super()._subsample_labels(label)  # type: ignore[misc]  # of RPN


class _Proposals:
    """For `ROIHeads`: proposals that are covered, and no defect's, are left out."""

    ignored: Sequence[Any]
    proposal_matcher: Any

    def label_and_sample_proposals(self, proposals: Any, targets: Any) -> Any:
        kept = []
        for one, truth, ignored in zip(proposals, targets, self.ignored, strict=True):
            left_out = covered(one.proposal_boxes, ignored)
            if len(truth) and left_out.any():
                _, matched = self.proposal_matcher(pairwise_iou(truth.gt_boxes, one.proposal_boxes))
                left_out &= matched.to(left_out.device) == 0
            kept.append(one[~left_out])
        return super().label_and_sample_proposals(kept, targets)  # type: ignore[misc]  # of ROIHeads


class _DenseAnchors:
    """For `RetinaNet`: background anchors that are covered are not learned from."""

    ignored: Sequence[Any]
    num_classes: int

    def label_anchors(self, anchors: Any, gt_instances: Any) -> Any:
        labels, boxes = super().label_anchors(anchors, gt_instances)  # type: ignore[misc]  # of RetinaNet
        every = Boxes.cat(anchors)
        for label, ignored in zip(labels, self.ignored, strict=True):
            label[(label == self.num_classes) & covered(every, ignored)] = -1
        return labels, boxes
