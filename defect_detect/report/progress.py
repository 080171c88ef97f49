"""Live progress of runs: a bar for each in a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from defect_detect import job

_JUDGED = ("validate", "resume")
"""Stages that tell how an epoch was judged: the one just done, or the last one before a kill."""

Report = Callable[[job.Progress], None]
Board = Callable[[str], Report]
"""Gives, for the title of a run, the function that draws its progress. Runs may go side by side."""


@contextlib.contextmanager
def board(console: Console) -> Iterator[Board]:
    """Draw runs until the block ends."""
    if not console.is_terminal:
        yield lambda title: _Lines(title, console).report
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        yield lambda title: _Bar(bars, bars.add_task(title, total=None, note="starting"), title).report


class _Bar:
    def __init__(self, bars: Progress, task: TaskID, title: str) -> None:
        self.bars, self.task, self.title = bars, task, title
        self.validation = ""

    def report(self, progress: job.Progress) -> None:
        total, done = _share(progress)
        if progress.note:
            self.bars.console.print(f"{self.title}: {progress.note}", markup=False, highlight=False, soft_wrap=True)
        if progress.stage in _JUDGED:
            self.validation = f"  val FN rate {progress.fn_rate:.2f}, FROC {progress.score:.3f}"
        loss = f"loss {progress.loss:.3f}" if progress.loss is not None else ""
        note = f"epoch {progress.epoch}/{progress.epochs}  {loss}{self.validation}" if progress.epochs else ""
        self.bars.update(self.task, total=total, completed=done, note=note)


class _Lines:
    def __init__(self, title: str, console: Console) -> None:
        self.title, self.console = title, console
        self.started = time.monotonic()
        self.before = 0

    def report(self, progress: job.Progress) -> None:
        if progress.note:
            self.console.print(f"{self.title}: {progress.note}", markup=False, highlight=False, soft_wrap=True)
        if progress.stage == "resume":
            self.before = progress.epoch
        if progress.stage != "validate":
            return
        spent = time.monotonic() - self.started
        left = spent / max(progress.epoch - self.before, 1) * (progress.epochs - progress.epoch)
        self.console.print(
            f"{self.title}: epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.3f}, validation FN rate"
            f" {progress.fn_rate:.2f}, FROC {progress.score:.3f}, {spent:.0f} s, at most {left:.0f} s left",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _share(progress: job.Progress) -> tuple[float | None, float]:
    """Of how many steps, and how many are done: epochs in a training, images in a prediction."""
    if not progress.epochs:
        return (progress.of or None), progress.done
    if progress.stage in _JUDGED:
        return progress.epochs, progress.epoch
    inside = progress.done / progress.of if progress.of else 0.0
    return progress.epochs, max(progress.epoch - 1, 0) + inside
