"""Processes that read pictures for a training (`workers`): they may be killed, hang, or run out of shared memory."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from defect_detect.backends._memory import free
from defect_detect.errors import DefectDetectError, RunFailed

PATIENCE = 60.0
"""Seconds within which a batch must have been read. torch by itself waits for ever (pytorch#21554)."""
_SIGNS = ("DataLoader worker (pid", "DataLoader timed out", "shared memory")


def timeout(workers: int) -> float:
    """What a `torch.utils.data.DataLoader` of so many processes is given; with none it takes no time limit."""
    return PATIENCE if workers else 0


@contextlib.contextmanager
def reading(workers: int) -> Iterator[None]:
    """Say what became of the processes that read pictures, and what to do; none is left behind.

    torch raises wherever the training is when one of them ends.

    Raises:
        RunFailed: one was ended, hangs, or had no shared memory left.
        DefectDetectError: one raised it.
    """
    try:
        yield
    except DefectDetectError as error:
        # An error of such a process comes with its traceback before it, as one text.
        _, told, own = str(error).partition(f"\n{type(error).__module__}.{type(error).__qualname__}: ")
        if not workers or not told:
            raise
        raise type(error)(own.strip()) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        said = [line.strip(" .") for line in str(error).splitlines() if any(sign in line for sign in _SIGNS)]
        if not isinstance(error, RuntimeError):  # it was ended while a batch was fetched from it
            said.append(f"{type(error).__name__}: {error}")
        if not workers or not said:
            raise
        # While the loader is there, in the locals of what failed, torch raises again whenever a process ends.
        traceback.clear_frames(error.__traceback__)
        free()
        raise RunFailed(
            f"a process that reads pictures ended, hangs or found no shared memory ({said[-1]}). Fewer of them need"
            " less memory; with --set workers=0 the training reads pictures itself. The epochs that are done are kept:"
            " the same command goes on after them"
        ) from error
