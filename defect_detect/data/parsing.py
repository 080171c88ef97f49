"""JSON of strangers: bounded before it is built, and every complaint with its place.

A parser that meets 200,000 opening brackets, a file that fills the memory, or one key twice with two
meanings must neither crash nor choose. So size, depth and syntax are looked at in the bytes first.
"""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from defect_detect.data.broken import broken, complaint
from defect_detect.data.marks import extent
from defect_detect.errors import Fault, InputError

MAX_BYTES = 2 << 30
"""Of one JSON file. Parsed, it takes about ten times as much memory."""
MAX_DEPTH = 100
"""Levels of nesting. COCO has 6."""
MAX_KEYS = 100_000
_KEYS = 1_000
"""Of an object on average, where a file has more than MAX_KEYS in all."""
MOST_TIMES = 12
"""The file's size that its values may take in memory, as they are estimated; files of annotations take up to 10."""
BOM = b"\xef\xbb\xbf"

_BEGINNINGS = (
    (b"\x00\x05\x16\x07", "an AppleDouble file: what macOS keeps about a file beside it, not the file",
     "Give the file whose name lacks the '._'."),
    (b"\xff\xfe", "UTF-16 text", "Save the file as UTF-8."),
    (b"\xfe\xff", "UTF-16 text", "Save the file as UTF-8."),
    (b"PK\x03\x04", "a zip archive", "Unpack it first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"BZh", "a bzip2 archive", "Unpack it first."),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it first."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first."),
    (b"\x89PNG", "a PNG picture", "Give the JSON file."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the JSON file."),
)  # fmt: skip
_TAR = 257
"""Where a tar archive says what it is."""
_MARKUP = re.compile(rb"\s*<(!doctype html|html|\?xml|annotation)", re.IGNORECASE)
_MEND = "Mend it there, or export the file again."
_PIECE = 1 << 20
_SMALL = 1 << 20
_OBJECT, _LIST, _VALUE = 232, 88, 64
"""Bytes that one takes in Python, roughly: an object of a few keys, a list, a value or a key beside its neighbours."""
_ROOM = 32 << 20


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
        InputError: of the class `error`: what `check` or `build` refuses.
    """
    check(raw, where=where, error=error)
    return build(raw.removeprefix(BOM), where=where, error=error, literals=literals)


def check(raw: bytes, *, where: str, error: type[InputError]) -> None:
    """Refuse what is not JSON, without building anything of it; NaN and Infinity count as numbers.

    Raises:
        InputError: of the class `error`: not UTF-8, not JSON (with line and column), or more than MAX_DEPTH levels
            of nesting. What passes may still have a fault that `build` meets.
    """
    for start, found, fix in _BEGINNINGS:
        if raw.startswith(start):
            raise error(Fault(where=where, expected="JSON", found=found, fix=fix))
    if raw[_TAR : _TAR + 5] == b"ustar":
        raise error(Fault(where=where, expected="JSON", found="a tar archive", fix="Unpack it first."))
    if _MARKUP.match(raw):
        raise error(Fault(where=where, expected="JSON", found="HTML or XML", fix="Export as COCO JSON."))
    body = raw.removeprefix(BOM)
    if (at := _not_utf8(body)) is not None:
        offset = at + len(raw) - len(body)
        line = raw.count(b"\n", 0, offset) + 1
        found = f"byte 0x{raw[offset]:02x} at offset {offset} (line {line})"
        raise error(Fault(where=where, expected="UTF-8", found=found, fix="Save the file as UTF-8."))
    if not body or body.isspace():
        found, fix = f"an empty file ({len(raw)} bytes)", "Export it again; was the disk full?"
        raise error(Fault(where=where, expected="JSON", found=found, fix=fix))
    deepest = depth(body)
    if deepest > MAX_DEPTH:
        raise error(
            Fault(where=where, expected=f"at most {MAX_DEPTH} levels of nesting", found=f"{deepest:,} levels",
                  fix="Files of annotations have 6: give one.")
        )  # fmt: skip
    if (there := broken(body)) is not None:
        place = f"{where}:{there.line}:{there.column}"
        raise error(Fault(where=place, expected="JSON", found=there.found, fix=_MEND))


def build(raw: bytes, *, where: str, error: type[InputError], literals: Counter[str] | None = None) -> Any:
    """The value of what `check` passed, without byte order mark.

    Raises:
        InputError: of the class `error`: a key twice in one object, a number of thousands of digits, or so many
            and so small values that they would fill the memory.
    """
    if len(raw) > _SMALL:
        _bound(raw, where, error)

    def constant(name: str) -> float:
        if literals is not None:
            literals[name] += 1
        return float(name)

    text = raw.decode("utf-8")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=constant)
    except json.JSONDecodeError as problem:
        place = f"{where}:{problem.lineno}:{problem.colno}"
        found = complaint(text, problem.pos, problem.msg)
        raise error(Fault(where=place, expected="JSON", found=found, fix=_MEND)) from None
    except _TwiceError as problem:
        found = f"the key {problem.key!r} twice in one object"
        fix = "Keep the one that is meant."
        raise error(Fault(where=where, expected="each key once", found=found, fix=fix)) from None
    except (ValueError, RecursionError) as problem:
        raise error(Fault(where=where, expected="JSON", found=str(problem), fix="Export the file again.")) from None


def depth(raw: bytes) -> int:
    """The deepest level of brackets outside strings, in one pass and without recursion."""
    return extent(raw).depth


def _not_utf8(raw: bytes) -> int | None:
    """Where the first byte stands that is no UTF-8. Piece by piece: a text of all of it may take four times as much."""
    start = 0
    while start < len(raw):
        end = min(start + _PIECE, len(raw))
        if end < len(raw):
            # A letter is cut nowhere: it has at most three bytes after its first.
            end -= next((back for back in range(4) if raw[end - back] & 0xC0 != 0x80), 0)  # noqa: PLR2004 - UTF-8
        try:
            raw[start:end].decode("utf-8")
        except UnicodeDecodeError as problem:
            return start + problem.start
        start = end
    return None


def _bound(raw: bytes, where: str, error: type[InputError]) -> None:
    found = extent(raw)
    if found.colons > MAX_KEYS + _KEYS * found.objects:
        raise error(
            Fault(where=where, expected=f"objects of at most {_KEYS:,} keys",
                  found=f"{found.colons:,} keys in {found.objects:,} objects",
                  fix="Is it a file of annotations? Files of images, annotations and categories have lists.")
        )  # fmt: skip
    size = _OBJECT * found.objects + _LIST * found.lists + _VALUE * (found.commas + found.colons)
    if size > _ROOM + MOST_TIMES * len(raw):
        raise error(
            Fault(where=where, expected=f"values that take at most {MOST_TIMES} times the file's size in memory",
                  found=f"{found.objects:,} objects and {found.lists:,} lists in {len(raw):,} bytes",
                  fix="Files of annotations have none that are empty or nearly so: export it again.")
        )  # fmt: skip


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
