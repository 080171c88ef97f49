"""Writes tiles as pictures: each large one is decoded once, by the one policy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defect_detect.data import pixels
from defect_detect.data.decoders import threads
from defect_detect.data.files import sha256_file
from defect_detect.data.pictures import Progress
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset, Ints

_AT_A_TIME = 4
"""Large pictures in memory."""
_EFFORT = 1
"""zlib's level: a tile is written for one training, and 6 takes several times as long for a tenth of the size."""


def write(
    data: Dataset, of: Ints, window: Ints, targets: Sequence[Path], progress: Progress | None = None
) -> list[str]:  # fmt: skip
    """Write row t of `window` (T, 4) of picture `of[t]` as an 8-bit PNG to `targets[t]`; the SHA-256 of each file.

    Raises:
        DatasetError: a picture can't be read, or isn't of its declared size.
        OSError: no space.
    """
    sha256 = [""] * len(targets)
    rows: dict[int, list[int]] = {}
    for tile, image in enumerate(of.tolist()):
        rows.setdefault(image, []).append(tile)

    def cut(image: int) -> int:
        shown = _shown(data, image)
        for tile in rows[image]:
            x0, y0, x1, y1 = window[tile].tolist()
            targets[tile].parent.mkdir(parents=True, exist_ok=True)
            _save(shown[y0:y1, x0:x1], targets[tile])
            sha256[tile] = sha256_file(targets[tile])
        return len(rows[image])

    done = 0
    with ThreadPoolExecutor(min(_AT_A_TIME, threads())) as pool:
        for finished in pool.map(cut, rows):
            done += finished
            if progress is not None:
                progress(done, len(targets))
    return sha256


def _shown(data: Dataset, image: int) -> NDArray[np.uint8]:
    """(H, W, 3), or (H, W) where it is grey: a third of the size, and shown alike."""
    path = data.root / data.images.file[image]
    shown = pixels.read(path)
    height, width = shown.shape[:2]
    if [width, height] != data.images.size[image].tolist():
        raise DatasetError(Fault(where=str(path), expected="the picture that was normalized",
                                 found=f"{width} x {height} px", fix="Normalize the dataset again."))  # fmt: skip
    grey = bool((shown[:, :, 0] == shown[:, :, 1]).all() and (shown[:, :, 0] == shown[:, :, 2]).all())
    return shown[:, :, 0] if grey else shown


def _save(shown: NDArray[np.uint8], target: Path) -> None:
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(shown)).save(target, format="PNG", compress_level=_EFFORT)
