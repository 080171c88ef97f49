"""ultralytics' trainer, held to the job: our pictures, our validation, our patience, nothing left behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from defect_detect.backends._ultralytics.pictures import dataset_class
from defect_detect.errors import RunFailed
from defect_detect.job import Epoch
from defect_detect.tables import Dataset

Judge = Callable[[int, float, Any], Epoch]
"""Epoch number (from 1), its mean loss and the averaged network: the verdict."""

Report = Callable[[int, int, float], None]
"""Batches done, of how many, mean loss of the epoch so far."""


def trainer(
    arguments: dict[str, Any], *, train: Dataset, val: Dataset, seen: set[str], judge: Judge, report: Report
) -> Any:
    """A trainer of ultralytics for `arguments`; set its `model`, then call its `train`.

    `seen` is filled with the picture files that reach the network. Training raises `RunFailed` as soon
    as a loss is not finite (ultralytics goes back to an older checkpoint and tries again).
    """
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.models.yolo.segment import SegmentationTrainer

    masks = arguments["task"] == "segment"
    parent: Any = SegmentationTrainer if masks else DetectionTrainer

    class Trainer(parent):  # type: ignore[misc]  # ultralytics carries no types
        """Overrides are ultralytics' documented points for a custom trainer."""

        def get_dataset(self) -> dict[str, Any]:
            names = {label: category.name for label, category in enumerate(train.categories)}
            return {"train": "train", "val": "val", "names": names, "nc": len(names), "channels": 3}

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            # `val` carries no truth and is never drawn from: only ultralytics' validator would
            data = train if mode == "train" else val
            return dataset_class(data, masks=masks)(
                img_path=img_path, imgsz=self.args.imgsz, batch_size=batch, augment=mode == "train", hyp=self.args,
                rect=self.args.rect, cache=(self.args.cache or None) if mode == "train" else None,
                stride=self.stride, pad=0.0, task=self.args.task, data=self.data,
            )  # fmt: skip

        def preprocess_batch(self, batch: dict[str, Any]) -> Any:
            seen.update(batch["im_file"])
            return super().preprocess_batch(batch)

        def validate(self) -> tuple[dict[str, float], float]:
            verdict = judge(self.epoch + 1, _mean_loss(self), self.ema.ema)
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
    _listen(made, report)
    return made


def _listen(made: Any, report: Report) -> None:
    """Report every batch, and end the training at the first loss that is not finite."""
    done = 0

    def start_epoch(_: Any) -> None:
        nonlocal done
        done = 0

    def end_batch(now: Any) -> None:
        nonlocal done
        done += 1
        loss = float(now.loss.detach())
        if not math.isfinite(loss):
            msg = (
                f"the loss became {loss} in epoch {now.epoch + 1}, batch {done}: the training diverged."
                " Try a lower `learning_rate` (--set learning_rate=...)."
            )
            raise RunFailed(msg)
        report(done, len(now.train_loader), _mean_loss(now))

    made.add_callback("on_train_epoch_start", start_epoch)
    made.add_callback("on_train_batch_end", end_batch)


def _mean_loss(now: Any) -> float:
    return sum(float(part) for part in now.tloss.values())
