"""What verification says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from defect_detect.data.files import sha256_file


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was, or not as it follows from the rest."""

    kind: str
    """`changed` | `missing` | `figure` | `log` | `unsealed`"""
    where: str
    expected: str
    found: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What verification looked at, and what it found."""

    findings: list[Finding]
    files: int
    """Hashed and compared with the seal."""
    pictures: int
    """Hashed and compared with their dataset's files."""
    figures: int
    """Derived again: numbers, texts and nulls in comparison.json."""
    notes: list[str]
    """What differs and explains findings: versions."""


def compared(out: Path, files: dict[str, str]) -> Iterator[Finding]:
    """What is missing or changed of `files`: paths relative to `out`, and the SHA-256 that they must have."""
    for name, expected in files.items():
        try:
            found = sha256_file(out / name)
        except OSError as error:
            yield Finding(kind="missing", where=name, expected=short(expected), found=error.strerror or str(error))
        else:
            if found != expected:
                yield Finding(kind="changed", where=name, expected=short(expected), found=short(found))


def words(error: Exception) -> str:
    """The error as a sentence."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}"
    return str(error)


def short(sha256: str) -> str:
    """Enough of a hash to know it by."""
    return f"SHA-256 {sha256[:16]}..."
