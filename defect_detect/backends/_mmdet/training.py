"""mmengine's own runner, with our pictures in it and the watch among its hooks."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mmengine.hooks import EMAHook, Hook

from defect_detect.backends import Watch
from defect_detect.backends._mmdet import configs, progress
from defect_detect.backends._mmdet.pictures import DefectPictures
from defect_detect.errors import RunFailed
from defect_detect.job import Resumed, TrainJob
from defect_detect.tables import Dataset, Predictions

_RATE = "try a lower learning rate (--set learning_rate=...)"


class Watching(Hook):  # type: ignore[misc]  # mmengine is untyped
    """Between mmengine's runner and our watch: batches, epochs, what is kept, which pictures were seen.

    `predict` says what a network says of the val split, `checkpoint` writes what predictions need of it.
    """

    priority = "LOWEST"

    def __init__(
        self, watch: Watch, *, names: tuple[str, ...], initial: str, start: Resumed | None,
        predict: Callable[[Any], Predictions], checkpoint: Callable[[Any, BinaryIO], None],
    ) -> None:  # fmt: skip
        self.seen: set[int] = set()
        self.initial = initial
        self._watch, self._names, self._start = watch, names, start
        self._predict, self._checkpoint = predict, checkpoint
        self._total = 0.0

    def before_train(self, runner: Any) -> None:
        """Take up where an earlier try was killed."""
        if self._start is not None:
            content = progress.read(self._start.state)
            progress.take_up(runner, content, epoch=self._start.epoch)
            self.seen, self.initial = set(content["seen"]), content["initial"]
            runner.train_loop.stop_training = self._start.stop

    def before_train_epoch(self, _runner: Any) -> None:
        """Begin to sum."""
        self._total = 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Raises `RunFailed` at the first loss that is not finite."""
        rows = [int(sample.img_id) for sample in data_batch["data_samples"]]
        self.seen.update(rows)
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            names = ", ".join(self._names[row] for row in sorted(rows))
            raise RunFailed(f"the loss is {loss} in epoch {runner.epoch + 1}, batch {batch_idx + 1} ({names}); {_RATE}")
        self._total += loss
        self._watch.batch(batch_idx + 1, len(runner.train_dataloader), loss)

    def after_train_epoch(self, runner: Any) -> None:
        """Let the watch judge, with averaged weights where the config averages."""
        if not all(bool(tensor.isfinite().all()) for tensor in runner.model.state_dict().values()):
            raise RunFailed(f"the weights are not finite after epoch {runner.epoch + 1}; {_RATE}")
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for hook in averages:
            hook.before_val_epoch(runner)
        loss = self._total / len(runner.train_dataloader)
        verdict = self._watch.epoch(runner.epoch + 1, loss, self._predict(runner.model))
        best: bytes | None = None
        if verdict.best:
            with io.BytesIO() as file:  # now, while the averaged weights are in their place
                self._checkpoint(runner.model, file)
                best = file.getvalue()
        for hook in averages:
            hook.after_val_epoch(runner)
        self._watch.keep(
            lambda file: progress.write(file, runner, initial=self.initial, seen=self.seen),
            None if best is None else functools.partial(_put, best),
        )
        runner.model.train()
        if verdict.stop:
            runner.train_loop.stop_training = True


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def train(
    network: Any, job: TrainJob, plan: configs.Plan, *, data: Dataset, masks: str, folder: Path, watching: Watching,
    on_cpu: bool,
) -> None:  # fmt: skip
    """Train `network` by the plan's config; every picture of `data` in every epoch, in an order by seed and epoch.

    `folder` takes what mmengine can't be kept from writing.
    """
    from mmengine.dataset import DefaultSampler, pseudo_collate
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    settings, config = job.settings, plan.rest
    pictures = DefectPictures(data=data, masks=masks, pipeline=plan.train)
    loader = DataLoader(
        pictures, batch_size=settings.batch, sampler=DefaultSampler(pictures, shuffle=True, seed=job.seed),
        num_workers=settings.workers, persistent_workers=settings.workers > 0, collate_fn=pseudo_collate,
    )  # fmt: skip
    optimizer = dict(config.optim_wrapper)
    scale = dict(config.get("auto_scale_lr") or {})
    if settings.learning_rate is not None:
        optimizer["optimizer"] = dict(optimizer["optimizer"], lr=settings.learning_rate)
    elif scale:
        scale["enable"] = True  # the zoo's rates are for 8 GPUs
    if settings.amp and not on_cpu:
        optimizer["type"] = "AmpOptimWrapper"
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg={"type": "EpochBasedTrainLoop", "max_epochs": settings.epochs, "val_interval": settings.epochs + 1},
        optim_wrapper=optimizer,
        param_scheduler=configs.schedule(config, epochs=settings.epochs, batches=len(loader)),
        # No checkpoints and pictures of its own: what is kept is chosen by the watch and written whole.
        default_hooks={"checkpoint": None, "logger": {"type": "LoggerHook", "interval": 50}},
        custom_hooks=[*configs.hooks(config), watching],
        env_cfg=dict(config.get("env_cfg") or {}),
        log_processor=config.get("log_processor"),
        default_scope="mmdet",
        randomness={"seed": job.seed, "deterministic": on_cpu},
        experiment_name=folder.name,
        auto_scale_lr=scale if scale.get("enable") else None,
    )
    runner.train()
