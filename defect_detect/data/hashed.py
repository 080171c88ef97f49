"""A file that is written piece by piece, takes its place whole, and has its hash known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from defect_detect.data.files import replacing

Writer = Callable[[BinaryIO], None]
"""Writes a file's content to where it is told."""


def write(path: Path, writer: Writer) -> str:
    """Put what `writer` writes at `path`, whole or not at all; its SHA-256.

    Raises:
        OSError: no space, no permission, no such folder; the old file is then still there.
    """
    with replacing(path) as file:
        hashed = _Hashed(file)
        try:
            writer(hashed)  # type: ignore[arg-type]  # all that writers ask for is `write`
        except Exception:
            if hashed.failed is not None:  # torch makes an error of its own of a full disk
                raise hashed.failed from None
            raise
    return hashed.digest.hexdigest()


class _Hashed:
    """A file that is written from start to end, and the hash of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.failed: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self.file.flush()
