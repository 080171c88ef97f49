"""The worker's eyes: validation, the choice of checkpoint and patience, alike for every framework."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from defect_detect import job
from defect_detect.data.files import atomic_write
from defect_detect.errors import RunFailed
from defect_detect.evaluation import froc, matching, training_curve
from defect_detect.tables import Dataset, Predictions

BUDGET = 0.1
"""FPPI at which the validation FN rate is shown while training."""


class Watching:
    """`backends.Watch`, telling the parent over the wire; `truth` is the val split of a training."""

    def __init__(self, wire: BinaryIO, out: Path) -> None:
        self.wire = wire
        self.out = out
        self.truth: Dataset | None = None
        self.settings = job.Settings()
        self.scores: list[float] = []
        self.lines = ["epoch,loss,validation_froc_recall,validation_fn_rate,seconds"]
        self.stopped = False
        self.started = time.monotonic()
        self.said = 0.0

    def say(self, progress: job.Progress) -> None:
        """One line of progress."""
        self.wire.write(msgspec.json.encode(progress) + b"\n")
        self.wire.flush()

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        """See `backends.Watch`; not every batch is told."""
        now = time.monotonic()
        if done < of and now - self.said < 0.2:  # noqa: PLR2004 - five lines a second are enough to draw
            return
        self.said = now
        stage = "predict" if self.truth is None else "train"
        number = len(self.scores) + 1
        self.say(
            job.Progress(stage=stage, done=done, of=of, epoch=number, epochs=self.settings.epochs, loss=_finite(loss))
        )

    def epoch(self, number: int, loss: float, validation: Predictions) -> job.Epoch:
        """See `backends.Watch`; leaves a line in `metrics.csv`."""
        if self.truth is None:
            raise RunFailed("a prediction has no epochs")
        if not math.isfinite(loss):
            raise RunFailed(
                f"the loss became {loss} in epoch {number}: the training diverged. Try a lower `learning_rate`"
                " (--set learning_rate=...)."
            )
        score = froc.mean_froc_recall(self.truth, validation)
        fn_rate = froc.fn_rate_at_budget(matching.evaluate(self.truth, validation), BUDGET)
        best = not self.scores or score > max(self.scores)
        self.scores.append(score)
        since = len(self.scores) - 1 - int(np.argmax(self.scores))
        self.stopped = since >= self.settings.patience
        seconds = time.monotonic() - self.started
        self.lines.append(f"{number},{loss:.6g},{score:.6f},{fn_rate:.6f},{seconds:.1f}")
        atomic_write(self.out / "metrics.csv", "\n".join(self.lines) + "\n")
        self.say(
            job.Progress(
                stage="validate", epoch=number, epochs=self.settings.epochs, loss=loss, score=score, fn_rate=fn_rate
            )
        )
        return job.Epoch(score=score, best=best, stop=self.stopped)

    def history(self) -> job.History:
        """How it went. Raises `RunFailed` when there was no epoch."""
        if not self.scores:
            raise RunFailed("the training ended without a single validated epoch")
        return job.History(
            epochs=len(self.scores),
            best_epoch=int(np.argmax(self.scores)) + 1,
            best_score=max(self.scores),
            stopped_early=self.stopped,
            under_trained=training_curve.under_trained(self.scores, stopped_early=self.stopped),
        )


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None
