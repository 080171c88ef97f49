"""The worker processes that decode pictures: one that dies costs its picture, not the run."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from defect_detect.data.decoding import Facts, Task

COMMAND = (sys.executable, "-I", "-m", "defect_detect.data.decoding")
PATIENCE = 180.0
"""Seconds for one picture; the largest that is allowed takes some 20."""
_EACH = 16
"""Pictures that are worth one more process."""


def threads() -> int:
    """As many things at a time as there are cores to do them."""
    return min(32, (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1)


class Decoders:
    """Up to one process a core, each started when it is first needed; a context manager."""

    def __init__(self, tasks: int) -> None:
        self._count = max(1, min(threads(), -(-tasks // _EACH)))
        self._stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        for process in tuple(self._running):
            _end(process)

    def look(self, tasks: Sequence[Task], progress: Callable[[int, int], None] | None = None) -> list[Facts]:
        """The facts of each task's picture; a process that dies or hangs makes its picture `broken`."""
        waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Facts] | BaseException] = queue.SimpleQueue()
        for entry in enumerate(tasks):
            waiting.put(entry)
        workers = [threading.Thread(target=self._serve, args=(waiting, done), daemon=True) for _ in range(self._count)]
        for worker in workers:
            worker.start()
        found: dict[int, Facts] = {}
        while len(found) < len(tasks):
            answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            found[answer[0]] = answer[1]
            if progress is not None:
                progress(len(found), len(tasks))
        for worker in workers:
            worker.join()
        return [found[at] for at in range(len(tasks))]

    def _serve(
        self, waiting: queue.SimpleQueue[tuple[int, Task]],
        done: queue.SimpleQueue[tuple[int, Facts] | BaseException],
    ) -> None:  # fmt: skip
        process: subprocess.Popen[bytes] | None = None
        try:
            while not self._stopped:
                try:
                    at, task = waiting.get_nowait()
                except queue.Empty:
                    break
                process = process or self._start()
                facts, alive = _ask(process, task)
                done.put((at, facts))
                if not alive:
                    self._bury(process)
                    process = None
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            done.put(error)
        finally:
            if process is not None:
                self._bury(process)

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches the parent alone. Errors of native decoders go nowhere.
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env={name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ},
        )  # fmt: skip
        self._running.add(process)
        return process

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        _end(process)
        self._running.discard(process)


def _ask(process: subprocess.Popen[bytes], task: Task) -> tuple[Facts, bool]:
    """The answer, and whether the process can take another question."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("a decoder has both pipes")
    try:
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return _died(process), False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(PATIENCE):
            return Facts(broken=f"its decoder did not end in {PATIENCE:g} s"), False
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        return _died(process), False
    try:
        return msgspec.json.decode(line, type=Facts), True
    except msgspec.DecodeError:
        return Facts(broken="its decoder answered nonsense"), False


def _died(process: subprocess.Popen[bytes]) -> Facts:
    return Facts(broken=f"it crashed its decoder (exit status {process.wait()})")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
