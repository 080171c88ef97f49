"""Paired CPU times: works in turn, in one process, on one thread."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def one_thread() -> None:
    """One thread, and no columns kept from an earlier run. To be called before libraries are imported."""
    for name in THREADS:
        os.environ[name] = "1"
    os.environ["DEFECT_DETECT_CACHE"] = "off"


def taken(works: Mapping[str, Callable[[], Any]], runs: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """CPU seconds of each work in each of `runs` rounds, after one to warm up; and what each came to."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    answers: dict[str, Any] = {}
    for turn in range(runs + 1):
        for name, work in works.items():
            with contextlib.redirect_stdout(io.StringIO()):
                started = time.process_time()
                answers[name] = work()
                spent = time.process_time() - started
            if turn:
                seconds[name].append(spent)
    return seconds, answers


def table(seconds: Mapping[str, list[float]], against: str) -> str:
    """A line for each work: the median in ms, and how many times `against` it takes in the median round."""
    lines = []
    for name, spent in seconds.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(spent, seconds[against], strict=True))
        lines.append(f"{name:32} {1000 * statistics.median(spent):8.0f} ms {ratio:7.2f} x {against}")
    return "\n".join(lines)
