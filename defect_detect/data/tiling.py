"""Cuts large pictures into tiles that overlap: a normalized dataset made of another one.

Only detectors see it. What they say of tiles is brought back to the whole pictures (`untiling`) before
anything is judged. A tile's `source_file` names its picture, its attributes `x` and `y` where it lies.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from defect_detect.data import coco, tile_pictures
from defect_detect.data.files import atomic_write, sync_folder, umask
from defect_detect.data.pictures import Progress
from defect_detect.data.pieces import Pieces, pieces
from defect_detect.data.pixels import DECODE_POLICY
from defect_detect.data.records import SCHEMA, DatasetFile, SplitSummary, Tally
from defect_detect.data.tiling_terms import check, words
from defect_detect.data.windows import windows
from defect_detect.errors import DatasetError, Fault
from defect_detect.job import Tiling
from defect_detect.tables import Bools, Dataset, Defects, Images, Ints

__all__ = ["SplitTiles", "Story", "check", "make", "refuse_tiles", "story", "words"]

_METHOD = 1
"""Goes into the hash that names a folder of tiles: raised whenever the same pictures would be cut otherwise."""
_STORY = "tiling.json"


class SplitTiles(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one split; `tiles` are those kept, `left_out` the defect-free ones beyond the ratio."""

    pictures: int
    tiles: int
    defect_free: int
    left_out: int


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """`tiling.json` of a dataset of tiles."""

    tiling: Tiling
    fingerprints: dict[str, str]
    """Of the splits that were cut."""
    splits: dict[str, SplitTiles]


def story(root: Path) -> Story | None:
    """How the dataset was cut out of another one; None where it holds whole pictures.

    Raises:
        DatasetError: its `tiling.json` isn't one of ours.
    """
    try:
        return msgspec.json.decode((root / _STORY).read_bytes(), type=Story)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DatasetError(Fault(where=str(root / _STORY), expected="our own file", found=str(error))) from error


def refuse_tiles(root: Path) -> None:
    """Make sure that nobody judges tiles as if they were parts.

    Raises:
        DatasetError: the dataset is one of tiles.
    """
    if story(root) is not None:
        raise DatasetError(Fault(
            where=str(root), expected="a dataset of whole pictures", found="tiles of another dataset",
            fix="Give the dataset that they were cut from, with --tile.",
        ))  # fmt: skip


