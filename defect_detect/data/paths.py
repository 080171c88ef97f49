"""File names as people's exports have them, as names below a folder; those that lead out are refused."""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

_DRIVE = re.compile(r"^[A-Za-z]:")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_LOCAL_FILES = "/data/local-files/?d="
"""Label Studio's links to files of its own machine."""
_LONGEST = 4096
_LETTERS = string.digits + string.ascii_letters + "_-"
_KINDS = bytes(
    ord("/" if each == "/" else "a" if each in _LETTERS else "e" if each == ")" else "m" if each in ".(+=@, " else "x")
    for each in map(chr, range(256))
)
"""Of each byte: whether it may stand anywhere in a part of a simple name, not at its beginning, or only amid it."""
_LONGEST_SIMPLE = 255


class LeavesRootError(ValueError):
    """A name that points outside the picture folder, or that no file should have; says how."""


def checked(name: str) -> str:
    """The name, if files may be called so.

    Raises:
        LeavesRootError: control characters (they break lists of files), lone surrogates, or endless.
    """
    if any(ord(character) < 0x20 or character == "\x7f" for character in name):  # noqa: PLR2004 - C0 controls
        raise LeavesRootError("holds control characters, which no file name can have here")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):  # noqa: PLR2004 - surrogates
        raise LeavesRootError("holds characters that no file name can have")
    if len(name) > _LONGEST:
        raise LeavesRootError(f"is {len(name):,} characters long")
    return name


def readings(name: str) -> Iterator[tuple[str, str]]:
    r"""Names below the folder that `name` may mean, the plainest first, each with the repair it takes.

    `./`, `\`, the folders of another machine, URLs and their %20 are undone. POSIX, relative, without `..`.

    Raises:
        LeavesRootError: a reading leads out by `..`.
    """
    yield from _below(name, "")
    posix = name.replace("\\", "/")
    if posix != name:
        yield from _below(posix, "backslashes in the file name")
    bare, what = _without_machine(posix)
    if what:
        parts = [part for part in bare.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise LeavesRootError("has '..' in it")
        for start in range(len(parts)):
            yield "/".join(parts[start:]), what
    plain = unquote(posix, errors="surrogateescape")
    if plain != posix:
        for reading, _ in readings(checked(plain)):
            yield reading, "URL-encoded file name"


def simple(names: Sequence[str]) -> bool:
    """Whether each name means one thing on every system: parts of letters, digits, `_-` and, amid them, `.()+=@, `."""
    if not names:
        return True
    try:
        kinds = b"/%b/" % "/".join(names).encode("ascii").translate(_KINDS)
    except UnicodeEncodeError:
        return False
    return max(map(len, names)) <= _LONGEST_SIMPLE and not any(
        wrong in kinds for wrong in (b"x", b"//", b"/e", b"/m", b"m/")
    )


def _below(name: str, what: str) -> Iterator[tuple[str, str]]:
    if name.startswith(("/", "\\\\")) or _DRIVE.match(name) or _SCHEME.match(name):
        return
    normal = posixpath.normpath(name)
    if normal.split("/")[0] == "..":
        raise LeavesRootError("leads out of the picture folder by '..'")
    if normal != ".":
        yield normal, what or ("" if normal == name else "file name not in its shortest form")


def _without_machine(posix: str) -> tuple[str, str]:
    """The path without host, drive or root, and the repair; `` where there is none of them."""
    if posix.startswith(_LOCAL_FILES):
        return posix.removeprefix(_LOCAL_FILES), "URL for a file name"
    scheme = _SCHEME.match(posix)
    if scheme:
        path = posix[scheme.end() :].partition("#")[0]
        before, mark, query = path.partition("?")
        return (query.partition("d=")[2] or before) if mark else before, "URL for a file name"
    drive = _DRIVE.match(posix)
    if drive or posix.startswith("/"):
        return posix[drive.end() if drive else 0 :], "absolute path of another machine"
    return posix, ""
