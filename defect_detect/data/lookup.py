"""Finds pictures below their folder and nowhere else, by the name as it is or by what it must mean.

A loose match (case, Unicode normal form, folder, extension) counts only where exactly one file fits,
and never takes a file that another entry names as it is.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from defect_detect.data.paths import LeavesRootError, checked, readings, simple

_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".j2k",
})  # fmt: skip
_APPLE = "._"
_MOST = 2_000_000
"""Files that the search looks through before it gives up."""
_Search = Callable[[str], Iterable[str]]


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a file name led.

    name     POSIX, relative to the picture folder
    what     the repair it took, or ``
    missing  why there is no picture, or ``; `detail` on that
    outside  why the name must not be followed, or ``
    """

    name: str
    what: str = ""
    missing: str = ""
    detail: str = ""
    outside: str = ""


@dataclass(slots=True)
class Folder:
    """A picture folder; files reached through links count only if they lie inside it."""

    root: Path
    _real: str = ""
    _inside: dict[str, bool] = field(default_factory=dict)
    _index: _Index | None = None

    def __post_init__(self) -> None:
        self._real = os.path.realpath(self.root)

    def find(self, names: Sequence[str]) -> list[Found]:
        """What each name means, in the order of `names`."""
        plain = [self._plainly(name) for name in names]
        claimed = {found.name for found in plain if found is not None and not found.outside}
        return [
            self._loosely(name, claimed) if found is None else found for name, found in zip(names, plain, strict=True)
        ]

    def has_all(self, names: Sequence[str]) -> bool:
        """Whether each name is simply that of a regular file: nothing has to be undone, followed or looked for."""
        if not simple(names):
            return False
        if not any("/" in name for name in names):
            return self._files("").issuperset(names)
        there: dict[str, set[str]] = {}
        for name in names:
            folder, _, file = name.rpartition("/")
            files = there.get(folder)
            if files is None:
                files = there[folder] = self._files(folder)
            if file not in files:
                return False
        return True

    def _files(self, folder: str) -> set[str]:
        """Names of the regular files in a folder below the root; none where it is elsewhere or is not there."""
        path = f"{self._real}/{folder}"
        try:
            if folder and not self._contains(path):
                return set()
            with os.scandir(path) as entries:
                return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        except (OSError, ValueError):
            return set()

    def _plainly(self, name: str) -> Found | None:
        try:
            for reading, what in readings(checked(name)):
                if self._is_file(reading):
                    if reading.rpartition("/")[2].startswith(_APPLE):
                        return Found(name=reading, missing="picture is an AppleDouble file, which holds no pixels")
                    if any(part != part.rstrip(". ") for part in reading.split("/")):
                        return Found(name=reading, outside="ends in a dot or blank, which not every system can have")
                    return Found(name=reading, what=what)
        except LeavesRootError as error:
            return Found(name=name, outside=str(error))
        return None

    def _loosely(self, name: str, claimed: set[str]) -> Found:
        if self._index is None:
            self._index = _Index(self._real)
        possible = list(dict(readings(name)))
        for search, what in self._index.searches():
            hits = {hit for reading in possible for hit in search(reading)} - claimed
            if len(hits) > 1:
                shown = ", ".join(sorted(hits)[:3])
                return Found(name=name, missing="picture missing: several files may be meant", detail=shown)
            if hits:
                return Found(name=hits.pop(), what=what)
        # Why it may be missing: the last thing that had to be undone.
        undone = [what for _, what in readings(name) if what]
        return Found(name=name, missing=f"picture missing: {undone[-1]}" if undone else "picture missing")

    def _is_file(self, name: str) -> bool:
        path = f"{self._real}/{name}"
        try:
            mode = os.lstat(path).st_mode
            folder = os.path.dirname(path)  # noqa: PTH120 - a hundred thousand times, and Path is slow
            inside = self._inside.get(folder)
            if inside is None:
                inside = self._inside[folder] = self._contains(folder)
            if stat.S_ISLNK(mode):
                mode = os.stat(path).st_mode  # noqa: PTH116
                inside = self._contains(path)
        except (OSError, ValueError):  # a name too long, or with bytes the file system refuses
            return False
        if stat.S_ISREG(mode) and not inside:
            raise LeavesRootError("is a link that leads out of the picture folder")
        return stat.S_ISREG(mode)

    def _contains(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")


class _Index:
    """All picture files below a folder, by their names in several loose forms; links are left out."""

    def __init__(self, root: str) -> None:
        self.normal: dict[str, list[str]] = defaultdict(list)
        self.folded: dict[str, list[str]] = defaultdict(list)
        self.bare: dict[str, list[str]] = defaultdict(list)
        self.stem: dict[str, list[str]] = defaultdict(list)
        for name in _pictures(root):
            folded = _fold(name)
            self.normal[unicodedata.normalize("NFC", name)].append(name)
            self.folded[folded].append(name)
            self.bare[folded.rpartition("/")[2]].append(name)
            self.stem[folded.rpartition(".")[0]].append(name)

    def searches(self) -> list[tuple[_Search, str]]:
        """The loose rules, the strictest first, each with the repair that it is."""
        return [
            (lambda name: self.normal.get(unicodedata.normalize("NFC", name), ()),
             "file name in another Unicode normal form"),
            (lambda name: self.folded.get(_fold(name), ()), "file name in another case"),
            (lambda name: self.bare.get(_fold(name).rpartition("/")[2], ()), "picture in another folder"),
            (self._other_extension, "file name with another extension or none"),
        ]  # fmt: skip

    def _other_extension(self, name: str) -> Iterable[str]:
        folded = _fold(name)
        stem, dot, suffix = folded.rpartition(".")
        # In the very folder that was named: elsewhere the same stem is the same part's mask.
        return self.stem.get(stem if dot and f".{suffix}" in _SUFFIXES else folded, ())


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _pictures(root: str) -> Iterable[str]:
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        below = os.path.relpath(folder, root)
        for file in sorted(files):
            count += 1
            if count > _MOST:
                return
            suffix = "." + file.rpartition(".")[2].lower()
            if not file.startswith(".") and suffix in _SUFFIXES and not Path(folder, file).is_symlink():
                yield file if below == "." else f"{below}/{file}"


def picture_folder(beside: Path, names: Sequence[str]) -> Path:
    """The folder that holds most of the pictures: around the dataset file, or `images` beside it.

    Looked at are `beside` itself and the folders in it and in its parent, two levels down.
    """
    sample = sorted(set(names))[:: max(1, len(set(names)) // 200)]
    best, most = beside / "images" if (beside / "images").is_dir() else beside, 0
    for folder in _around(beside):
        there = sum(_plainly_there(folder, name) for name in sample)
        if there > most:
            best, most = folder, there
    return best


def _around(beside: Path) -> Iterable[Path]:
    parent = beside.absolute().parent
    yield beside / "images"
    yield beside
    yield parent / "images"
    inner = _folders(beside)
    yield from inner
    yield from (deeper for folder in inner for deeper in _folders(folder))
    yield from _folders(parent)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                each.name for each in entries if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")
            )
    except OSError:
        return []
    return [folder / name for name in found[:200]]


def _plainly_there(folder: Path, name: str) -> bool:
    try:
        possible = [reading for reading, _ in readings(checked(name))]
    except LeavesRootError:
        return False
    return any(_is_file(f"{folder}/{reading}") for reading in possible)


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)  # noqa: PTH113 - many, and Path is slow
    except ValueError:
        return False
