"""A COCO file as it was given: parsed, told from what it is not, but not yet trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defect_detect.data.repairs import Log
from defect_detect.errors import DatasetError, Fault, InputError

SPLITS = ("train", "val", "test")
_BOM = b"\xef\xbb\xbf"
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file of the input.

    split   the ready split it is, or `` for a file that is yet to be split
    name    how messages call it
    data    the parsed JSON: a mapping with the lists images, annotations, categories
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
        raise DatasetError(Fault(where=str(source), expected="a COCO file or a folder", found="nothing there"))
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
    try:
        raw, data = read_json(path, error=DatasetError)
    except DatasetError as error:
        log.faults.extend(fault for fault in error.faults if isinstance(fault, Fault))
        return None
    if raw.startswith(_BOM):
        log.repaired(name, "byte order mark", "UTF-8 with BOM", "UTF-8")
    wrong = _kind(data)
    if wrong is not None:
        log.refused(name, expected="COCO instances (images, annotations, categories)", found=wrong[0], fix=wrong[1])
        return None
    info = data.get("info")
    own = isinstance(info, dict) and info.get("normalized_by") == "defect_detect"
    return Source(split=split, name=name, data=data, sha256=hashlib.sha256(raw).hexdigest(), own=own)


def read_json(path: Path, *, error: type[InputError]) -> tuple[bytes, Any]:
    """The bytes and the parsed value of a JSON file; NaN and Infinity literals come through as floats.

    Raises:
        InputError: of the class `error`: not readable, not UTF-8, not JSON (with line and column),
            a key twice in one object, or nested too deeply.
    """
    where = str(path)
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise error(Fault(where=where, expected="a readable file", found=problem.strerror or str(problem))) from None
    try:
        text = raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        found = f"byte 0x{raw[problem.start]:02x} at offset {problem.start} (line {line})"
        raise error(Fault(where=where, expected="UTF-8", found=found, fix="Save the file as UTF-8.")) from None
    if not text.strip():
        raise error(Fault(where=where, expected="JSON", found=f"an empty file ({len(raw)} bytes)"))
    try:
        return raw, json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as problem:
        place = f"{where}:{problem.lineno}:{problem.colno}"
        raise error(Fault(where=place, expected="JSON", found=_complaint(text, problem))) from None
    except _TwiceError as problem:
        found = f"the key {problem.key!r} twice in one object"
        raise error(Fault(where=where, expected="each key once", found=found)) from None
    except RecursionError:
        raise error(Fault(where=where, expected="COCO's depth of nesting", found="hundreds of levels")) from None
    except ValueError as problem:
        raise error(Fault(where=where, expected="JSON", found=str(problem))) from None


class _TwiceError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise _TwiceError(key)
            seen.add(key)
    return built


def _complaint(text: str, problem: json.JSONDecodeError) -> str:
    before = text[: problem.pos].rstrip()
    if problem.pos >= len(text.rstrip()):
        return "the end of the file: it is cut off"
    if before.endswith(",") and text[problem.pos] in "]}":
        return "a comma before a closing bracket"
    return f"{problem.msg.lower()} near {text[problem.pos : problem.pos + 20]!r}"


def _kind(data: Any) -> tuple[str, str] | None:
    """What the file is and what to do, if it isn't COCO instances."""
    if isinstance(data, list):
        if data and isinstance(data[0], dict) and "score" in data[0]:
            return "a list of detection results", "Results go to --predictions; give the ground truth here."
        return "a list", "Give the file that lists images, annotations and categories."
    if not isinstance(data, dict):
        return f"a JSON {type(data).__name__}", ""
    return _other_format(data) or _incomplete(data)


def _other_format(data: dict[str, Any]) -> tuple[str, str] | None:
    annotations = data.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    keys = first.keys() if isinstance(first, dict) else ()
    if "segments_info" in keys:
        return "COCO panoptic", "Export instances instead."
    if "caption" in keys:
        return "COCO captions", "Export instances instead."
    if "_via_img_metadata" in data or any(_is_via(entry) for entry in data.values()):
        return "a project of the VGG Image Annotator", "Export it as COCO."
    return None


def _is_via(entry: Any) -> bool:
    return isinstance(entry, dict) and "regions" in entry and "filename" in entry


def _incomplete(data: dict[str, Any]) -> tuple[str, str] | None:
    missing = [name for name in _LISTS if name not in data]
    if missing:
        hint = "A file without annotations (image_info) has no ground truth." if missing == ["annotations"] else ""
        return f"no {' and no '.join(missing)}", hint
    for name in _LISTS:
        if not isinstance(data[name], list):
            return f"{name} is a {type(data[name]).__name__}, not a list", ""
    return None
