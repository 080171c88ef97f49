"""One file of named columns, readable in place: a head in MessagePack, then the columns' bytes.

Only plain values have a place in it (numbers, bools, text), so reading one runs nothing.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from defect_detect.tables import Column

Columns = Mapping[str, Column]
Note = TypeVar("Note", bound=msgspec.Struct)

_MAGIC = b"defect-detect columns 1\n"
_ALIGNED = 8
_KINDS = "biufU"


class _Head(msgspec.Struct, frozen=True):
    note: msgspec.Raw
    columns: list[tuple[str, str, list[int], int]]
    """Name, dtype, shape, offset."""
    total: int
    """`_total` of all that follows."""


def encode(note: msgspec.Struct, columns: Columns) -> bytes:
    """The bytes of a file that holds the columns and a note about them."""
    listed, parts, at = list[tuple[str, str, list[int], int]](), list[bytes](), 0
    for name, values in columns.items():
        content = np.ascontiguousarray(values).tobytes()
        listed.append((name, values.dtype.str, list(values.shape), at))
        parts.append(content.ljust(_aligned(len(content)), b"\0"))
        at += len(parts[-1])
    body = b"".join(parts)
    noted = msgspec.Raw(msgspec.msgpack.encode(note))
    head = msgspec.msgpack.encode(_Head(note=noted, columns=listed, total=_total(np.frombuffer(body, np.uint8))))
    front = _MAGIC + len(head).to_bytes(8, "little") + head
    return front.ljust(_aligned(len(front)), b"\0") + body


def read(path: Path, note: type[Note]) -> tuple[Note, Columns]:
    """The note and the columns, which are read-only views into the file.

    Raises:
        OSError: it can't be read.
        ValueError: it is no such file, or was damaged.
        msgspec.DecodeError: likewise.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = len(_MAGIC) + 8
    length = int.from_bytes(content[len(_MAGIC) : start], "little")
    if content[: len(_MAGIC)] != _MAGIC or _aligned(start + length) > len(content):
        raise ValueError("no file of columns")
    head = msgspec.msgpack.decode(content[start : start + length], type=_Head)
    body = np.frombuffer(memoryview(content)[_aligned(start + length) :], np.uint8)
    if head.total != _total(body):
        raise ValueError("a damaged file of columns")
    columns = {name: _column(body, dtype, shape, at) for name, dtype, shape, at in head.columns}
    return msgspec.msgpack.decode(head.note, type=note), columns


def _column(body: Column, dtype: str, shape: list[int], at: int) -> Column:
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS:
        raise ValueError(f"a column of {dtype}")
    size = math.prod(shape)
    return np.frombuffer(body, kind, size, at).reshape(shape) if size else np.zeros(shape, kind)


def _aligned(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _total(body: Column) -> int:
    """A sum of the 8-byte words in which each place has a weight of its own, modulo 2^64."""
    words = body.view(np.uint64)
    return int(np.dot(words, np.arange(1, 2 * len(words), 2, dtype=np.uint64)))
