"""Programs run one after the other: what they say goes to a log, how far they are is shown, and they end with us."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from defect_detect import holding
from defect_detect.errors import RunFailed

Say = Callable[[str], None]
"""Shows a short line of how far it is."""

_GRACE = 10.0
_FIRST, _LAST = 4, 8
_COUNTED = re.compile(r"\s*\[(\d+)/(\d+)\] ")
"""How ninja numbers what it does: `[17/77] c++ ...`."""
_TOLD = re.compile(r"\s*(Collecting|Downloading|Using cached|Installing|Building|Resolved|Prepared|Installed)\b(.*)")
"""What pip and uv say of how far they are."""
_NOISE = re.compile(
    r"\s*(note: This|hint: |full command: |cwd: |\[end of output|error: (subprocess-e|metadata-g)|\[notice"
    r"|[^\w\s\[(/'\"-])"
)
"""Lines in which pip explains itself, some of them drawn as a frame."""
_ERROR = re.compile(r"\b(fatal )?error: |^FAILED: |Error: ", re.IGNORECASE)


class Failed(RunFailed):
    """A program ended with an error."""

    def __init__(self, what: str, code: int, said: Sequence[str], log: Path) -> None:
        self.said = tuple(said)
        tail = "\n".join(f"  | {line}" for line in telling(said))
        super().__init__(f"{what} failed (exit code {code}); it said:\n{tail}\nAll of it: {log}")


def run(
    command: Sequence[str | Path], *, what: str, log: Path, say: Say, environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> list[str]:  # fmt: skip
    """Run a program to its end, and return the lines it said.

    `what` it does, in words. `environment` is laid over ours. However this ends, the program ends with it, and all
    that it started.

    Raises:
        Failed: it ended with an error.
        RunFailed: it can't be started.
    """
    words = [str(word) for word in command]
    said: list[str] = []
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(words)}\n")
        file.flush()
        try:
            # A session of its own: Ctrl-C reaches us alone, and we end it with all its compilers. It holds our lock.
            running = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding="utf-8", errors="replace", env={**os.environ, **(environment or {})}, cwd=folder,
                start_new_session=True, pass_fds=holding.handles(),
            )  # fmt: skip
        except OSError as error:
            raise RunFailed(f"{what}: {words[0]} can't be started: {error.strerror or error}") from error
        try:
            assert running.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
            for line in running.stdout:
                file.write(line)
                file.flush()
                said.append(line.rstrip())
                if (shown := progress(line)) is not None:
                    say(shown)
            code = running.wait()
        finally:
            _end(running)
    if code:
        raise Failed(what, code, [line for line in said if line.strip()], log)
    return said


def telling(said: Sequence[str]) -> list[str]:
    """The lines that tell why a program failed: its first errors and its last lines, but for what pip says of pip."""
    own = [line for line in said if line.strip() and not _NOISE.match(line)]
    first = [index for index, line in enumerate(own) if _ERROR.search(line)][:_FIRST]
    return [own[index] for index in sorted({*first, *range(max(0, len(own) - _LAST), len(own))})]


def progress(line: str) -> str | None:
    """What a line of pip, uv or ninja tells of how far it is; None: nothing."""
    if counted := _COUNTED.match(line):
        return f"{counted[1]} of {counted[2]} files"
    if told := _TOLD.match(line):
        return f"{told[1]}{told[2]}".rstrip()[:100]
    return None


def _end(running: subprocess.Popen[str]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(_GRACE)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    if running.stdout is not None:
        running.stdout.close()
