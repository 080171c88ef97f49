"""What is kept of the input, and what was left out."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from defect_detect.data.listing import Entry
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.sound import Sound, joined


@dataclass(frozen=True, slots=True)
class Pairs(Sequence[tuple[Entry, Picture]]):
    """Entries and their pictures, as many."""

    entries: list[Entry] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, at: int) -> tuple[Entry, Picture]: ...
    @overload
    def __getitem__(self, at: slice) -> list[tuple[Entry, Picture]]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return list(zip(self.entries[at], self.pictures[at], strict=True))
        return self.entries[at], self.pictures[at]

    def __iter__(self) -> Iterator[tuple[Entry, Picture]]:
        return zip(self.entries, self.pictures, strict=True)


@dataclass(slots=True)
class LeftOut:
    """Of each quarantined annotation, in their order: its record in the log, and the position of its image or -1."""

    record: array[int] = field(default_factory=lambda: array("q"))
    image: array[int] = field(default_factory=lambda: array("q"))

    def append(self, record: int, image: int | None) -> None:
        """One more."""
        self.record.append(record)
        self.image.append(-1 if image is None else image)

    def cut(self, length: int) -> None:
        """Forget all from place `length` on."""
        del self.record[length:], self.image[length:]

    def __len__(self) -> int:
        return len(self.record)


@dataclass(slots=True)
class Intake:
    """What is kept, and what was left out.

    images    position -> entry and picture; only `kept` positions count
    sound     annotations of kept images
    alike     of each image the first file among those that look like it; None: not looked at
    out       of the quarantined annotations
    """

    images: Pairs
    kept: list[int] = field(default_factory=list)
    sound: Sound = field(default_factory=lambda: joined((), ()))
    out: LeftOut = field(default_factory=LeftOut)
    alike: list[str] | None = None
    given_images: int = 0
    given_annotations: int = 0


def leave_out(
    taken: Intake, log: Log, where: str, *, what: str, before: object, split: str, image: int | None = None
) -> None:
    """Quarantine an annotation."""
    log.quarantined(where, what, before, split)
    taken.out.append(len(log.repairs) - 1, image)
