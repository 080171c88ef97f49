"""What is printed beside every detector: how it was made, and by which files."""

from __future__ import annotations

from typing import Any

from defect_detect.evaluation.judged import Contender
from defect_detect.job import Halved

_SAME = (
    "input_size", "nms_iou", "initial_weights", "masks", "score_floor", "max_detections", "decode_policy", "tiling",
    "versions",
)  # fmt: skip
_OWN = (
    "epochs", "images_seen", "defect_free_seen", "stopped_early", "under_trained", "checkpoint_sha256",
    "predictions_sha256",
)  # fmt: skip


def measured(contender: Contender) -> dict[str, Any]:
    """The manifests' entries: those of the first seed, and lists over the seeds of what is each one's own.

    `resumed` and `halved` only where a training was.
    """
    manifests = [run.manifest for run in contender.runs if run.manifest is not None]
    if not manifests:
        return {}
    same = {name: getattr(manifests[0], name) for name in _SAME}
    own: dict[str, list[Any]] = {name: [getattr(manifest, name) for manifest in manifests] for name in _OWN}
    if any(manifest.resumed for manifest in manifests):
        own["resumed"] = [[f"after epoch {epoch}" for epoch in manifest.resumed] for manifest in manifests]
    if any(manifest.halved for manifest in manifests):
        own["halved"] = [[_halved(one) for one in manifest.halved] for manifest in manifests]
    return same | own


def _halved(one: Halved) -> str:
    if not one.epoch:
        return f"{one.batch} images at once in predicting"
    where = f"batch {one.step}" if one.step else "validation"
    return f"{one.batch} images at once from epoch {one.epoch}, {where}"
