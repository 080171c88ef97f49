"""A COCO file as it was given: parsed, told from what it is not, but not yet trusted."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from defect_detect.data import image_rows, rows
from defect_detect.data.kinds import foreign
from defect_detect.data.parsing import BOM, parse, read_bytes
from defect_detect.data.repairs import Log
from defect_detect.errors import DatasetError, Fault

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file of the input.

    split   the ready split it is, or `` for a file that is yet to be split
    name    how messages call it
    data    the parsed JSON: a mapping with the lists images (which may be `image_rows.ImageRows`), annotations
            (which may be `rows.Rows`), categories
    sha256  of its bytes
    own     written by this package: its entries carry the ids of the file before it
    """

    split: str
    name: str
    data: dict[str, Any]
    sha256: str
    own: bool


def files(source: Path) -> tuple[tuple[str, Path], ...]:
    """The split name and path of each file of the input.

    Raises:
        DatasetError: there is no such file, or the folder holds no ready splits.
    """
    if source.is_file():
        return (("", source),)
    if not source.is_dir():
        raise DatasetError(Fault(where=str(source), expected="a COCO file or a folder", found="nothing there",
                                 fix="Is it the right path?"))  # fmt: skip
    found = tuple((split, source / f"{split}.json") for split in SPLITS if (source / f"{split}.json").is_file())
    if {split for split, _ in found} != set(SPLITS):
        have = sorted(path.name for path in source.glob("*.json") if not path.name.startswith("."))
        raise DatasetError(
            Fault(
                where=str(source),
                expected="train.json, val.json and test.json",
                found=", ".join(have) or "no JSON file",
                fix="Name the three splits so, or give one COCO file, which is then split.",
            )
        )
    return found


def read(split: str, path: Path, log: Log) -> Source | None:
    """Parse one file; what makes it unusable goes to the log as refused, and None comes back."""
    name = path.name
    literals = Counter[str]()
    try:
        raw = read_bytes(path, error=DatasetError)
        sha256 = hashlib.sha256(raw).hexdigest()
        text = rows.Text(raw, partial(_again, path, sha256))
        data = _quickly(text) or parse(raw, where=str(path), error=DatasetError, literals=literals)
    except DatasetError as error:
        log.faults.extend(fault for fault in error.faults if isinstance(fault, Fault))
        return None
    if raw.startswith(BOM):
        log.repaired(name, "byte order mark", "UTF-8 with BOM", "UTF-8")
    for literal, times in sorted(literals.items()):
        log.noted(name, f"{literal} literal, which JSON does not have", f"{times} times")
    wrong = foreign(data)
    if wrong is not None:
        log.refused(name, expected="COCO instances (images, annotations, categories)", found=wrong[0], fix=wrong[1])
        return None
    listed = data["annotations"]
    if isinstance(listed, rows.Rows) and not listed.odd:
        # Of such a file little or nothing will be read one by one.
        text.let_go()
    return Source(split=split, name=name, data=data, sha256=sha256, own=_is_own(data))


def _again(path: Path, sha256: str) -> bytes:
    raw = read_bytes(path, error=DatasetError)
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise DatasetError(
            Fault(where=str(path), expected="the file that was read", found="another one: it changed meanwhile",
                  fix="Run it again.")
        )  # fmt: skip
    return raw


def _quickly(text: rows.Text) -> dict[str, Any] | None:
    """The parsed file with images and annotations as columns; None where it must be read whole to say what it is."""
    found = rows.scan(text, "annotations")
    if found is None:
        return None
    listed, start, end = found
    raw = text.get()
    with contextlib.suppress(DatasetError):
        rest = raw[: start + 1] + raw[end - 1 :]
        quick: dict[str, Any] = {"annotations": listed}
        images = image_rows.scan(rest)
        if images is not None:
            quick["images"], start, end = images
            rest = rest[: start + 1] + rest[end - 1 :]
        data: dict[str, Any] = parse(rest, where="", error=DatasetError)
        if not _is_own(data):
            return data | quick
    return None


def _is_own(data: dict[str, Any]) -> bool:
    info = data.get("info")
    return isinstance(info, dict) and info.get("normalized_by") == "defect_detect"