def make(root: Path, parent: Path, tiling: Tiling, progress: Progress | None = None) -> Path:
    """The root of the tiles of the dataset at `root`: a folder in `parent` named by its content, made if need be.

    The tiles of a picture keep its split and its group. Of `train`, defect-free tiles are left out beyond
    `tiling.defect_free` for each tile with a defect that counts, which ones is decided by a hash of their
    names; `val` and `test` are covered whole.

    Raises:
        ConfigError: see `check`.
        DatasetError: `root` is no normalized dataset, or one of tiles.
        OSError: `parent` can't be written, a picture can't be read.
    """
    check(tiling)
    refuse_tiles(root)
    splits = {split: coco.load(root, split) for split in coco.splits(root)}
    out = parent / _stamp(splits, tiling)[:16]
    if coco.is_normalized(out):
        return out
    parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=parent))
    try:
        _write(root, part, splits, tiling, progress)
        part.chmod(0o777 & ~umask())
        _settle(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out


def _settle(part: Path, out: Path) -> None:
    try:
        part.rename(out)
    except OSError:
        # Somebody else made the same tiles in the meantime.
        if not coco.is_normalized(out):
            raise
        shutil.rmtree(part)
    sync_folder(out.parent)


def _stamp(splits: Mapping[str, Dataset], tiling: Tiling) -> str:
    """SHA-256 over everything that the tiles depend on."""
    parts = {
        "method": _METHOD, "schema": SCHEMA, "policy": DECODE_POLICY, "tiling": tiling,
        "splits": {split: (data.fingerprint, data.scale, data.unit) for split, data in splits.items()},
    }  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _write(
    root: Path, part: Path, splits: Mapping[str, Dataset], tiling: Tiling, progress: Progress | None
) -> None:  # fmt: skip
    cut = {split: _cut(data, tiling) for split, data in splits.items()}
    total, done = sum(len(each.of) for each in cut.values()), 0
    next_image, next_defect = 1, 1
    written: dict[str, Dataset] = {}
    for split, each in cut.items():
        data = splits[split]
        told = progress and _shifted(progress, done, total)
        names = _names(data, each)
        sha256 = tile_pictures.write(data, each.of, each.window, [part / coco.PICTURES / name for name in names], told)
        tiles = _tables(part, data, each, names, first=(next_image, next_defect))
        origin = coco.Origin(
            sha256=sha256, source_split=[split] * len(names), source_file=[_name(data, row) for row in each.of.tolist()]
        )
        written[split] = coco.write(tiles, origin)
        next_image, next_defect, done = next_image + len(names), next_defect + len(each.defect), done + len(names)
    told_of = Story(
        tiling=tiling,
        fingerprints={split: data.fingerprint for split, data in splits.items()},
        splits={
            split: SplitTiles(
                pictures=len(splits[split].images), tiles=len(data.images), defect_free=int(data.defect_free.sum()),
                left_out=cut[split].left_out,
            )
            for split, data in written.items()
        },
    )  # fmt: skip
    atomic_write(part / "repairs.jsonl", b"")
    atomic_write(part / _STORY, msgspec.json.format(msgspec.json.encode(told_of), indent=2) + b"\n")
    described = msgspec.json.encode(_described(coco.describe(root), written, _stamp(splits, tiling)))
    atomic_write(part / "dataset.json", msgspec.json.format(described, indent=2) + b"\n")


def _cut(data: Dataset, tiling: Tiling) -> Pieces:
    """All tiles of a split in the order of their names, thinned where they are for training."""
    found = pieces(data, [windows(int(w), int(h), tiling) for w, h in data.images.size], tiling.min_visible)
    if data.split != "train":
        return found
    free = np.ones(len(found.of), np.bool_)
    free[found.tile] = False
    defective = np.unique(found.tile[~(found.ignore | data.defects.crowd[found.defect])])
    names = _names(data, found)
    drawn = sorted(np.flatnonzero(free).tolist(), key=lambda row: hashlib.sha256(names[row].encode()).digest())
    out = drawn[int(np.ceil(tiling.defect_free * len(defective))) :]
    kept: Bools = np.ones(len(found.of), np.bool_)
    kept[out] = False
    return found.take(kept)


def _tables(part: Path, data: Dataset, cut: Pieces, names: Sequence[str], *, first: tuple[int, int]) -> Dataset:
    """The tiles as a split of a dataset; `first` ids of its images and defects."""
    image, defect = first
    size: Ints = cut.window[:, 2:] - cut.window[:, :2]
    defects = data.defects
    return Dataset(
        root=part,
        split=data.split,
        categories=data.categories,
        images=Images(
            file=tuple(f"{coco.PICTURES}/{name}" for name in names),
            id=np.arange(image, image + len(names), dtype=np.int64),
            size=size,
            group=data.images.group[cut.of],
            source_id=tuple(names),
            attribute={"x": cut.window[:, 0].copy(), "y": cut.window[:, 1].copy()},
        ),
        defects=Defects(
            image=cut.tile, label=defects.label[cut.defect], box=cut.box, area=defects.area[cut.defect] * cut.share,
            crowd=defects.crowd[cut.defect], ignore=cut.ignore, region=cut.region,
            id=np.arange(defect, defect + len(cut.defect), dtype=np.int64),
            source_id=tuple(defects.source_id[row] for row in cut.defect.tolist()),
        ),
        scale=data.scale,
        unit=data.unit,
    )  # fmt: skip


def _described(whole: DatasetFile, written: Mapping[str, Dataset], stamp: str) -> DatasetFile:
    images = sum(len(data.images) for data in written.values())
    defects = sum(len(data.defects) for data in written.values())
    return msgspec.structs.replace(
        whole,
        input=stamp,
        images=Tally(given=images, kept=images),
        annotations=Tally(given=defects, kept=defects),
        splits={
            split: SplitSummary(
                fingerprint=data.fingerprint, images=len(data.images), defect_free=int(data.defect_free.sum()),
                defects=len(data.defects), quarantined_images=0, quarantined_defects=0,
            )
            for split, data in written.items()
        },
    )  # fmt: skip


def _name(data: Dataset, row: int) -> str:
    return data.images.file[row].removeprefix(f"{coco.PICTURES}/")


def _names(data: Dataset, cut: Pieces) -> list[str]:
    """`<picture>/<x>_<y>.png`: a folder for each picture, so no two can meet."""
    corners = cut.window[:, :2].tolist()
    return [f"{_name(data, row)}/{x:06d}_{y:06d}.png" for row, (x, y) in zip(cut.of.tolist(), corners, strict=True)]


def _shifted(progress: Progress, by: int, total: int) -> Progress:
    return lambda done, _: progress(by + done, total)
