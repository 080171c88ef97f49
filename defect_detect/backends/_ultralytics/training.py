"""ultralytics' trainer, held to the job: our pictures, our validation, our patience, nothing left behind.

Three habits of its loop are kept off: it halves the batch by itself when memory runs out, and says so in
its log alone; it goes back to `last.pt` when a loss isn't finite; and the batch of the optimizer's last
step is known to nobody but the loop, so that a training that goes on would step at the wrong ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from defect_detect.backends._ultralytics import progress
from defect_detect.backends._ultralytics.pictures import dataset_class
from defect_detect.errors import RunFailed
from defect_detect.job import Epoch
from defect_detect.tables import Dataset

Judge = Callable[[int, float, Any], Epoch]
"""Epoch number (from 1), its mean loss and the trainer: the verdict. It keeps what the next epoch starts from."""

Report = Callable[[int, int, float], None]
"""Batches done, of how many, mean loss of the epoch so far."""

_ITS_OWN_HALVINGS = 3
"""After so many, its loop lets running out of memory be an error."""


def trainer(  # noqa: C901  a class of small overrides
    arguments: dict[str, Any], *, train: Dataset, val: Dataset, now: progress.Progress, start: dict[str, Any] | None,
    judge: Judge, report: Report,
) -> Any:  # fmt: skip
    """A trainer of ultralytics for `arguments`; set its `model`, then call its `train`.

    `start` is the state that it goes on from. `now.seen` is filled with the picture files that reach the
    network. Training raises `RunFailed` before the optimizer takes a step on a loss that is not finite.
    """
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.models.yolo.segment import SegmentationTrainer

    masks = arguments["task"] == "segment"
    parent: Any = SegmentationTrainer if masks else DetectionTrainer
    names = {str(train.root / name): name for name in train.images.file}

    class Trainer(parent):  # type: ignore[misc]  # ultralytics carries no types
        """Overrides are ultralytics' documented points for a custom trainer, but for `accumulate`."""

        number = 0
        """Batches of this epoch so far."""
        waiting = 0
        """Batches since the optimizer's last step."""
        running = False
        shown: tuple[str, ...] = ()

        @property
        def accumulate(self) -> int:
            """Batches to a step of the optimizer; the running loop is told 1, and `optimizer_step` decides."""
            return 1 if self.running else self._accumulate

        @accumulate.setter
        def accumulate(self, batches: int) -> None:
            self._accumulate = batches

        def get_dataset(self) -> dict[str, Any]:
            classes = {label: category.name for label, category in enumerate(train.categories)}
            return {"train": "train", "val": "val", "names": classes, "nc": len(classes), "channels": 3}

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            # `val` carries no truth and is never drawn from: only ultralytics' validator would
            data = train if mode == "train" else val
            return dataset_class(data, masks=masks)(
                img_path=img_path, imgsz=self.args.imgsz, batch_size=batch, augment=mode == "train", hyp=self.args,
                rect=self.args.rect, cache=(self.args.cache or None) if mode == "train" else None,
                stride=self.stride, pad=0.0, task=self.args.task, data=self.data,
            )  # fmt: skip

        def resume_training(self, ckpt: Any) -> None:
            del ckpt
            if start is not None:
                progress.take_up(self, start)
                # in batches of today's size: it may be half of what it was then
                self.waiting = round(start["waiting"] * start["at_once"] / self.batch_size)

        def preprocess_batch(self, batch: dict[str, Any]) -> Any:
            self.shown = tuple(names[file] for file in batch["im_file"])
            now.seen.update(self.shown)
            return super().preprocess_batch(batch)

        def optimizer_step(self) -> None:
            loss = float(self.loss.detach())
            if not math.isfinite(loss):
                raise RunFailed(_diverged(f"the loss became {loss}", self))
            self.waiting += 1
            if self.waiting >= self._accumulate:
                super().optimizer_step()
                self.waiting = 0

        def validate(self) -> tuple[dict[str, float], float]:
            if not _finite(self.model) or not _finite(self.ema.ema):
                raise RunFailed(_diverged("the weights are no longer finite", self))
            self.number = 0
            verdict = judge(self.epoch + 1, _mean_loss(self), self)
            self.stop = verdict.stop
            return {}, verdict.score

        def save_model(self) -> bool:
            return False

        def save_metrics(self, metrics: dict[str, float]) -> None:
            del metrics

        def final_eval(self) -> None:
            """The best epoch is judged by whoever predicts with it."""

        def _handle_nan_recovery(self, epoch: int) -> bool:
            del epoch
            return False

    made = Trainer(overrides=dict(arguments))
    _listen(made, report, start)
    return made


def _listen(made: Any, report: Report, start: dict[str, Any] | None) -> None:
    """Report every batch, and set the loop's own variables right where it calls back."""

    def start_training(now: Any) -> None:
        now.running = True

    def start_epoch(now: Any) -> None:
        now.number = 0
        now._oom_retries = _ITS_OWN_HALVINGS  # noqa: SLF001
        if start is not None and now.epoch == now.start_epoch:
            progress.gradients(now, start)

    def start_batch(now: Any) -> None:
        now.number += 1

    def end_batch(now: Any) -> None:
        report(now.number, len(now.train_loader), _mean_loss(now))

    for event, heard in (("on_train_start", start_training), ("on_train_epoch_start", start_epoch),
                         ("on_train_batch_start", start_batch), ("on_train_batch_end", end_batch)):  # fmt: skip
        made.add_callback(event, heard)


def _diverged(what: str, now: Any) -> str:
    return (
        f"{what} in epoch {now.epoch + 1}, batch {now.number} of {len(now.train_loader)} ({', '.join(now.shown)}): the"
        " training diverged. Try a lower `learning_rate` (--set learning_rate=...)."
    )


def _finite(network: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


def _mean_loss(now: Any) -> float:
    return sum(float(part) for part in now.tloss.values())
