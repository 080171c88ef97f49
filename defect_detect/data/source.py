"""A COCO file as it was given: parsed, told from what it is not, but not yet trusted."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from defect_detect.data import image_rows, rows, streaming
from defect_detect.data.kinds import foreign
from defect_detect.data.parsing import BOM, build, check, parse, read_bytes
from defect_detect.data.repairs import Log
from defect_detect.errors import DatasetError, Fault

SPLITS = ("train", "val", "test")
_MISPLACED = re.compile(rb"\\-?(?:NaN|Infinity)|(?:NaN|Infinity)[ \t\r\n]*:")
_OF_OBJECT = 48
"""Bytes of text for each object, on average, from which on columns take less room than the text."""


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
        data = _quickly(text, literals) or _whole(raw, where=str(path), literals=literals)
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


def _quickly(text: rows.Text, literals: Counter[str]) -> dict[str, Any] | None:
    """The parsed file with images and annotations as columns; None where it must be read whole to say what it is."""
    raw = text.get()
    if raw.count(b"{") * _OF_OBJECT > len(raw):
        return None  # columns would take more room than the text
    sound, there = _without_literals(raw)
    scanned = text if sound is raw else rows.Text(sound, text.get)
    found = rows.scan(scanned, "annotations")
    if found is None:
        return None
    listed, start, end = found
    if sound is not raw:
        # Entries have the same places in the text with its literals; columns have no entry with one.
        scanned.let_go()
    with contextlib.suppress(DatasetError):
        rest = raw[: start + 1] + raw[end - 1 :]
        quick: dict[str, Any] = {"annotations": listed}
        images = image_rows.scan(rest)
        if images is not None:
            quick["images"], start, end = images
            rest = rest[: start + 1] + rest[end - 1 :]
        data: dict[str, Any] = parse(rest, where="", error=DatasetError)
        if not _is_own(data):
            literals.update(there)
            return data | quick
    return None


def _without_literals(raw: bytes) -> tuple[bytes, dict[str, int]]:
    """The text with strings of the same length for NaN and Infinity, and how many there are.

    What is inside a string ends it so, after which the text is no JSON any more. As it is where one is a key or
    behind a backslash.
    """
    if (b"NaN" not in raw and b"Infinity" not in raw) or _MISPLACED.search(raw):
        return raw, {}
    there = {name: raw.count(name.encode()) for name in ("NaN", "Infinity", "-Infinity")}
    there["Infinity"] -= there["-Infinity"]
    for name in ("-Infinity", "Infinity", "NaN"):
        if there[name]:
            raw = raw.replace(name.encode(), b'"' + b"-" * (len(name) - 2) + b'"')
    return raw, {name: times for name, times in there.items() if times}


def _whole(raw: bytes, *, where: str, literals: Counter[str]) -> Any:
    """The parsed file; of a list, which it shouldn't be, what tells its kind: its first object."""
    check(raw, where=where, error=DatasetError)
    if not streaming.is_list(raw):
        return build(raw.removeprefix(BOM), where=where, error=DatasetError, literals=literals)
    listed = streaming.entries(raw, where=where, error=DatasetError, literals=literals)
    return list(islice((entry for entry in listed if isinstance(entry, dict)), 1))


def _is_own(data: dict[str, Any]) -> bool:
    info = data.get("info")
    return isinstance(info, dict) and info.get("normalized_by") == "defect_detect"
