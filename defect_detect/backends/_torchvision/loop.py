"""The training loop: every picture of the train split in every epoch, validation after each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from defect_detect.backends import Watch
from defect_detect.backends._torchvision.detect import predict
from defect_detect.backends._torchvision.models import Detector
from defect_detect.backends._torchvision.options import Optimizer
from defect_detect.backends._torchvision.pictures import CACHE_BYTES, Batches, TrainingPictures
from defect_detect.errors import RunFailed
from defect_detect.job import TrainJob
from defect_detect.tables import Dataset

_SCRATCH_RATE, _GIVEN_RATE = 1e-3, 2e-4
_SGD_FACTOR = 10
_LAST_SHARE = 0.01


@dataclass(slots=True)
class Seen:
    """Rows of the train split that reached the network."""

    rows: set[int] = field(default_factory=set)


def device_of(name: str) -> Any:
    """The torch device that a job's `device` means.

    Raises:
        RunFailed: a GPU that isn't there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise RunFailed(f"device {name!r} can't be used: {reason}; use --set device=cpu") from error
    return device


@contextlib.contextmanager
def settled(*, seed: int, threads: int, device: Any) -> Iterator[None]:
    """Chance, threads and the choice of algorithms fixed inside, and as they were after it."""
    before, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    if threads:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            # On a GPU some operations of detection have no deterministic form.
            torch.use_deterministic_algorithms(device.type == "cpu")
            # Filling fresh memory with NaN, which that switches on, finds bugs and costs time.
            torch.utils.deterministic.fill_uninitialized_memory = False
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(exact)
        torch.set_num_threads(before)


def train(
    detector: Detector, job: TrainJob, *, pictures: Dataset, val: Dataset, device: Any, watch: Watch,
    save: Callable[[], None],
) -> Seen:  # fmt: skip
    """Train until the last epoch or until `watch` says stop; `save` is called at every best epoch.

    Raises:
        RunFailed: the loss is not finite, or memory ran out.
    """
    settings, network = job.settings, detector.network.to(device)
    data = TrainingPictures(
        pictures, fit=detector.fit, masks=detector.masks, vary=detector.augment, seed=job.seed,
        cache=CACHE_BYTES // max(1, settings.workers),
    )  # fmt: skip
    batches = Batches(len(data), settings.batch, least=detector.least_batch, seed=job.seed)
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=batches, num_workers=settings.workers, collate_fn=list,
        persistent_workers=settings.workers > 0, generator=torch.Generator().manual_seed(job.seed),
    )  # fmt: skip
    optimizer = _optimizer(network, detector.optimizer, job)
    rate = _schedule(optimizer, detector.optimizer.warmup, settings.epochs, len(batches))
    scaler = torch.amp.GradScaler(enabled=settings.amp and device.type == "cuda")
    seen = Seen()
    for epoch in range(1, settings.epochs + 1):
        batches.epoch = epoch
        network.train()
        total = 0.0
        for done, batch in enumerate(loader, start=1):
            seen.rows.update(row for row, _, _ in batch)
            with _memory(settings.batch, settings.image_size):
                loss = _step(network, batch, optimizer, device=device, scaler=scaler, clip=detector.optimizer.clip)
            if not math.isfinite(loss):
                rows = sorted(row for row, _, _ in batch)
                names = ", ".join(pictures.images.file[row] for row in rows)
                raise RunFailed(
                    f"the loss is {loss} in epoch {epoch}, batch {done} of {len(batches)} ({names}); "
                    "try a lower learning rate (--set learning_rate=...)"
                )
            rate.step()
            total += loss
            watch.batch(done, len(batches), loss)
        validation, _ = predict(
            detector, val, device=device, batch=settings.batch, regions=False, report=lambda _done, _of: None
        )
        judged = watch.epoch(epoch, total / len(batches), validation)
        if judged.best:
            save()
        if judged.stop:
            break
    return seen


def _step(network: Any, batch: Any, optimizer: Any, *, device: Any, scaler: Any, clip: float) -> float:
    """One step along the gradient; the loss before it. A loss that isn't finite changes nothing."""
    images = [image.to(device) for _, image, _ in batch]
    targets = [{name: tensor.to(device) for name, tensor in target.items()} for _, _, target in batch]
    with torch.autocast(device.type, enabled=scaler.is_enabled()):
        loss = sum(network(images, targets).values())
    value = float(loss.detach())
    if math.isfinite(value):
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
    return value


def _optimizer(network: Any, how: Optimizer, job: TrainJob) -> Any:
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


def _schedule(optimizer: Any, warmup: float, epochs: int, batches: int) -> Any:
    """Per batch: a linear rise over `warmup` epochs, then half a cosine down to a hundredth."""
    steps = epochs * batches
    rise = min(max(1, round(warmup * batches)), max(1, steps // 2))

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        fallen = (step - rise) / max(1, steps - rise)
        return _LAST_SHARE + (1 - _LAST_SHARE) * (1 + math.cos(math.pi * fallen)) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


@contextlib.contextmanager
def _memory(batch: int, side: int) -> Iterator[None]:
    """Running out of memory, said with what to do about it."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunFailed(
            f"out of memory with batch {batch} at {side} px; "
            f"try --set batch={max(1, batch // 2)} or a smaller image_size"
        ) from error
