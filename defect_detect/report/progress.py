"""Live progress of a run: a bar in a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from defect_detect import job


@contextlib.contextmanager
def shown(title: str, console: Console | None = None) -> Iterator[Callable[[job.Progress], None]]:
    """Give a function that draws each `job.Progress` of one run."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title, console).report
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(title, total=None, note="starting")
        epochs = ""

        def report(progress: job.Progress) -> None:
            nonlocal epochs
            total, done = _share(progress)
            if progress.stage == "validate":
                epochs = f"  val FN rate {progress.fn_rate:.2f}, FROC {progress.score:.3f}"
            loss = f"loss {progress.loss:.3f}" if progress.loss is not None else ""
            note = f"epoch {progress.epoch}/{progress.epochs}  {loss}{epochs}" if progress.epochs else f"{done}/{total}"
            bars.update(task, total=total, completed=done, note=note)

        yield report


def _share(progress: job.Progress) -> tuple[float | None, float]:
    if not progress.epochs:
        return (progress.of or None), progress.done
    if progress.stage == "validate":
        return progress.epochs, progress.epoch
    inside = progress.done / progress.of if progress.of else 0.0
    return progress.epochs, max(progress.epoch - 1, 0) + inside


class _Lines:
    def __init__(self, title: str, console: Console) -> None:
        self.title, self.console = title, console
        self.started = time.monotonic()

    def report(self, progress: job.Progress) -> None:
        if progress.stage != "validate":
            return
        spent = time.monotonic() - self.started
        left = spent / progress.epoch * (progress.epochs - progress.epoch)
        self.console.print(
            f"{self.title}: epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.3f}, validation FN rate"
            f" {progress.fn_rate:.2f}, FROC {progress.score:.3f}, {spent:.0f} s, at most {left:.0f} s left",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
