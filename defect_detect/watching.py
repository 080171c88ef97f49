"""The worker's eyes: validation, the choice of checkpoint and patience, alike for every framework."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from defect_detect import job, resuming
from defect_detect.data.files import atomic_write
from defect_detect.data.hashed import Writer
from defect_detect.errors import RunFailed
from defect_detect.evaluation import froc, matching, training_curve
from defect_detect.tables import Dataset, Predictions

BUDGET = 0.1
"""FPPI at which the validation FN rate is shown while training."""
_HEAD = "epoch,loss,validation_froc_recall,validation_fn_rate,seconds"


class Watching:
    """`backends.Watch`, telling the parent over the wire; `truth` is the val split of a training."""

    def __init__(self, wire: BinaryIO, out: Path) -> None:
        self.wire = wire
        self.out = out
        self.truth: Dataset | None = None
        self.settings = job.Settings()
        self.keeper: resuming.Keeper | None = None
        self.judged: list[job.Judged] = []
        self.resumed: list[int] = []
        self.stopped = False
        self.started = time.monotonic()
        self.said = 0.0

    def watch(self, wanted: job.TrainJob, truth: Dataset, of: Mapping[str, str]) -> None:
        """Prepare for a training whose val split is `truth`; `of` is its `resuming.identity`."""
        self.truth, self.settings = truth, wanted.settings
        self.keeper = resuming.Keeper(self.out, of)

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
        number = len(self.judged) + 1
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
        if number != len(self.judged) + 1:
            raise RunFailed(
                f"epoch {number} follows epoch {len(self.judged)}: the framework skipped or repeated epochs"
            )
        score = froc.mean_froc_recall(self.truth, validation)
        fn_rate = froc.fn_rate_at_budget(matching.evaluate(self.truth, validation), BUDGET)
        best = not self.judged or score > max(self._scores)
        self.judged.append(job.Judged(epoch=number, loss=loss, score=score, fn_rate=fn_rate, seconds=self.seconds))
        since = number - 1 - int(np.argmax(self._scores))
        self.stopped = since >= self.settings.patience
        self._table()
        self._show("validate")
        return job.Epoch(score=score, best=best, stop=self.stopped)

    def resume(self) -> job.Resumed | None:
        """See `backends.Watch`; what is known of the epochs before is taken up again."""
        if self.keeper is None:
            return None
        record = self.keeper.newest(self.note)
        if record is None:
            return None
        self.judged, self.stopped = list(record.judged), record.stop
        self.resumed = [*record.resumed, record.epoch]
        self.started = time.monotonic() - record.judged[-1].seconds
        self._table()
        self._show("resume", note=f"goes on after epoch {record.epoch}")
        stop = record.stop or record.epoch >= self.settings.epochs
        return job.Resumed(epoch=record.epoch, stop=stop, state=self.keeper.state(record))

    def keep(self, state: Writer, best: Writer | None) -> Path:
        """See `backends.Watch`."""
        if self.keeper is None:
            raise RunFailed("a prediction has no epochs")
        return self.keeper.keep(state, best, judged=self.judged, stop=self.stopped, resumed=self.resumed)

    def deliver(self, path: Path) -> None:
        """See `backends.Watch`."""
        if self.keeper is None:
            raise RunFailed("a prediction has no checkpoint")
        self.keeper.deliver(path)

    def note(self, text: str) -> None:
        """Tell people now, and the log."""
        print(text)  # noqa: T201 - the log
        self.say(job.Progress(stage="start", epochs=self.settings.epochs, note=text))

    @property
    def seconds(self) -> float:
        """Since the job began, without the time that it lay still after a kill."""
        return time.monotonic() - self.started

    def history(self) -> job.History:
        """How it went. Raises `RunFailed` when there was no epoch."""
        if not self.judged:
            raise RunFailed("the training ended without a single validated epoch")
        return job.History(
            epochs=len(self.judged),
            best_epoch=int(np.argmax(self._scores)) + 1,
            best_score=max(self._scores),
            stopped_early=self.stopped,
            under_trained=training_curve.under_trained(self._scores, stopped_early=self.stopped),
        )

    @property
    def _scores(self) -> list[float]:
        return [epoch.score for epoch in self.judged]

    def _table(self) -> None:
        lines = [f"{e.epoch},{e.loss:.6g},{e.score:.6f},{e.fn_rate:.6f},{e.seconds:.1f}" for e in self.judged]
        atomic_write(self.out / "metrics.csv", "\n".join([_HEAD, *lines]) + "\n")

    def _show(self, stage: str, note: str = "") -> None:
        last = self.judged[-1]
        self.say(
            job.Progress(
                stage=stage, epoch=last.epoch, epochs=self.settings.epochs, loss=last.loss, score=last.score,
                fn_rate=last.fn_rate, note=note,
            )
        )  # fmt: skip


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None
