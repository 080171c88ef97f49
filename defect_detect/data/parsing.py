"""JSON of strangers: bounded before it is parsed, and every complaint with its place.

A parser that meets 200,000 opening brackets, a file that fills the memory, or one key twice with two
meanings must neither crash nor choose. So size and depth are measured on the bytes first.
"""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect.errors import Fault, InputError

MAX_BYTES = 2 << 30
"""Of one JSON file. Parsed, it takes about ten times as much memory."""
MAX_DEPTH = 100
"""Levels of nesting. COCO has 6."""
BOM = b"\xef\xbb\xbf"

_BEGINNINGS = (
    (b"\x00\x05\x16\x07", "an AppleDouble file: what macOS keeps about a file beside it, not the file",
     "Give the file whose name lacks the '._'."),
    (b"\xff\xfe", "UTF-16 text", "Save the file as UTF-8."),
    (b"\xfe\xff", "UTF-16 text", "Save the file as UTF-8."),
    (b"PK\x03\x04", "a zip archive", "Unpack it first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"\x89PNG", "a PNG picture", "Give the JSON file."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the JSON file."),
)  # fmt: skip
_MARKUP = re.compile(rb"\s*<(!doctype html|html|\?xml|annotation)", re.IGNORECASE)
_PIECE = 1 << 20
_STRING = re.compile(rb'"[^"]*"?')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))


def read_json(path: Path, *, error: type[InputError], literals: Counter[str] | None = None) -> tuple[bytes, Any]:
    """The bytes and the parsed value of a JSON file; NaN and Infinity literals come through as floats.

    `literals` counts those that stand in the file: JSON has none of them.

    Raises:
        InputError: of the class `error`: what `read_bytes` or `parse` refuses.
    """
    raw = read_bytes(path, error=error)
    return raw, parse(raw, where=str(path), error=error, literals=literals)


def read_bytes(path: Path, *, error: type[InputError]) -> bytes:
    """The bytes of a JSON file.

    Raises:
        InputError: of the class `error`: not a readable file, or more than MAX_BYTES.
    """
    where = str(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise error(Fault(where=where, expected="a JSON file", found="something that is no regular file",
                              fix="Give the file itself."))  # fmt: skip
        if facts.st_size > MAX_BYTES:
            raise error(
                Fault(where=where, expected=f"at most {MAX_BYTES >> 20:,} MiB", found=f"{facts.st_size >> 20:,} MiB",
                      fix="Split it into several files.")
            )  # fmt: skip
        return path.read_bytes()
    except OSError as problem:
        found = problem.strerror or str(problem)
        fix = "Is it the right path, and may you read it?"
        raise error(Fault(where=where, expected="a readable file", found=found, fix=fix)) from None
    except ValueError:  # a NUL in the name
        found, fix = "no possible file name", "Give another."
        raise error(Fault(where=repr(where), expected="a readable file", found=found, fix=fix)) from None


def parse(raw: bytes, *, where: str, error: type[InputError], literals: Counter[str] | None = None) -> Any:
    """The value of JSON bytes that `where` names in messages.

    Raises:
        InputError: of the class `error`: not UTF-8, not JSON (with line and column), a key twice in one
            object, or more than MAX_DEPTH levels of nesting.
    """
    for start, found, fix in _BEGINNINGS:
        if raw.startswith(start):
            raise error(Fault(where=where, expected="JSON", found=found, fix=fix))
    if _MARKUP.match(raw):
        raise error(Fault(where=where, expected="JSON", found="HTML or XML", fix="Export as COCO JSON."))
    try:
        text = raw.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as problem:
        offset = problem.start + (len(BOM) if raw.startswith(BOM) else 0)
        line = raw.count(b"\n", 0, offset) + 1
        found = f"byte 0x{raw[offset]:02x} at offset {offset} (line {line})"
        raise error(Fault(where=where, expected="UTF-8", found=found, fix="Save the file as UTF-8.")) from None
    if not text.strip():
        found, fix = f"an empty file ({len(raw)} bytes)", "Export it again; was the disk full?"
        raise error(Fault(where=where, expected="JSON", found=found, fix=fix))
    deepest = depth(raw)
    if deepest > MAX_DEPTH:
        raise error(
            Fault(where=where, expected=f"at most {MAX_DEPTH} levels of nesting", found=f"{deepest:,} levels",
                  fix="Files of annotations have 6: give one.")
        )  # fmt: skip
    return _loads(text, where=where, error=error, literals=literals)


def depth(raw: bytes) -> int:
    """The deepest level of brackets outside strings, in one pass and without recursion."""
    # Only escapes can hide a quote; most files have none, and the search for one is fast. Backslashes pair from
    # the left, as `replace` takes them, so what then stands before a quote escapes it.
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw
    brackets = np.frombuffer(_STRING.sub(b"", plain.translate(None, _NOT_STRUCTURE)), np.uint8)
    level = deepest = 0
    for start in range(0, len(brackets), _PIECE):
        piece = brackets[start : start + _PIECE]
        levels = level + np.cumsum(np.where((piece == ord("[")) | (piece == ord("{")), 1, -1), dtype=np.int64)
        level, deepest = int(levels[-1]), max(deepest, int(levels.max()))
    return deepest


def _loads(text: str, *, where: str, error: type[InputError], literals: Counter[str] | None) -> Any:
    def constant(name: str) -> float:
        if literals is not None:
            literals[name] += 1
        return float(name)

    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=constant)
    except json.JSONDecodeError as problem:
        place = f"{where}:{problem.lineno}:{problem.colno}"
        fix = "Mend it there, or export the file again."
        raise error(Fault(where=place, expected="JSON", found=_complaint(text, problem), fix=fix)) from None
    except _TwiceError as problem:
        found = f"the key {problem.key!r} twice in one object"
        fix = "Keep the one that is meant."
        raise error(Fault(where=where, expected="each key once", found=found, fix=fix)) from None
    except (ValueError, RecursionError) as problem:
        raise error(Fault(where=where, expected="JSON", found=str(problem), fix="Export the file again.")) from None


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
    if problem.pos >= len(text.rstrip()) or problem.msg.startswith("Unterminated string"):
        return "the end of the file: it is cut off"
    if before.endswith(",") and text[problem.pos] in "]}":
        return "a comma before a closing bracket"
    if problem.msg == "Extra data":
        return f"more after the end of the JSON: {text[problem.pos : problem.pos + 20]!r}"
    return f"{problem.msg.lower()} near {text[problem.pos : problem.pos + 20]!r}"
