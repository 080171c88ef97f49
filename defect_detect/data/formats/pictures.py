"""Pictures below a folder, and their sizes: label files often hold neither."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from defect_detect.data import pixels
from defect_detect.data.formats.found import Size
from defect_detect.errors import DatasetError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def below(root: Path, folder: str = ".") -> list[str]:
    """The picture files below `root`/`folder`, POSIX names relative to `root`, sorted; hidden ones are none."""
    return sorted(_walk(root, root / folder))


def _walk(root: Path, folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield (Path(path) / name).relative_to(root).as_posix()


def sizes(root: Path, names: Iterable[str]) -> Mapping[str, Size | None]:
    """Width and height of each picture as it is stored; None where it can't be read."""
    listed = list(names)
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(listed, pool.map(lambda name: _size(root / name), listed), strict=True))


def _size(path: Path) -> Size | None:
    try:
        return pixels.header(path).stored
    except (DatasetError, OSError):
        return None
