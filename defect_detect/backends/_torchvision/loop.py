"""The training loop: every picture of the train split in every epoch; after each, validation and what to go on from."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from defect_detect.backends import Watch, Writer
from defect_detect.backends import _progress as states
from defect_detect.backends._loading import timeout
from defect_detect.backends._memory import making_room, told
from defect_detect.backends._progress import Progress
from defect_detect.backends._torchvision import steps
from defect_detect.backends._torchvision.detect import predict
from defect_detect.backends._torchvision.models import Detector
from defect_detect.backends._torchvision.pictures import CACHE_BYTES, VAL_CACHE_BYTES, Batches, Scaled, TrainingPictures
from defect_detect.errors import RunFailed
from defect_detect.job import TrainJob
from defect_detect.tables import Dataset, Predictions

_STATE = "defect_detect torchvision state 2"


def train(
    detector: Detector, job: TrainJob, *, pictures: Dataset, val: Dataset, device: Any, watch: Watch,
    initialize: Callable[[], str], checkpoint: Writer,
) -> Progress:  # fmt: skip
    """Train until the last epoch or until `watch` says stop, from where an earlier try was killed.

    `detector` has random weights; `initialize` gives it those that the job starts from, and says what they
    are. `checkpoint` writes what predictions need.

    Raises:
        RunFailed: the loss or the gradient is not finite, or memory ran out. What was kept stays.
    """
    settings, start = job.settings, watch.resume()
    initial = initialize() if start is None else ""
    network = detector.network.to(device)
    data = TrainingPictures(
        pictures, fit=detector.fit, masks=detector.masks, vary=detector.augment, seed=job.seed,
        cache=CACHE_BYTES // max(1, settings.workers),
    )  # fmt: skip
    judged = Scaled(val, detector.fit, cache=VAL_CACHE_BYTES)
    batches = Batches(len(data), settings.batch, least=detector.least_batch, seed=job.seed)
    optimizer = steps.optimizer(network, detector.optimizer, job)
    now = Progress(
        format=_STATE,
        network=network, optimizer=optimizer, device=device, initial=initial, at_once=settings.batch,
        rate=steps.schedule(optimizer, detector.optimizer.warmup, settings.epochs, len(batches)),
        scaler=torch.amp.GradScaler(enabled=settings.amp and device.type == "cuda"),
    )  # fmt: skip
    first = 1
    if start is not None:
        now.take_up(states.read(start.state, _STATE))
        first = settings.epochs + 1 if start.stop else start.epoch + 1
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=batches, num_workers=settings.workers, collate_fn=list,
        persistent_workers=settings.workers > 0, timeout=timeout(settings.workers),
        generator=torch.Generator().manual_seed(job.seed),
    )  # fmt: skip
    for epoch in range(first, settings.epochs + 1):
        batches.epoch = epoch
        with told(f"reading the pictures of epoch {epoch}", "try fewer workers or a smaller image_size"):
            loss = _epoch(detector, now, loader, job=job, pictures=pictures, epoch=epoch, watch=watch)
        if not now.finite:
            raise RunFailed(f"the weights are not finite after epoch {epoch}; {_RATE}")
        verdict = watch.epoch(epoch, loss, _validate(detector, now, job, judged, epoch))
        watch.keep(now.write, checkpoint if verdict.best else None)
        if verdict.stop:
            break
    return now


_RATE = "try a lower learning rate (--set learning_rate=...)"


def _epoch(
    detector: Detector, now: Progress, loader: Any, *, job: TrainJob, pictures: Dataset, epoch: int, watch: Watch
) -> float:
    """One pass over all pictures; its mean loss."""
    now.network.train()
    total, of = 0.0, len(loader)
    for done, batch in enumerate(loader, start=1):
        now.seen.update(row for row, _, _ in batch)
        work = functools.partial(steps.step, now, batch, clip=detector.optimizer.clip, least=detector.least_batch)
        loss = making_room(
            now,
            job.settings,
            least=detector.least_batch,
            epoch=epoch,
            step=done,
            work=work,
            undo=now.optimizer.zero_grad,
        )
        if not math.isfinite(loss):
            names = ", ".join(pictures.images.file[row] for row in sorted({row for row, _, _ in batch}))
            raise RunFailed(
                f"the loss or its gradient is {loss} in epoch {epoch}, batch {done} of {of} ({names}); {_RATE}"
            )
        now.rate.step()
        total += loss
        watch.batch(done, of, loss)
    return total / of


def _validate(detector: Detector, now: Progress, job: TrainJob, judged: Scaled, epoch: int) -> Predictions:
    def work() -> Predictions:
        found, _ = predict(
            detector, judged, device=now.device, batch=now.at_once, regions=False, report=lambda _done, _of: None
        )
        return found

    return making_room(now, job.settings, least=1, epoch=epoch, step=0, work=work, undo=now.optimizer.zero_grad)
