"""The training loop: detectron2's network, losses, optimizer and schedule; every picture in every epoch; the watch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils.events import EventStorage

from defect_detect.backends import Watch, Writer
from defect_detect.backends import _progress as states
from defect_detect.backends._detectron2 import ignoring
from defect_detect.backends._detectron2.configs import Plan
from defect_detect.backends._detectron2.pictures import Order, TrainingPictures
from defect_detect.backends._loading import timeout
from defect_detect.backends._memory import making_room, told
from defect_detect.backends._progress import Progress
from defect_detect.errors import RunFailed
from defect_detect.job import TrainJob
from defect_detect.tables import Dataset, Predictions

_STATE = "defect_detect detectron2 state 2"
_BESIDE = ("loss_normalizer",)
"""RetinaNet's moving average of positives."""
_RATE = "try a lower learning rate (--set learning_rate=...)"


def train(
    network: Any, job: TrainJob, plan: Plan, *, pictures: Dataset, device: Any, watch: Watch,
    initialize: Callable[[], str], checkpoint: Writer, predict: Callable[[int], Predictions],
) -> Progress:  # fmt: skip
    """Train until the last epoch or until `watch` says stop, from where an earlier try was killed.

    `network` has random weights; `initialize` gives it those that the job starts from, and says what they
    are. `checkpoint` writes what predictions need; `predict` says what the network says of the val split, so
    many pictures at once.

    Raises:
        RunFailed: the loss or the gradient is not finite, or memory ran out. What was kept stays.
    """
    settings, start = job.settings, watch.resume()
    initial = initialize() if start is None else ""
    ignoring.teach(network)
    order = Order(len(pictures.images), job.seed)
    loader = torch.utils.data.DataLoader(
        TrainingPictures(pictures, plan.cfg, masks=plan.masks, seed=job.seed), batch_size=settings.batch,
        sampler=order, num_workers=settings.workers, collate_fn=list, persistent_workers=settings.workers > 0,
        timeout=timeout(settings.workers), generator=torch.Generator().manual_seed(job.seed),
    )  # fmt: skip
    optimizer = build_optimizer(plan.cfg, network)
    now = Progress(
        format=_STATE, beside=_BESIDE,
        network=network, optimizer=optimizer, rate=build_lr_scheduler(plan.cfg, optimizer), device=device,
        initial=initial, at_once=settings.batch, scaler=torch.amp.GradScaler(enabled=plan.cfg.SOLVER.AMP.ENABLED),
    )  # fmt: skip
    first = 1
    if start is not None:
        now.take_up(states.read(start.state, _STATE))
        first = settings.epochs + 1 if start.stop else start.epoch + 1
    for epoch in range(first, settings.epochs + 1):
        order.epoch = epoch
        with told(f"reading the pictures of epoch {epoch}", "try fewer workers or a smaller image_size"):
            loss = _epoch(now, loader, job=job, names=pictures.images.file, epoch=epoch, watch=watch)
        if not now.finite:
            raise RunFailed(f"the weights are not finite after epoch {epoch}; {_RATE}")
        said = making_room(
            now, job.settings, least=1, epoch=epoch, step=0, work=lambda: predict(now.at_once),
            undo=now.optimizer.zero_grad,
        )  # fmt: skip
        verdict = watch.epoch(epoch, loss, said)
        watch.keep(now.write, checkpoint if verdict.best else None)
        if verdict.stop:
            break
    return now


def _epoch(now: Progress, loader: Any, *, job: TrainJob, names: tuple[str, ...], epoch: int, watch: Watch) -> float:
    """One pass over all pictures; its mean loss."""
    now.network.train()
    total, of = 0.0, len(loader)
    with EventStorage():  # its networks report to it, or fail
        for done, batch in enumerate(loader, start=1):
            now.seen.update(one["row"] for one in batch)
            work = functools.partial(_step, now, batch)
            loss = making_room(
                now, job.settings, least=1, epoch=epoch, step=done, work=work, undo=now.optimizer.zero_grad
            )
            if not math.isfinite(loss):
                which = ", ".join(names[row] for row in sorted(one["row"] for one in batch))
                raise RunFailed(
                    f"the loss or its gradient is {loss} in epoch {epoch}, batch {done} of {of} ({which}); {_RATE}"
                )
            now.rate.step()
            total += loss
            watch.batch(done, of, loss)
    return total / of


def _step(now: Progress, batch: list[Any]) -> float:
    """One step along the gradient of the whole batch; the loss before it, images weighing alike.

    The network sees at most `now.at_once` images at once. Where the loss or the gradient isn't finite,
    nothing changes, and what isn't is returned.
    """
    network, optimizer, scaler = now.network, now.optimizer, now.scaler
    total = 0.0
    for number, chosen in enumerate(np.array_split(np.arange(len(batch)), math.ceil(len(batch) / now.at_once))):
        part = [batch[at] for at in chosen]
        ignoring.tell(network, [one["ignored"] for one in part])
        with torch.autocast(now.device.type, enabled=scaler.is_enabled()):
            try:
                loss = sum(network(part).values()) * (len(part) / len(batch))
            except FloatingPointError:  # its proposals are not finite
                loss = torch.tensor(math.nan)
        value = float(loss.detach())
        if not math.isfinite(value):
            optimizer.zero_grad()
            return value
        if number == 0:  # as late as can be, see the steps of torchvision
            optimizer.zero_grad()
        scaler.scale(loss).backward()
        total += value
    if not scaler.is_enabled():
        # In mixed precision an infinite gradient is how the scaler learns that it scaled too much; it skips the step.
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            optimizer.zero_grad()
            return norm
    scaler.step(optimizer)
    scaler.update()
    return total
