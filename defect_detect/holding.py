"""The lock on a folder: one process writes there, and whoever comes second is told who.

`FOLDER/.lock` is locked with `flock`, so the lock ends with its owner however that ends. Workers inherit the
open file: the folder is free only when nobody who could still write there lives. What stands in the file only
names the owner; it is emptied when the folder is released.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from defect_detect.errors import ConfigError, Fault

LOCK = ".lock"
_DYING = 10.0
"""Seconds that the workers of an owner that is gone get to be gone too."""
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_mine: list[int] = []


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a folder. `began` tells a process from a later one with its number (ticks since boot)."""

    pid: int
    host: str
    since: str
    command: str
    began: int = 0


def handles() -> tuple[int, ...]:
    """The open files of all locks that this process holds, for the processes it starts to inherit."""
    return tuple(_mine)


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Be the only one who writes in the existing `folder` until the block ends.

    Raises:
        ConfigError: somebody else does; who.
        OSError: the folder can't be written to.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, msgspec.json.encode(_me()) + b"\n", 0)
        _mine.append(handle)
        try:
            yield
        finally:
            _mine.remove(handle)
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def refuse_busy(folder: Path) -> None:
    """Make sure that nobody writes in the folder now; needs no right to write there.

    Raises:
        ConfigError: somebody does; who.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(folder, holder(folder)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(handle)


def holder(folder: Path) -> Holder | None:
    """Who holds the folder, as far as its lock says; None: nobody."""
    try:
        return msgspec.json.decode((folder / LOCK).read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + _DYING
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            there = holder(folder)
            if there is None or _lives(there) or time.monotonic() > deadline:
                raise _held(folder, there) from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            # A file system without locks: the name in the file is all there is.
            there = holder(folder)
            if there is not None and _lives(there):
                raise _held(folder, there) from None
            return
        else:
            return


def _held(folder: Path, there: Holder | None) -> ConfigError:
    if there is None:
        found = "another process writing there"
    elif _lives(there):
        found = f"process {there.pid} on {there.host} writing there since {there.since}: {there.command}"
    else:
        found = (f"process {there.pid} on {there.host} gone, but one that it started still running there"
                 f" (since {there.since}: {there.command})")  # fmt: skip
    fix = "Wait until it is done, or give another --out."
    return ConfigError(Fault(where=str(folder), expected="a folder that nobody writes to", found=found, fix=fix))


def _me() -> Holder:
    return Holder(
        pid=os.getpid(), host=socket.gethostname(), since=time.strftime("%Y-%m-%d %H:%M:%S"),
        command=shlex.join(sys.argv), began=_began(os.getpid()),
    )  # fmt: skip


def _lives(there: Holder) -> bool:
    """Whether the holder runs; on another machine that can't be seen, and it is taken to."""
    if there.host != socket.gethostname():
        return True
    return there.pid == os.getpid() or _began(there.pid) == there.began != 0


def _began(pid: int) -> int:
    """When the process started, in clock ticks since boot (proc(5), field 22); 0: there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
