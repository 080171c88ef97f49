"""Formats other than COCO: each module recognises its own and hands over what it finds, which becomes COCO.

Our own code throughout: the importers that exist lose something that counts here (docs/formats.md has the trials).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import msgspec

from defect_detect.data.formats import cvat, labelme, masks, severstal, supervisely, voc, yolo
from defect_detect.data.formats.found import Found, to_coco
from defect_detect.data.source import SPLITS, Source
from defect_detect.errors import ConfigError, DatasetError, Fault

_FORMATS: Sequence[ModuleType] = (yolo, supervisely, cvat, voc, labelme, severstal, masks)
NAMES = ("auto", "coco", *(each.NAME for each in _FORMATS))


def recognise(path: Path, said: str = "auto") -> ModuleType | None:
    """The importer for `path`; None: COCO. `said` is one of NAMES.

    Raises:
        ConfigError: no such format.
        DatasetError: several formats fit, or `path` isn't what was said.
    """
    if said not in NAMES:
        raise ConfigError(Fault(where="--format", expected=" | ".join(NAMES), found=repr(said)))
    if said == "coco" or (said == "auto" and _is_coco(path)):
        return None
    fitting = [each for each in _FORMATS if each.recognise(path)]
    if said != "auto":
        chosen = next(each for each in _FORMATS if said == each.NAME)
        if chosen not in fitting:
            expected = (chosen.__doc__ or "").partition("\n")[0].rstrip(".")
            raise DatasetError(Fault(where=str(path), expected=expected, found="nothing like it",
                                     fix="Leave --format out to have it recognised."))  # fmt: skip
        return chosen
    if len(fitting) > 1:
        raise DatasetError(Fault(where=str(path), expected="one format", fix="Say which with --format.",
                                 found=" and ".join(each.NAME for each in fitting)))  # fmt: skip
    return fitting[0] if fitting else None


def read(importer: ModuleType, path: Path) -> tuple[list[Source], Path]:
    """What `path` holds as COCO: a source for each split, or one to be split; and the folder of the pictures.

    Raises:
        DatasetError: it can't be read.
    """
    found, names, root = importer.read(path)
    by_split: dict[str, list[Found]] = {}
    for each in found:
        by_split.setdefault(each.split, []).append(each)
    if set(by_split) != set(SPLITS):
        # Some pictures without a split, or a split that lacks: all are split anew, each once (`train` and `val` of
        # a data.yaml often name the same folder).
        by_split = {"": list({each.file: each for listed in by_split.values() for each in listed}.values())}
    used = {shape.category for each in found for shape in each.shapes}
    classes = [*names, *sorted(used - set(names))]
    _check_names(path, [each.file for each in found], classes)
    return [_source(split, listed, classes, importer.NAME) for split, listed in sorted(by_split.items())], root


def _check_names(path: Path, files: Sequence[str], classes: Sequence[str]) -> None:
    """JSON, in which all of this ends, holds no names that aren't UTF-8."""
    odd = [name for name in dict.fromkeys([*files, *classes]) if not _is_text(name)]
    if odd:
        raise DatasetError(*(
            Fault(where=str(path), expected="names in UTF-8", found=repr(name), fix="Rename it.") for name in odd
        ))  # fmt: skip


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _source(split: str, listed: Sequence[Found], classes: Sequence[str], kind: str) -> Source:
    data = to_coco(listed, classes)
    return Source(
        split=split, name=f"{kind} {split}".strip(), data=data, own=False,
        sha256=hashlib.sha256(msgspec.json.encode(data, order="sorted")).hexdigest(),
    )  # fmt: skip


def _is_coco(path: Path) -> bool:
    return path.suffix.lower() == ".json" or all((path / f"{split}.json").is_file() for split in SPLITS)
