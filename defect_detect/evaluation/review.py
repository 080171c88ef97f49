"""A review: what people decided about misses, false alarms and a sample of hits. The file is docs/review.md's.

JSON lines: a header that names the split, then one entry for each defect or place that somebody looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from defect_detect import job
from defect_detect.errors import DatasetError, Fault, did_you_mean

VERSION = 1

TRUE_MISS, TRUE_HIT, LABEL_ERROR, BORDERLINE = "true miss", "true hit", "label error", "borderline"
UNLABELLED, FALSE_ALARM = "unlabelled defect", "true false alarm"
OF_DEFECTS = (TRUE_MISS, TRUE_HIT, LABEL_ERROR, BORDERLINE)
OF_PLACES = (UNLABELLED, FALSE_ALARM, BORDERLINE)
_FORM = "docs/review.md shows the form; --review-template FILE makes one to fill in."
DECISIONS = (TRUE_MISS, TRUE_HIT, LABEL_ERROR, BORDERLINE, UNLABELLED, FALSE_ALARM)


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hits a template asks about: so many, drawn at random from those that all detectors found."""

    drawn: int
    of: int
    seed: int


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the entries speak of."""

    review: int
    """Version of the format."""
    dataset: str
    """Fingerprint of the split as it is labelled."""
    split: str
    sample: Sample | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A defect (with `annotation`) or a place where something was said (without), and what people decided.

    `image` is the picture's name in the normalized dataset, boxes are x0 y0 x1 y1 px.
    """

    decision: str
    """One of DECISIONS; empty: nobody has decided yet."""
    image: str
    category: str
    box: tuple[float, float, float, float]
    annotation: int | None = None
    """Annotation id in the normalized dataset."""
    detector: str | None = None
    """Who said it; None: the place is meant, whoever said it."""
    seed: int | None = None
    score: float | None = None
    sampled: bool = False
    """Of the random sample of hits."""
    missed_by: list[str] = []
    true_category: str | None = None
    true_box: tuple[float, float, float, float] | None = None
    """What an unlabelled defect really is, where it isn't what was said."""
    note: str = ""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    header: Header
    entries: list[Entry]

    @property
    def decided(self) -> list[Entry]:
        """The entries that somebody decided."""
        return [entry for entry in self.entries if entry.decision]


def read(path: Path) -> Review:
    """The review in a file.

    Raises:
        DatasetError: no such file, or not a review; everything that is wrong with it.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DatasetError(
            Fault(
                where=str(path),
                expected="a review file",
                found=error.strerror or "none",
                fix="--review-template FILE makes one to fill in.",
            )
        ) from None
    faults: list[Fault | str] = []
    header = None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if header is None:
                header = job.decode(line, Header)
            else:
                entries.append(job.decode(line, Entry))
        except msgspec.MsgspecError as error:
            what = "an entry of a review" if header is not None else "the header of a review"
            faults.append(Fault(where=f"{path.name}:{number}", expected=what, found=str(error), fix=_FORM))
            if header is None:
                break
    if header is None and not faults:
        faults.append(Fault(where=str(path), expected="the header of a review", found="an empty file", fix=_FORM))
    if faults or header is None:
        raise DatasetError(*faults)
    if header.review != VERSION:
        raise DatasetError(Fault(where=f"{path.name}:1", expected=f"version {VERSION}", found=str(header.review),
                                 fix=_FORM))  # fmt: skip
    return Review(header=header, entries=entries)


def encode(review: Review) -> bytes:
    """The review as JSON lines."""
    lines: Sequence[msgspec.Struct] = [review.header, *review.entries]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def unknown_word(entry: Entry) -> Fault | None:
    """What is wrong with the entry's decision as a word."""
    allowed = OF_PLACES if entry.annotation is None else OF_DEFECTS
    if entry.decision in allowed:
        return None
    return Fault(
        where=named(entry), expected=" | ".join(allowed), found=repr(entry.decision),
        fix=did_you_mean(entry.decision, allowed) or "docs/review.md says what each means.",
    )  # fmt: skip


def named(entry: Entry) -> str:
    """How a message calls the entry."""
    if entry.annotation is not None:
        return f"{entry.image}, annotation {entry.annotation}"
    x0, y0, x1, y1 = entry.box
    return f"{entry.image}, {entry.category} at {x0:g} {y0:g} {x1:g} {y1:g}"
