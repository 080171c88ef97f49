"""Columns made from a large file, kept so that reading it again takes milliseconds.

Kept columns are believed only where the file has the size, times and inode that they were made from. A file
touched in the two seconds before may have changed once more without showing it, so then its content is
hashed. They live in `$XDG_CACHE_HOME/defect-detect` (`~/.cache/defect-detect`), where the longest unused go
when all pass 2 GiB; DEFECT_DETECT_CACHE=off in the environment turns that off. Whether they are there, lost or
damaged shows in the time alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from defect_detect.data import column_file
from defect_detect.data.column_file import Columns

T = TypeVar("T")

LEAST = 1 << 20
"""Bytes of a file from which on its columns are kept; less COCO is parsed in some 5 ms."""
_MOST = 2 << 30
_YOUNG = 2.0
_ABANDONED = 60 * 60.0


class _Stamp(msgspec.Struct, frozen=True):
    """What tells a file from its former self unread. Unlike mtime, ctime can't be set back."""

    size: int
    mtime: int
    ctime: int
    inode: int
    device: int


class _Note(msgspec.Struct, frozen=True):
    """What the columns were made from, and by what. `sha256` is empty where the file had been left alone for long."""

    path: str
    code: str
    stamp: _Stamp
    sha256: str


def through(
    path: Path, code: str, *, build: Callable[[bytes], T], pack: Callable[[T], Columns | None],
    unpack: Callable[[Columns], T], verify: bool = False,
) -> T:  # fmt: skip
    """What `build` makes of the bytes of the file, or the same from the columns that `pack` made of it before.

    `code` names what builds and packs: columns that other code made are not believed. `pack` says None where
    something can't be kept. `verify` compares the content, however old the file is.

    Raises:
        OSError: the file can't be read; and whatever `build` raises.
    """
    stamp = _stamp(path)
    place = _place(path) if stamp.size >= LEAST else None
    # Whatever is wrong with a kept file, the file itself has it all.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, msgspec.DecodeError):
        if place is not None:
            return unpack(_kept(place, path, code, stamp, verify=verify))
    raw = path.read_bytes()
    made = build(raw)
    if place is not None and len(raw) == stamp.size and _stamp(path) == stamp:
        columns = pack(made)
        if columns is not None:
            sha256 = hashlib.sha256(raw).hexdigest() if verify or _young(stamp) else ""
            _keep(place, _Note(path=str(path), code=code, stamp=stamp, sha256=sha256), columns)
    return made


def _kept(place: Path, path: Path, code: str, stamp: _Stamp, *, verify: bool) -> Columns:
    """The kept columns.

    Raises:
        OSError, ValueError, msgspec.DecodeError: there are none that can be believed.
    """
    note, columns = column_file.read(place, _Note)
    if note.code != code or note.stamp != stamp:
        raise ValueError("columns of something else")
    if verify or note.sha256 or _young(stamp):
        if note.sha256 != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ValueError("columns of another content")
        if not (verify or _young(stamp)):
            _keep(place, msgspec.structs.replace(note, sha256=""), columns)
    with contextlib.suppress(OSError):
        os.utime(place)
    return columns


def _keep(place: Path, note: _Note, columns: Columns) -> None:
    """Write the columns, whole or not at all; a folder that can't be written to is no error."""
    content = column_file.encode(note, columns)
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", dir=place.parent)
        try:
            # Not synced: what a power cut leaves half written has another total.
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _tidy(place.parent)


def _tidy(home: Path) -> None:
    """Remove the longest unused beyond the limit, and what killed processes left."""
    total = 0
    for mtime, size, found in sorted(_facts(home), reverse=True):
        total += size
        if total > _MOST or (found.suffix == ".part" and time.time() - mtime > _ABANDONED):
            found.unlink(missing_ok=True)


def _facts(home: Path) -> list[tuple[float, int, Path]]:
    listed = []
    for found in home.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process tidied it away
            facts = found.stat()
            listed.append((facts.st_mtime, facts.st_size, found))
    return listed


def _place(path: Path) -> Path | None:
    """Where the file's columns are kept, or None where nothing is."""
    if os.environ.get("DEFECT_DETECT_CACHE") == "off":
        return None
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError):  # a user without a home
        return (base if base.is_absolute() else Path.home() / ".cache") / "defect-detect" / f"{name}.columns"
    return None


def _stamp(path: Path) -> _Stamp:
    facts = path.stat()
    return _Stamp(
        size=facts.st_size, mtime=facts.st_mtime_ns, ctime=facts.st_ctime_ns, inode=facts.st_ino, device=facts.st_dev
    )


def _young(stamp: _Stamp) -> bool:
    return time.time() - max(stamp.mtime, stamp.ctime) / 1e9 < _YOUNG
