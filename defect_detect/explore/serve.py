"""The process that serves the FiftyOne App: started, asked until it answers, and ended, each within a time.

FiftyOne's own waiting has ends without a limit: its service waits for a server that waits for the pages that are open,
and whoever stops it waits for that. One that is late to start is left running.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from defect_detect.errors import RunFailed

STARTS = 180.0
"""Seconds within which the App must answer. Alone it takes 5; a busy machine with cold files took 70."""
ENDS = 15.0
"""Seconds that it gets to end before it is killed."""
_ASKS = 5.0
_TICK = 0.2


@contextlib.contextmanager
def server(address: str, port: int) -> Iterator[None]:
    """An App that answers at address and port, while the block lasts.

    The server alone: FiftyOne's `Session` would only mirror in Python what people click, and takes its own idea of an
    address where it is given none.

    Raises:
        RunFailed: it ends while it starts, or doesn't answer in time; nothing of it is left then.
    """
    from fiftyone.core import context
    from fiftyone.core.service import ServerService, Service

    class Server(ServerService):  # type: ignore[misc]  # it has no types
        def start(self) -> None:
            context._get_context()  # noqa: SLF001 - its server asks for it, and FiftyOne sees to it so
            with _deaf():
                # FiftyOne's own way would join an App that is there already.
                Service.start(self)

        def stop(self) -> None:
            _end(self.child)

    started = Server(port, address=address, do_not_track=True)
    try:
        _wait(started.child, address, port)
        yield
    finally:
        started.stop()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What is started inside takes no Ctrl-C, which is for us, who end it; FiftyOne sees to that after its imports."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(child: Any, address: str, port: int) -> None:
    deadline = time.monotonic() + STARTS
    while not _answers(address, port):
        if (code := child.poll()) is not None:
            raise RunFailed(
                f"the FiftyOne App ended while it started (exit code {code}); what it said stands above, if anything. "
                "`fiftyone app launch` tells more"
            )
        if time.monotonic() > deadline:
            raise RunFailed(
                f"the FiftyOne App gave no answer at {address}:{port} within {STARTS:g} s and was ended. If the "
                "machine is busy, try again; the dataset is stored, and is not written anew"
            )
        time.sleep(_TICK)


def _answers(address: str, port: int) -> bool:
    """Whether FiftyOne is there and says so."""
    asking = http.client.HTTPConnection(address, port, timeout=_ASKS)
    try:
        asking.request("GET", "/fiftyone")
        return asking.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def _end(child: Any) -> None:
    """End the process and all of its own; those that don't end by themselves are killed."""
    import psutil  # type: ignore[import-untyped]  # it has no types

    below: list[Any] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = child.children(recursive=True)
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()  # FiftyOne's sign
    with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
        child.wait(ENDS)
    for process in (child, *below):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
        child.wait(ENDS)
