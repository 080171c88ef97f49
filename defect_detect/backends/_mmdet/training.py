"""mmengine's own runner, with our pictures in it and the watch among its hooks."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mmengine.hooks import EMAHook, Hook

from defect_detect.backends import Watch
from defect_detect.backends._loading import timeout
from defect_detect.backends._mmdet import configs, progress
from defect_detect.backends._mmdet.loop import RATE, Batches, Loop, Room
from defect_detect.backends._mmdet.pictures import DefectPictures
from defect_detect.errors import RunFailed
from defect_detect.job import Resumed, TrainJob
from defect_detect.tables import Dataset, Predictions


class Watching(Hook):  # type: ignore[misc]  # mmengine is untyped
    """Between mmengine's runner and our watch: batches, epochs, what is kept, which pictures were seen.

    `predict` says what a network says of the val split, so many pictures at once; `checkpoint` writes what
    predictions need of it.
    """

    priority = "LOWEST"

    def __init__(
        self, watch: Watch, *, room: Room, initial: str, start: Resumed | None,
        predict: Callable[[Any, int], Predictions], checkpoint: Callable[[Any, BinaryIO], None],
    ) -> None:  # fmt: skip
        self.seen: set[int] = set()
        self.initial = initial
        self.room = room
        self._watch, self._start = watch, start
        self._predict, self._checkpoint = predict, checkpoint
        self._total = 0.0

    def before_train(self, runner: Any) -> None:
        """Take up where an earlier try was killed."""
        if self._start is not None:
            content = progress.read(self._start.state)
            progress.take_up(runner, content, self.room, epoch=self._start.epoch)
            self.seen, self.initial = set(content["seen"]), content["initial"]
            runner.train_loop.stop_training = self._start.stop

    def before_train_epoch(self, _runner: Any) -> None:
        """Begin to sum."""
        self._total = 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count what was seen."""
        self.seen.update(int(sample.img_id) for sample in data_batch["data_samples"])
        loss = float(outputs["loss"])
        self._total += loss
        self._watch.batch(batch_idx + 1, len(runner.train_dataloader), loss)

    def after_train_epoch(self, runner: Any) -> None:
        """Let the watch judge, with averaged weights where the config averages."""
        if not all(bool(tensor.isfinite().all()) for tensor in runner.model.state_dict().values()):
            raise RunFailed(f"the weights are not finite after epoch {runner.epoch + 1}; {RATE}")
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for hook in averages:
            hook.before_val_epoch(runner)
        loss = self._total / len(runner.train_dataloader)
        said = self.room.fit(
            lambda: self._predict(runner.model, self.room.at_once), least=1, epoch=runner.epoch + 1, step=0,
            undo=lambda: None,
        )  # fmt: skip
        verdict = self._watch.epoch(runner.epoch + 1, loss, said)
        best: bytes | None = None
        if verdict.best:
            with io.BytesIO() as file:  # now, while the averaged weights are in their place
                self._checkpoint(runner.model, file)
                best = file.getvalue()
        for hook in averages:
            hook.after_val_epoch(runner)
        self._watch.keep(
            lambda file: progress.write(file, runner, self.room, initial=self.initial, seen=self.seen),
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
    order = DefaultSampler(pictures, shuffle=True, seed=job.seed)
    loader = DataLoader(
        pictures, batch_sampler=Batches(order, settings.batch, least=watching.room.least),
        num_workers=settings.workers, persistent_workers=settings.workers > 0, collate_fn=pseudo_collate,
        timeout=timeout(settings.workers),
    )  # fmt: skip
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg={"type": Loop, "max_epochs": settings.epochs, "val_interval": settings.epochs + 1},
        optim_wrapper=configs.optimizer(config, settings, on_cpu=on_cpu),
        param_scheduler=configs.schedule(config, epochs=settings.epochs, batches=len(loader)),
        # No checkpoints and pictures of its own: what is kept is chosen by the watch and written whole.
        default_hooks={"checkpoint": None, "logger": {"type": "LoggerHook", "interval": 50}},
        custom_hooks=[*configs.hooks(config), watching],
        env_cfg=dict(config.get("env_cfg") or {}),
        log_processor=config.get("log_processor"),
        default_scope="mmdet",
        randomness={"seed": job.seed, "deterministic": on_cpu},
        experiment_name=folder.name,
    )
    runner.train_loop.room = watching.room
    runner.train()
