"""Masks as pictures: MVTec's folders, or one folder of masks for each class.

MVTec    test/<class>/x.png with ground_truth/<class>/x_mask.png; `good` is defect-free, in train/ and test/
classes  images/x.png with masks/<class>/x.png (or x_mask.png)

Every connected patch of a mask (over its corners too) is one defect: such masks don't tell defects apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from defect_detect.data import pixels
from defect_detect.data.formats import pictures
from defect_detect.data.formats.found import Found, Shape, rle

NAME = "masks"
_GOOD = "good"


def recognise(path: Path) -> bool:
    """Whether `path` is a folder laid out in one of the two ways."""
    return _is_mvtec(path) or ((path / "images").is_dir() and any(each.is_dir() for each in _classes(path)))


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, no class order, and the folder that the pictures' names are relative to.

    MVTec's train and test aren't taken as splits: nothing in its train/ has a defect to learn from.

    Raises:
        DatasetError: a mask that is no picture.
    """
    return list(_mvtec(path) if _is_mvtec(path) else _by_class(path)), [], path


def _is_mvtec(path: Path) -> bool:
    return (path / "test").is_dir() and (path / "ground_truth").is_dir()


def _classes(path: Path) -> list[Path]:
    return sorted((path / "masks").iterdir()) if (path / "masks").is_dir() else []


def _mvtec(path: Path) -> Iterator[Found]:
    masks = _by_stem(path, "ground_truth")
    for name in [*pictures.below(path, "train"), *pictures.below(path, "test")]:
        folder, stem = PurePosixPath(name).parts[1], PurePosixPath(name).stem
        if folder == _GOOD:
            yield Found(file=name, shapes=())
            continue
        mask = masks.get((folder, stem))
        # Without its mask the picture is defective at a place that nobody knows: an annotation without one says so.
        unknown = [Shape(where=name, category=folder)]
        yield Found(file=name, shapes=unknown if mask is None else list(_patches(path, mask, folder)))


def _by_class(path: Path) -> Iterator[Found]:
    masks = _by_stem(path, "masks")
    names = sorted({folder for folder, _ in masks})
    for name in pictures.below(path, "images"):
        found = [(each, masks.get((each, PurePosixPath(name).stem))) for each in names]
        yield Found(
            file=name,
            shapes=[shape for each, mask in found if mask is not None for shape in _patches(path, mask, each)],
        )


def _by_stem(path: Path, folder: str) -> Mapping[tuple[str, str], str]:
    """(class folder, stem of the picture) -> mask."""
    return {
        (PurePosixPath(name).parts[1], PurePosixPath(name).stem.removesuffix("_mask")): name
        for name in pictures.below(path, folder)
        if len(PurePosixPath(name).parts) > 2  # noqa: PLR2004 - folder, class, file
    }


def _patches(root: Path, mask: str, category: str) -> Iterator[Shape]:
    from scipy import ndimage

    marked = pixels.read(root / mask).any(axis=2)
    numbered, count = ndimage.label(marked, structure=np.ones((3, 3), np.int64))
    for number in range(1, count + 1):
        yield Shape(where=f"{mask}: patch {number}", category=category, region=rle(numbered == number))
