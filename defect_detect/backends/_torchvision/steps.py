"""A step along the gradient, in parts where memory asks for it; the optimizer and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from defect_detect.backends._progress import Progress
from defect_detect.backends._torchvision.options import Optimizer
from defect_detect.job import TrainJob

_SCRATCH_RATE, _GIVEN_RATE = 1e-3, 2e-4
_SGD_FACTOR = 10
_LAST_SHARE = 0.01


def step(progress: Progress, batch: list[Any], *, clip: float, least: int) -> float:
    """One step along the gradient of the whole batch; the loss before it, images weighing alike.

    The network sees at most `progress.at_once` images at once, and no fewer than `least`. Where the loss
    or the gradient isn't finite, nothing changes, and what isn't is returned.
    """
    network, optimizer, scaler = progress.network, progress.optimizer, progress.scaler
    total = 0.0
    parts = max(1, min(math.ceil(len(batch) / progress.at_once), len(batch) // least))
    for number, chosen in enumerate(np.array_split(np.arange(len(batch)), parts)):
        part = [batch[k] for k in chosen]
        images = [image.to(progress.device) for _, image, _ in part]
        targets = [{name: value.to(progress.device) for name, value in target.items()} for _, _, target in part]
        with torch.autocast(progress.device.type, enabled=scaler.is_enabled()):
            loss = sum(network(images, targets).values()) * (len(part) / len(batch))
        value = float(loss.detach())
        if not math.isfinite(value):
            optimizer.zero_grad()
            return value
        if number == 0:
            # Not before the forward pass: the C library gave their memory back to the system and asked for it
            # again in every step, a twentieth of a small network's training on a CPU.
            optimizer.zero_grad()
        scaler.scale(loss).backward()
        total += value
    scaler.unscale_(optimizer)
    norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), clip))
    # In mixed precision an infinite gradient is how the scaler learns that it scaled too much; it skips the step.
    if not math.isfinite(norm) and not scaler.is_enabled():
        optimizer.zero_grad()
        return norm
    scaler.step(optimizer)
    scaler.update()
    return total


def optimizer(network: Any, how: Optimizer, job: TrainJob) -> Any:
    """The optimizer of all that is free to learn."""
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in free if p.ndim > 1]},
        {"params": [p for p in free if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = job.settings.learning_rate
    if rate is None:
        rate = _SCRATCH_RATE if job.settings.weights == "none" else _GIVEN_RATE
        rate *= _SGD_FACTOR if how.name == "sgd" else 1
    if how.name == "sgd":
        decay = 5e-4 if how.weight_decay is None else how.weight_decay
        return torch.optim.SGD(groups, lr=rate, momentum=how.momentum, weight_decay=decay, nesterov=how.momentum > 0)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.05 if how.weight_decay is None else how.weight_decay)


def schedule(optimizer: Any, warmup: float, epochs: int, batches: int) -> Any:
    """Per batch: a linear rise over `warmup` epochs, then half a cosine down to a hundredth."""
    steps = epochs * batches
    rise = min(max(1, round(warmup * batches)), max(1, steps // 2))

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        fallen = (step - rise) / max(1, steps - rise)
        return _LAST_SHARE + (1 - _LAST_SHARE) * (1 + math.cos(math.pi * fallen)) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
