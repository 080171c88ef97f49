"""What is known of picture files from earlier, by path, size and times: they are decoded once, not each run.

An SQLite file in `$XDG_CACHE_HOME/defect-detect` (`~/.cache/defect-detect`). `DEFECT_DETECT_CACHE` names
another folder; `off`, nothing is kept. Whatever is wrong with it, pictures are just looked at again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from defect_detect.data import decoding, pixels
from defect_detect.data.decoding import Facts

_TABLE = "CREATE TABLE IF NOT EXISTS pictures (path BLOB PRIMARY KEY, stamp TEXT, facts BLOB) WITHOUT ROWID"
_TOGETHER = 500
"""Paths that one query asks for."""


def stamp(path: str) -> str:
    """What changes whenever the file does: identity, size and times; `` where it can't be seen."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - many, and Path is slow
    except OSError:
        return ""
    return _stamp(facts)


def _stamp(facts: os.stat_result) -> str:
    return f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


def real(path: str) -> tuple[str, str]:
    """Where the file lies, whatever link leads to it, and its stamp; its folder is resolved already."""
    try:
        facts = os.lstat(path)
    except OSError:
        return path, ""
    if not stat.S_ISLNK(facts.st_mode):
        return path, _stamp(facts)
    path = os.path.realpath(path)
    return path, stamp(path)


def recall(stamps: Mapping[str, str]) -> dict[str, Facts]:
    """What is known of the files, given their stamps by path."""
    known: dict[str, Facts] = {}
    decode = msgspec.json.Decoder(Facts).decode
    with _opened() as store:
        if store is None:
            return known
        with contextlib.suppress(sqlite3.Error, msgspec.DecodeError):
            for path, seen, facts in _rows(store, sorted(map(os.fsencode, stamps))):
                name = os.fsdecode(path)
                if seen == stamps.get(name, "") != "":
                    known[name] = decode(facts)
    return known


def _rows(store: sqlite3.Connection, paths: Sequence[bytes]) -> Iterator[tuple[bytes, str, bytes]]:
    """At least the rows of `paths`, which ascend; some may come twice."""
    most = 2 * len(paths) + _TOGETHER
    # All from the first to the last, unless there are many more in between than are asked for.
    query = "SELECT path, stamp, facts FROM pictures WHERE path BETWEEN ? AND ? LIMIT ?"
    count = 0
    if paths:
        for count, row in enumerate(store.execute(query, (paths[0], paths[-1], most)), 1):  # noqa: B007 - counted
            yield row
    for start in range(0, len(paths) if count == most else 0, _TOGETHER):
        some = paths[start : start + _TOGETHER]
        marks = ",".join("?" * len(some))
        # The marks are question marks only; paths go in as values.
        yield from store.execute(f"SELECT path, stamp, facts FROM pictures WHERE path IN ({marks})", some)  # noqa: S608


def remember(stamps: Mapping[str, str], facts: Mapping[str, Facts]) -> None:
    """Keep what was found out, for files that have a stamp."""
    rows = [
        (os.fsencode(path), stamps[path], msgspec.json.encode(each)) for path, each in facts.items() if stamps[path]
    ]
    with _opened() as store:
        if store is not None:
            with contextlib.suppress(sqlite3.Error), store:
                store.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", rows)


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection | None]:
    path = _file()
    if path is None:
        yield None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(path, timeout=10)
    except (OSError, sqlite3.Error):
        yield None
        return
    with contextlib.closing(store):
        try:
            store.execute(_TABLE)
        except sqlite3.Error:
            yield None
            return
        yield store


def _file() -> Path | None:
    from PIL import __version__ as pillow

    given = os.environ.get("DEFECT_DETECT_CACHE", "")
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        home = Path(given or (base if base.is_absolute() else Path.home() / ".cache") / "defect-detect")
    except RuntimeError:  # a user without a home
        return None
    # Whatever changes in how pictures are looked at makes what was seen before void.
    rules = b"".join(Path(each.__file__ or "").read_bytes() for each in (pixels, decoding))
    return None if given == "off" else home / f"pictures-{zlib.crc32(pillow.encode() + rules):x}.sqlite"
