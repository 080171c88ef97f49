"""mmcv's compiled module, served by torchvision's kernels: the few functions that most detectors need.

mmcv is published as source; compiling it takes half an hour of two cores. Its wheel without compiled
code, `mmcv-lite`, brings all of `mmcv.ops` but the module `mmcv._ext` beneath. torchvision compiled the
same algorithms: NMS and RoIAlign (mmcv's come from there and from detectron2); the focal loss is a
formula. `tests/test_operators.py` compares them with mmcv's where that is compiled. What else mmcv compiles
(deformable convolutions, soft NMS, rotated boxes, ...) asks for the compiled one when it is called.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
import torchvision  # noqa: F401  registers its kernels

from defect_detect.errors import Fault, Unsupported


class _Extension(ModuleType):
    """Has every function that `mmcv.ops` asks for when it is imported."""

    stands_in = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_: Any, **__: Any) -> None:
            raise Unsupported(
                Fault(
                    where=f"mmcv operator {name}", expected="mmcv with compiled operators", found="mmcv-lite",
                    fix="Compile mmcv once (half an hour): python tools/make_env.py mmdet --compile",
                )
            )  # fmt: skip

        return absent


def install() -> None:
    """Put the stand-in where `mmcv.ops` imports it from."""
    module = _Extension("mmcv._ext")
    module.__spec__ = ModuleSpec("mmcv._ext", None)  # mmengine looks for it by its loader
    for function in (
        nms, roi_align_forward, roi_align_backward, sigmoid_focal_loss_forward, sigmoid_focal_loss_backward
    ):  # fmt: skip
        setattr(module, function.__name__, function)
    sys.modules["mmcv._ext"] = module


def nms(boxes: Any, scores: Any, *, iou_threshold: float, offset: int) -> Any:
    """Rows of (N, 4) `boxes` to keep, by descending score; `offset` 1 counts both edge pixels as inside.

    mmcv's threshold is a float32: 0.1 as a double is less than an IoU of one tenth in float32.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torch.ops.torchvision.nms(boxes, scores, torch.tensor(iou_threshold, dtype=torch.float32).item())


def roi_align_forward(
    image: Any, rois: Any, output: Any, _argmax_y: Any, _argmax_x: Any, *, aligned_height: int, aligned_width: int,
    spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """Fill `output` (R, C, h, w) with averages over (R, 5) `rois`: row of the batch, x0 y0 x1 y1."""
    _averages(pool_mode)
    output.copy_(
        torch.ops.torchvision.roi_align(
            image, rois, spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    gradient: Any, rois: Any, _argmax_y: Any, _argmax_x: Any, output: Any, *, aligned_height: int,
    aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """Fill `output` (N, C, H, W) with the gradient of `roi_align_forward` by its image."""
    _averages(pool_mode)
    output.copy_(
        torch.ops.torchvision._roi_align_backward(  # noqa: SLF001  what its own autograd calls
            gradient, rois, spatial_scale, aligned_height, aligned_width, *output.shape, sampling_ratio, aligned
        )
    )


def sigmoid_focal_loss_forward(
    logits: Any, target: Any, weight: Any, output: Any, *, gamma: float, alpha: float
) -> None:
    """Fill `output` (N, K) with the focal loss (Lin et al. 2017, eq. 5); target K is background."""
    output.copy_(_focal(logits, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Any, target: Any, weight: Any, output: Any, *, gamma: float, alpha: float
) -> None:
    """Fill `output` (N, K) with the gradient of each element of the focal loss by its own logit."""
    with torch.enable_grad():
        free = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_focal(free, target, weight, gamma, alpha).sum(), free)
    output.copy_(gradient)


def _focal(logits: Any, target: Any, weight: Any, gamma: float, alpha: float) -> Any:
    hit = torch.nn.functional.one_hot(target, logits.shape[1] + 1)[:, :-1].to(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, hit, reduction="none")
    likely = logits.sigmoid()
    off = hit * (1 - likely) + (1 - hit) * likely
    loss = (hit * alpha + (1 - hit) * (1 - alpha)) * off**gamma * entropy
    return loss if not weight.numel() else loss * weight[target.clamp(max=len(weight) - 1)][:, None]


def _averages(pool_mode: int) -> None:
    if pool_mode != 1:
        raise Unsupported(
            Fault(where="mmcv operator roi_align", expected="pool_mode avg without compiled mmcv", found="max")
        )
