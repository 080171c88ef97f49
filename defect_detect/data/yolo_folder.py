"""A normalized dataset as the folder that YOLO trainers read: `data.yaml`, `images/SPLIT/`, `labels/SPLIT/`.

A line of a label file is `class x y width height` (centre and size, as shares of the picture) or
`class x1 y1 x2 y2 ...` (one closed ring). Such trainers find a label by its picture's path, with the last
`/images/` become `/labels/` and the suffix `.txt`; pictures of equal stem, and folders called `images`, would
lead them astray and get another name. Every picture has a label file; a defect-free one's is empty.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import yaml

from defect_detect.data import coco
from defect_detect.data.files import sync_folder, umask
from defect_detect.data.single_ring import outline
from defect_detect.data.splitfile import not_ours
from defect_detect.errors import ConfigError, DatasetError, Fault
from defect_detect.tables import Bools, Dataset, Floats, Rle

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})
"""What trainers take for a picture, of the kinds that a normalized dataset has."""
_BEGINNINGS = ((b"\xff\xd8", ".jpg"), (b"BM", ".bmp"))
_ROW = b"%d %.8g %.8g %.8g %.8g\n"
RENAMED = "renamed.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a folder holds.

    images, defects  written
    left_out         defects that the format has no place for: crowds and ignored ones, which must not be taught
    empty            defects without a pixel in their picture, so without a ring
    renamed          pictures that got another name, `renamed.json` says which
    """

    images: int
    defects: int
    left_out: int
    empty: int
    renamed: int


