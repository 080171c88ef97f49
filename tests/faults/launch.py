"""Runs a tool, and each worker that it starts, with every step on the disk counted, and strikes at a given one.

    python launch.py PLAN.json TOOL.py ARGUMENT...

Production code knows nothing of it: the functions of `os` that change files are replaced in this process, and
a worker is started through this file too. What strikes is a signal, or an error of the system such as ENOSPC.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

WORKER = ["-I", "-m", "defect_detect.worker"]
_YEAR = 365 * 86400.0


class Plan:
    """Which step of which process is struck, and how.

    process  `tool`, `worker1`, `worker2`, ... in the order they start
    at       the number of the step there, from 0; with `step` or `file`, of those alone
    step     `open` | `write` | `fsync` | `rename` | `remove` | `mkdir` | `start` | `database`; None: any
    file     what the file's name must contain
    when     `before` | `half` (of a write) | `after`
    signal   number; with `victim` `self`, the `other` end (a worker's tool, the tool's latest worker), or a process id
    error    instead: the errno that the step fails with; `lasting`: and every such step after it
    clock    whether the wall clock jumps a year to and fro with every look at it
    trace    file that each step is appended to
    struck   file that says what was struck
    """

    def __init__(self, path: str, process: str) -> None:
        self.path, self.process = path, process
        plan = json.loads(Path(path).read_text())
        self.mine = plan.get("process", process) == process or plan.get("process") == "any"
        self.at: int | None = plan.get("at")
        self.step, self.file, self.when = plan.get("step"), plan.get("file", ""), plan.get("when", "before")
        self.signal, self.victim, self.error = plan.get("signal"), plan.get("victim", "self"), plan.get("error")
        self.lasting, self.clock = plan.get("lasting", False), plan.get("clock", False)
        self.trace, self.struck = plan.get("trace"), plan.get("struck")
        self.counted = 0
        self.worker: int | None = None
        self.busy = threading.local()


PLAN: Plan
_real = {
    name: getattr(os, name)
    for name in (
        "open",
        "fdopen",
        "fsync",
        "rename",
        "replace",
        "remove",
        "unlink",
        "rmdir",
        "mkdir",
        "copy_file_range",
    )
}
_POPEN = subprocess.Popen


def note(path: str, line: str) -> None:
    handle = _real["open"](path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, line.encode(errors="replace") + b"\n")
    os.close(handle)


def due(step: str, name: str) -> bool:
    """Whether this is the step to strike at; counts it."""
    if PLAN.trace:
        note(PLAN.trace, f"{PLAN.process}\t{step}\t{name}")
    if not PLAN.mine or PLAN.at is None or (PLAN.step and step != PLAN.step) or PLAN.file not in name:
        return False
    number, PLAN.counted = PLAN.counted, PLAN.counted + 1
    return number == PLAN.at or (PLAN.lasting and number > PLAN.at)


def strike(step: str, name: str) -> None:
    if PLAN.struck:
        note(PLAN.struck, f"{PLAN.process}\t{step}\t{name}\t{PLAN.when}")
    if PLAN.error is not None:
        raise OSError(PLAN.error, os.strerror(PLAN.error), name)
    if isinstance(PLAN.victim, int):
        os.kill(PLAN.victim, PLAN.signal)
    elif PLAN.victim == "self":
        os.kill(os.getpid(), PLAN.signal)
    elif PLAN.process != "tool":
        os.kill(os.getppid(), PLAN.signal)
    elif PLAN.worker is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(PLAN.worker, PLAN.signal)


def counted(step: str, function: Any, name_of: Any) -> Any:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if getattr(PLAN.busy, "now", False):
            return function(*arguments, **named)
        name = name_of(*arguments)
        if step == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
            return function(*arguments, **named)
        here = due(step, name)
        if here and PLAN.when != "after":
            strike(step, name)
        result = function(*arguments, **named)
        if here and PLAN.when == "after":
            strike(step, name)
        return result

    return wrapped


def path_name(path: Any, *_: Any) -> str:
    return os.path.basename(os.fsdecode(path)) if not isinstance(path, int) else handle_name(path)


def target_name(_: Any, target: Any, *__: Any) -> str:
    return path_name(target)


def handle_name(handle: int, *_: Any) -> str:
    try:
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))
    except OSError:
        return "?"


class Written:
    """A file whose writes are steps; one of them may stop halfway."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def write(self, data: Any) -> Any:
        if not due("write", self._name):
            return self._file.write(data)
        part = {"before": 0, "half": len(data) // 2, "after": len(data)}[PLAN.when]
        self._file.write(data[:part])
        self._file.flush()
        strike("write", self._name)
        self._file.write(data[part:])
        return len(data)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *why: object) -> Any:
        return self._file.__exit__(*why)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def fdopen(handle: int, mode: str = "r", *arguments: Any, **named: Any) -> Any:
    name = handle_name(handle)
    file = _real["fdopen"](handle, mode, *arguments, **named)
    return Written(file, name) if mode == "wb" and ".part" in name else file


