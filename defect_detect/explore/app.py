"""The FiftyOne App on one dataset, at an address that was asked for and no other.

In a container FiftyOne overrides its own default address with 0.0.0.0, and its `/media?filepath=` hands
any readable file to whoever asks, without a password. So the address is always given, and one that
other machines reach is for the caller to warn about (`is_private`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from types import FrameType
from urllib.parse import quote

from defect_detect.errors import ConfigError, Fault
from defect_detect.explore import serve, service

LOCAL = "127.0.0.1"
PORT = 5151


def open_app(
    name: str,
    *,
    address: str = LOCAL,
    port: int = PORT,
    headless: bool = False,
    ready: Callable[[str], None] | None = None,
    workspace: str | None = None,
) -> None:
    """Serve the App on dataset `name` until Ctrl-C or SIGTERM.

    `ready` is called with the address (URL) when the App answers; unless `headless`, a browser is opened. It
    leads to the saved `workspace`, as an address names it.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
        ConfigError: there is no such dataset, or the port is taken.
        RunFailed: the App does not start.
    """
    with serving(name, address=address, port=port) as url, _until_told() as stop:
        if workspace is not None:
            url = f"{url}?workspace={quote(workspace, safe='')}"  # noqa: PLW2901 - the same address, more exactly
        if ready is not None:
            ready(url)
        if not headless:
            webbrowser.open(url)
        stop.wait()


@contextlib.contextmanager
def serving(name: str, *, address: str = LOCAL, port: int = PORT) -> Iterator[str]:
    """The App's URL while it is being served.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
        ConfigError: there is no such dataset, or the port is taken.
        RunFailed: the App does not start.
    """
    _check_free(address, port)
    with service.quiet():
        fiftyone = service.connect()
        if not fiftyone.dataset_exists(name):
            raise ConfigError(Fault(where="dataset", expected="one that is stored", found=repr(name)))
        with serve.server(address, port):
            yield f"http://{_in_url(address)}:{port}/datasets/{quote(name, safe='')}"


def is_private(address: str) -> bool:
    """Whether only this machine reaches the address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _check_free(address: str, port: int) -> None:
    # FiftyOne would join whatever App already answers there, at whichever address that one was opened.
    try:
        with socket.create_server((address, port)):
            return
    except OSError as error:
        fault = Fault(
            where=f"{address}:{port}",
            expected="an address of this machine and a free port",
            found=error.strerror or str(error),
            fix="Close the App that is open there, or choose another with --port",
        )
        raise ConfigError(fault) from error


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the App ends cleanly either way."""
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
