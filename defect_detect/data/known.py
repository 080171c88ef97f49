"""What is known of picture files from earlier, by path, size and times: they are decoded once, not each run.

An SQLite file in `$XDG_CACHE_HOME/defect-detect` (`~/.cache/defect-detect`). `DEFECT_DETECT_CACHE` names
another folder; `off`, nothing is kept. Whatever is wrong with it, pictures are just looked at again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from defect_detect.data import decoding, pixels
from defect_detect.data.decoding import Facts

_TABLE = "CREATE TABLE IF NOT EXISTS pictures (path BLOB PRIMARY KEY, stamp TEXT, facts BLOB) WITHOUT ROWID"


def stamp(path: str) -> str:
    """What changes whenever the file does: identity, size and times; `` where it can't be seen."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - many, and Path is slow
    except OSError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"


def recall(stamps: Mapping[str, str]) -> dict[str, Facts]:
    """What is known of the files, given their stamps by path."""
    known: dict[str, Facts] = {}
    decoder = msgspec.json.Decoder(Facts)
    with _opened() as store:
        if store is None:
            return known
        with contextlib.suppress(sqlite3.Error, msgspec.DecodeError):
            for some in _batches(list(stamps)):
                marks = ",".join("?" * len(some))
                # The marks are question marks only; paths go in as values.
                query = f"SELECT path, stamp, facts FROM pictures WHERE path IN ({marks})"  # noqa: S608
                for path, seen, facts in store.execute(query, [os.fsencode(path) for path in some]):
                    name = os.fsdecode(path)
                    if seen == stamps[name] != "":
                        known[name] = decoder.decode(facts)
    return known


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


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), 500):
        yield paths[start : start + 500]
