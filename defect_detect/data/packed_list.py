"""A list of records of which all but the last are packed: hundreds of thousands take a few bytes each.

A file of which every entry must be spoken of has a record of each, and as objects these are larger than the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import msgspec

_BLOCK = 1024
"""Records that are packed together. As many stay objects at the end, where records are taken back."""
_QUICK = 1

T = TypeVar("T", bound=msgspec.Struct)


class PackedList(Sequence[T]):
    """Records of one kind that JSON can hold, in their order. Equal to any sequence of the same records."""

    __slots__ = ("_blocks", "_kind", "_lately", "_open")

    def __init__(self, kind: type[T], records: Iterable[T] = ()) -> None:
        self._kind = kind
        self._blocks: list[bytes] = []
        self._open: list[T] = []
        self._lately: tuple[int, list[T]] = (-1, [])
        for record in records:
            self.append(record)

    def append(self, record: T) -> None:
        """Add a record at the end."""
        self._open.append(record)
        if len(self._open) >= 2 * _BLOCK:
            self._blocks.append(_packed(self._open[:_BLOCK]))
            del self._open[:_BLOCK]

    def cut(self, length: int) -> None:
        """Forget all records from place `length` on."""
        self._unpack(length)
        del self._open[length - len(self._blocks) * _BLOCK :]

    def change(self, changed: Callable[[int, T], T], since: int = 0) -> None:
        """Put what `changed` makes of a place and its record there, from place `since` on."""
        for number in range(since // _BLOCK, len(self._blocks)):
            first = number * _BLOCK
            before = self._block(number)
            after = [changed(first + at, one) if first + at >= since else one for at, one in enumerate(before)]
            if any(a is not b for a, b in zip(after, before, strict=True)):
                self._blocks[number] = _packed(after)
        self._lately = (-1, [])
        first = len(self._blocks) * _BLOCK
        for at in range(max(since - first, 0), len(self._open)):
            self._open[at] = changed(first + at, self._open[at])

    def lines(self) -> Iterator[bytes]:
        """All records as lines of JSON, many lines at a time."""
        for block in self._blocks:
            yield zlib.decompress(block)
        yield _lines(self._open)

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._open)

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        place = at + len(self) if at < 0 else at
        if not 0 <= place < len(self):
            raise IndexError(at)
        number, within = divmod(place, _BLOCK)
        if number >= len(self._blocks):
            return self._open[place - len(self._blocks) * _BLOCK]
        return self._block(number)[within]

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._blocks)):
            yield from self._unpacked(self._blocks[number])
        yield from self._open

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes) or len(other) != len(self):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self[:3])}{', ...' if len(self) > 3 else ''})"  # noqa: PLR2004 - a few

    def _unpack(self, since: int) -> None:
        """Make objects of all blocks from the one on that holds place `since`."""
        first = max(since, 0) // _BLOCK
        if first < len(self._blocks):
            self._open[:0] = [one for block in self._blocks[first:] for one in self._unpacked(block)]
            del self._blocks[first:]
        self._lately = (-1, [])

    def _block(self, number: int) -> list[T]:
        if self._lately[0] != number:
            self._lately = (number, self._unpacked(self._blocks[number]))
        return self._lately[1]

    def _unpacked(self, block: bytes) -> list[T]:
        kind: Any = list[self._kind]  # type: ignore[name-defined]  # a type that is known when it runs
        listed: list[T] = msgspec.json.decode(b"[" + zlib.decompress(block)[:-1].replace(b"\n", b",") + b"]", type=kind)
        return listed


def _lines(records: Sequence[msgspec.Struct]) -> bytes:
    return b"".join([msgspec.json.encode(record) + b"\n" for record in records])


def _packed(records: Sequence[msgspec.Struct]) -> bytes:
    return zlib.compress(_lines(records), _QUICK)
