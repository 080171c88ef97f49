"""The log of a comparison's folder: who asked for what, when, with which versions. Only ever appended to.

Each line of `command.log` is a JSON object that names the SHA-256 of the line before it. So a line that was
changed or taken out later shows, except at the end, which `verify` compares with nothing.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "command.log"
OPERATOR = "DEFECT_DETECT_OPERATOR"
"""Environment variable that names the operator where --operator doesn't."""


def command(folder: Path, versions: Mapping[str, str], operator: str | None = None) -> None:
    """Log the running command before it does anything.

    Raises:
        OSError: the folder can't be written to.
    """
    append(folder, {
        "time": _now(), "by": _login(), "operator": operator or os.environ.get(OPERATOR), "host": socket.gethostname(),
        "pid": os.getpid(), "command": shlex.join(sys.argv), "directory": str(Path.cwd()), "versions": dict(versions),
    })  # fmt: skip


def ended(folder: Path, **facts: Any) -> None:
    """Log how the command that was logged last ended."""
    append(folder, {"time": _now(), "pid": os.getpid(), "ended": facts})


def append(folder: Path, facts: Mapping[str, Any]) -> None:
    """Append one line, in one write: a kill leaves all of it or nothing, a full disk perhaps half.

    What follows a half line begins on a line of its own.
    """
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        before, size = _last(handle)
        line = json.dumps({**facts, "previous": hashlib.sha256(before.rstrip(b"\n")).hexdigest() if before else ""})
        torn = size > 0 and not before.endswith(b"\n")
        os.write(handle, b"\n" * torn + line.encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def faults(folder: Path) -> list[str]:
    """What is wrong with the chain of lines; empty: nothing, or there is no log."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found, before = [], b""
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            said = json.loads(line)
            previous = said.get("previous")
        except (ValueError, AttributeError):
            found.append(f"line {number} is no whole line: the disk was full, or somebody changed it")
        else:
            # Lines of versions before the chain name none.
            if previous is not None and previous != (hashlib.sha256(before).hexdigest() if before else ""):
                found.append(f"line {number} doesn't follow the line before it: that was changed, or one is missing")
        before = line
    return found


def last_seal(folder: Path) -> str | None:
    """The hash of the seal that the log names last; None: it names none."""
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            seal = json.loads(line)["ended"]["seal"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(seal, str) and seal:
            return seal
    return None


def _last(handle: int) -> tuple[bytes, int]:
    """The last line with its line end, and the size of the file."""
    size = os.fstat(handle).st_size
    content = os.pread(handle, 1 << 20, max(0, size - (1 << 20)))
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    return content[start:], size


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry in passwd, as in containers
        return str(os.getuid())