def write(root: Path, out: Path, *, splits: Sequence[str] = (), segment: bool | None = None) -> Written:
    """Write splits (none named: all) of the normalized dataset at `root` to the folder `out`, whole or not at all.

    `segment`: rings (True) or boxes (False); None: rings where the dataset has regions.

    Raises:
        DatasetError: no normalized dataset, no such split, no regions for `segment`, or `out` is not empty.
        OSError: no space, no permission.
    """
    tables = [coco.load(root, split) for split in dict.fromkeys(splits or coco.splits(root))]
    regions = all(data.has_masks for data in tables)
    if segment and not regions:
        raise DatasetError(Fault(where=str(root), expected="regions, for labels with rings", found="boxes only"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            Fault(where=str(out), expected="an empty or new folder", found="files", fix="Choose another --out.")
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        names = [name_pictures(data) for data in tables]
        for data, name in zip(tables, names, strict=True):
            _copy(data, name, part / "images" / data.split)
        made = [
            labels(data, name, part / "labels" / data.split, segment=regions if segment is None else segment)
            for data, name in zip(tables, names, strict=True)
        ]
        _describe(part, tables)
        renamed = {
            f"images/{data.split}/{new}": old
            for data, name in zip(tables, names, strict=True)
            for old, new in zip(data.images.file, name, strict=True)
            if old != f"{coco.PICTURES}/{new}"
        }
        if renamed:
            (part / RENAMED).write_bytes(msgspec.json.format(msgspec.json.encode(renamed), indent=1) + b"\n")
        part.chmod(0o777 & ~umask())
        if out.exists():
            out.rmdir()  # empty, as checked above
        part.rename(out)
        sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Written(
        images=sum(len(data.images) for data in tables), defects=sum(each.defects for each in made),
        left_out=sum(each.left_out for each in made), empty=sum(each.empty for each in made), renamed=len(renamed),
    )  # fmt: skip


def name_pictures(data: Dataset) -> list[str]:
    """For each picture of a split the name that it gets below `images/SPLIT/`, so that each has a label of its own.

    Raises:
        DatasetError: a name that leads out of the dataset, as none of ours does.
    """
    taken: set[str] = set()
    names: list[str] = []
    for file in data.images.file:
        path = PurePosixPath(file.removeprefix(f"{coco.PICTURES}/"))
        if ".." in path.parts or path.is_absolute() or not path.name:
            raise DatasetError(not_ours(data.root / f"{data.split}.json", f"a picture called {file!r}"))
        parts = [f"{part}_" if part == coco.PICTURES else part for part in path.parts[:-1]]
        suffix = path.suffix
        if suffix.lower() in SUFFIXES:
            stem = path.stem
        else:
            stem, suffix = path.name, _suffix(data.root / file)
        candidate, number = "/".join([*parts, stem]), 1
        while candidate.casefold() in taken:
            tail = f"_{path.suffix[1:]}" if number == 1 and path.suffix else f"_{number}"
            candidate, number = "/".join([*parts, stem + tail]), number + 1
        taken.add(candidate.casefold())
        names.append(candidate + suffix)
    return names


def labels(data: Dataset, names: Sequence[str], folder: Path, *, segment: bool) -> Written:
    """Write a label file below `folder` for each picture of the split, called as `names` says.

    Raises:
        OSError: no space, no permission.
    """
    defects = data.defects
    taught = np.flatnonzero(defects.counts)
    image = defects.image[taught]
    taught = taught[np.argsort(image, kind="stable")]
    if segment:
        lines, kept = _rings(data, taught)
    else:
        lines, kept = _boxes(data, taught), np.ones(len(taught), np.bool_)
    ends = np.searchsorted(defects.image[taught[kept]], np.arange(1, len(names) + 1)).tolist()
    _files(folder, names, lines, ends)
    return Written(
        images=len(names), defects=int(kept.sum()), left_out=len(defects) - len(taught), empty=int((~kept).sum()),
        renamed=0,
    )  # fmt: skip


def _boxes(data: Dataset, rows: np.ndarray) -> list[bytes]:
    defects = data.defects
    box, size = defects.box[rows], data.images.size[defects.image[rows]]
    row: Floats = np.empty((len(rows), 5))
    row[:, 0] = defects.label[rows]
    row[:, 1:3] = (box[:, :2] + box[:, 2:]) / 2 / size
    row[:, 3:] = (box[:, 2:] - box[:, :2]) / size
    text = _ROW * len(rows) % tuple(row.ravel().tolist())
    return text.splitlines(keepends=True)


def _rings(data: Dataset, rows: np.ndarray) -> tuple[list[bytes], Bools]:
    defects, lines, kept = data.defects, list[bytes](), np.ones(len(rows), np.bool_)
    if any(isinstance(region, Rle) or len(region.rings) > 1 for region in defects.region or ()):
        try:
            import cv2  # noqa: F401 - `outline` needs it for all but single rings
        except ImportError:
            raise ConfigError(
                Fault(where="regions", expected="OpenCV, to trace masks", found="not installed",
                      fix="pip install opencv-python-headless, or write boxes only (--boxes).")
            ) from None  # fmt: skip
    label, image, size = defects.label.tolist(), defects.image.tolist(), data.images.size.tolist()
    for at, row in enumerate(rows.tolist()):
        width, height = size[image[row]]
        ring = outline((defects.region or ())[row], width, height) / (width, height)
        kept[at] = len(ring) > 0
        if len(ring):
            lines.append((b"%d" + b" %.8g" * (2 * len(ring)) + b"\n") % (label[row], *ring.ravel().tolist()))
    return lines, kept


def _files(folder: Path, names: Sequence[str], lines: Sequence[bytes], ends: Sequence[int]) -> None:
    """One file for each name, with the lines up to its end; no file was there before."""
    for inner in {PurePosixPath(name).parent for name in names} | {PurePosixPath()}:
        (folder / inner).mkdir(parents=True, exist_ok=True)
    below, start = f"{folder}/", 0
    for name, end in zip(names, ends, strict=True):
        # Hundreds of thousands of files: the system's own calls take half of what file objects do.
        handle = os.open(f"{below}{name.rpartition('.')[0]}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            text = b"".join(lines[start:end])
            while text:
                text = text[os.write(handle, text) :]
        finally:
            os.close(handle)
        start = end


def _copy(data: Dataset, names: Sequence[str], folder: Path) -> None:
    """Copies, not links: some trainers mend pictures in place."""
    for inner in {PurePosixPath(name).parent for name in names} | {PurePosixPath()}:
        (folder / inner).mkdir(parents=True, exist_ok=True)
    for file, name in zip(data.images.file, names, strict=True):
        shutil.copyfile(data.root / file, folder / name)


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2)
    return next((suffix for beginning, suffix in _BEGINNINGS if start == beginning), ".png")


def _describe(folder: Path, tables: Iterable[Dataset]) -> None:
    listed = list(tables)
    content: Mapping[str, object] = {
        # No `path`: the folders are then searched beside this file, wherever it is moved to.
        **{data.split: f"images/{data.split}" for data in listed},
        "names": {label: category.name for label, category in enumerate(listed[0].categories)},
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
