"""File names of a dataset, found below its picture folder and nowhere else."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_DRIVE = re.compile(r"^[A-Za-z]:")


class LeavesRootError(ValueError):
    """A name that points outside the picture folder; says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a file name led.

    name   POSIX, relative to the picture folder
    what   the repair it took, or ``
    exists whether a regular file is there
    """

    name: str
    what: str
    exists: bool


def resolve(name: str, root: Path) -> Found:
    r"""The file below `root` that `name` means: `./`, `\` and the folders of another machine are undone.

    Raises:
        LeavesRootError: `..`, a link that leads outside, or characters no name can have.
    """
    if "\0" in name or any(0xD800 <= ord(character) <= 0xDFFF for character in name):  # noqa: PLR2004 - surrogates
        raise LeavesRootError("holds characters that no file name can have")
    what = ""
    posix = name
    if "\\" in name and not _is_file(root, name):
        posix, what = name.replace("\\", "/"), "backslashes in the file name"
    drive = _DRIVE.match(posix)
    if drive or posix.startswith("/"):
        parts = [part for part in posix[drive.end() if drive else 0 :].split("/") if part not in ("", ".")]
        if ".." in parts:
            raise LeavesRootError("has '..' in it")
        tail = next((rest for i in range(len(parts)) if _is_file(root, rest := "/".join(parts[i:]))), None)
        return Found(name=tail or posix, what="absolute path of another machine", exists=tail is not None)
    normal = posixpath.normpath(posix)
    if normal.startswith("..") and normal.split("/")[0] == "..":
        raise LeavesRootError("leads out of the picture folder by '..'")
    if normal != posix and not what:
        what = "file name not in its shortest form"
    return Found(name=normal, what=what, exists=_is_file(root, normal))


def picture_folder(candidates: Iterable[Path], names: Iterable[str]) -> Path:
    """The candidate below which most of the names exist; the first of those that tie."""
    folders = [folder for folder in candidates if folder.is_dir()]
    tails = [name.replace("\\", "/").rsplit("/", 1)[-1] if _absolute(name) else name for name in names]
    scores = [sum(_plainly_there(folder, tail) for tail in tails) for folder in folders]
    return folders[scores.index(max(scores))] if folders else next(iter(candidates))


def _absolute(name: str) -> bool:
    return name.startswith("/") or _DRIVE.match(name) is not None


def _plainly_there(folder: Path, name: str) -> bool:
    try:
        return (folder / name.replace("\\", "/")).is_file()
    except (OSError, ValueError):
        return False


def _is_file(root: Path, name: str) -> bool:
    try:
        path = root / name
        if not path.is_file():
            return False
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError):  # a name too long, or with bytes the file system refuses
        return False
    if not inside:
        raise LeavesRootError("is a link that leads out of the picture folder")
    return True
