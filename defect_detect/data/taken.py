"""What is kept of the input, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from defect_detect.data.listing import Entry
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.sound import Sound, joined


@dataclass(slots=True)
class Intake:
    """What is kept, and what was left out.

    images    position -> entry and picture; only `kept` positions count
    sound     annotations of kept images
    alike     of each image the first file among those that look like it; None: not looked at
    out       of each quarantined annotation: its record in the log, and the position of its image if known
    """

    images: list[tuple[Entry, Picture]]
    kept: list[int] = field(default_factory=list)
    sound: Sound = field(default_factory=lambda: joined((), ()))
    out: list[tuple[int, int | None]] = field(default_factory=list)
    alike: list[str] | None = None
    given_images: int = 0
    given_annotations: int = 0


def leave_out(
    taken: Intake, log: Log, where: str, *, what: str, before: object, split: str, image: int | None = None
) -> None:
    """Quarantine an annotation."""
    log.quarantined(where, what, before, split)
    taken.out.append((len(log.repairs) - 1, image))
