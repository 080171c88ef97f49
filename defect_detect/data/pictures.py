"""The picture files: each decoded once, then linked or re-encoded into the normalized dataset."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from defect_detect.data import pixels
from defect_detect.data.files import sha256_file
from defect_detect.errors import DatasetError, Fault

Progress = Callable[[int, int], None]
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file as it stands in the normalized dataset; width and height px as shown.

    file    the name there, which ends in .png where it was re-encoded
    broken  why it can't be used, or ``
    stored  width and height before EXIF orientation
    """

    file: str
    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    sha256: str = ""
    recoded: bool = False
    broken: str = ""


def hashes(root: Path, names: Sequence[str]) -> list[str]:
    """SHA-256 of each file's bytes, `` where it can't be read."""
    with ThreadPoolExecutor(_threads()) as pool:
        return list(pool.map(lambda name: _hash(root / name), names))


def bring(root: Path, names: Sequence[str], out: Path, progress: Progress | None = None) -> list[Picture]:
    """Decode each file of `names` below `root` and put it below `out`, as every framework will see it."""
    taken = set(names)
    targets = [_free(name, taken) for name in names]
    done: list[Picture] = []
    with ThreadPoolExecutor(_threads()) as pool:
        for picture in pool.map(lambda name, target: _bring(root / name, name, target, out), names, targets):
            done.append(picture)
            if progress is not None:
                progress(len(done), len(names))
    return done


def _free(name: str, taken: set[str]) -> str:
    """The name that a re-encoding of `name` gets: its own if it ends in .png, else one with .png added."""
    if name.lower().endswith(".png"):
        return name
    free = f"{name}.png"
    while free in taken:
        free = f"{free.removesuffix('.png')}_.png"
    taken.add(free)
    return free


def _bring(path: Path, name: str, recoded_name: str, out: Path) -> Picture:
    try:
        head = pixels.header(path)
        shown = pixels.read(path)
    except DatasetError as error:
        return Picture(file=name, broken=error.faults[0].found if isinstance(error.faults[0], Fault) else str(error))
    plain = head.plain and PurePosixPath(name).suffix.lower() in _SUFFIXES
    target = out / (name if plain else recoded_name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if plain:
        _link(path, target)
    else:
        from PIL import Image

        Image.fromarray(shown).save(target, format="PNG")
    height, width = shown.shape[:2]
    return Picture(
        file=name if plain else recoded_name, width=width, height=height, stored=head.stored,
        sha256=sha256_file(target), recoded=not plain,
    )  # fmt: skip


def _link(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path.resolve())
    except OSError:  # another file system, or links that the system forbids
        shutil.copyfile(path, target)


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""


def _threads() -> int:
    return min(32, (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1)