class Started(_POPEN):  # type: ignore[type-arg, misc]
    """A child process; a worker is started through this file."""

    numbered = 0

    def __init__(self, args: Any, *others: Any, **named: Any) -> None:
        words = [os.fspath(word) for word in args] if not isinstance(args, str) else []
        here = due("start", words[-1] if words else "?")
        if here and PLAN.when != "after":
            strike("start", words[-1])
        is_worker = words[1:4] == WORKER and "--check" not in words
        if is_worker:
            Started.numbered += 1
            args = [words[0], "-I", os.path.abspath(__file__), PLAN.path, f"worker{Started.numbered}", *words[4:]]
        super().__init__(args, *others, **named)
        if is_worker:
            PLAN.worker = self.pid
        if here and PLAN.when == "after":
            strike("start", words[-1])


def jumping_clock() -> None:
    real, looks = time.time, iter(range(1 << 60))
    time.time = lambda: real() + (_YEAR if next(looks) % 2 else -_YEAR)
    local = time.strftime
    time.strftime = lambda form, *when: local(form, *(when or [time.localtime(time.time())]))


def database() -> None:
    """Count what FiftyOne writes to its database, once that is imported."""
    from defect_detect.explore import service

    connect = service.connect

    def connected(*arguments: Any, **named: Any) -> Any:
        module = connect(*arguments, **named)
        from pymongo.collection import Collection

        for name in (
            "insert_one",
            "insert_many",
            "update_one",
            "update_many",
            "replace_one",
            "bulk_write",
            "delete_one",
            "delete_many",
            "rename",
            "drop",
        ):
            real = getattr(Collection, name)
            if not getattr(real, "is_step", False):
                step = counted("database", real, lambda collection, *_: collection.name)
                step.is_step = True
                setattr(Collection, name, step)
        return module

    service.connect = connected


def main() -> None:
    global PLAN
    plan, what, *arguments = sys.argv[1:]
    in_worker = what.startswith("worker")
    PLAN = Plan(plan, what if in_worker else "tool")
    for name in ("open", "remove", "unlink", "rmdir", "mkdir"):
        step = "remove" if name in ("remove", "unlink", "rmdir") else name
        setattr(os, name, counted(step, _real[name], path_name))
    os.fsync = counted("fsync", _real["fsync"], handle_name)
    os.rename = counted("rename", _real["rename"], target_name)
    os.replace = counted("rename", _real["replace"], target_name)
    os.copy_file_range = counted("write", _real["copy_file_range"], lambda _, target, *__: handle_name(target))
    os.fdopen = fdopen
    subprocess.Popen = Started
    if PLAN.clock:
        jumping_clock()
    if in_worker:
        sys.argv = ["worker", *arguments]
        runpy.run_module("defect_detect.worker", run_name="__main__")
        return
    database()
    sys.argv = [what, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(what))
    runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    main()
