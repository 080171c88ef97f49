"""From what the files list to what is kept: images and defects, each sound, and the count of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from defect_detect.data import sizes
from defect_detect.data.annotations import Draft, draft
from defect_detect.data.categories import Classes
from defect_detect.data.identity import Key, key, oddity
from defect_detect.data.listing import Entry, Listing
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.source import Source
from defect_detect.data.spans import Span, check_convention, numbers

_DISAGREE = 0.3


@dataclass(slots=True)
class Intake:
    """What is kept, and what was left out.

    images    position -> entry and picture; only `kept` positions count
    drafts    sound annotations of kept images
    out       of each quarantined annotation: its record in the log, and the position of its image if known
    """

    images: list[tuple[Entry, Picture]]
    kept: list[int] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    out: list[tuple[int, int | None]] = field(default_factory=list)
    given_images: int = 0
    given_annotations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    raw: dict[str, Any]
    image: int
    label: int
    source: Source


def take(
    sources: Sequence[Source], listings: Sequence[Listing], pictures: dict[str, Picture], classes: Classes, log: Log
) -> Intake:
    """Everything that is kept of the input; refusals go to the log."""
    taken = Intake(images=[(entry, pictures[entry.name]) for listing in listings for entry in listing.entries])
    taken.given_images = sum(listing.given for listing in listings)
    lost = [dict(listing.lost) for listing in listings]
    whole: list[tuple[Entry, Picture]] = []
    for entry, picture in taken.images:
        if picture.broken:
            lost[entry.source][entry.id] = "picture unreadable"
            log.quarantined(
                f"{entry.where}.file_name", f"picture unreadable: {picture.broken}", entry.name, entry.split
            )
        else:
            whole.append((entry, picture))
            if picture.recoded:
                log.noted(f"{entry.where}.file_name", f"picture re-encoded as 8-bit PNG: {picture.recoded}", entry.name)
            if picture.remark:
                log.noted(f"{entry.where}.file_name", f"odd picture: {picture.remark}", entry.name)
    taken.images = whole
    rows = [
        row
        for index, source in enumerate(sources)
        for row in _rows(index, source=source, taken=taken, lost=lost[index], classes=classes, log=log)
    ]
    doubtful = _frames(taken, rows, log)
    for source in sources:
        check_convention(source.name, _boxes(source, rows, taken), log)
    if not log.faults:
        _draft_all(taken, rows, doubtful, log)
    return taken


def _rows(
    index: int, *, source: Source, taken: Intake, lost: dict[Key, str], classes: Classes, log: Log
) -> list[_Row]:  # fmt: skip
    position = {entry.id: at for at, (entry, _) in enumerate(taken.images) if entry.source == index}
    seen: set[Key] = set()
    rows: list[_Row] = []
    taken.given_annotations += len(source.data["annotations"])
    for number, raw in enumerate(source.data["annotations"]):
        where = f"{source.name}: annotations[{number}]"
        if not isinstance(raw, dict):
            _leave_out(taken, log, where, what="annotation that is not an object", before=raw, split=source.split)
            continue
        image, category = key(raw.get("image_id")), key(raw.get("category_id"))
        at = None if image is None else position.get(image)
        label = None if category is None else classes.label.get(category)
        if at is None:
            why = lost.get(image) if image is not None else None
            what = f"annotation of an image left out: {why}" if why else "annotation of an unknown image"
            _leave_out(taken, log, f"{where}.image_id", what=what, before=raw.get("image_id"), split=source.split)
        elif label is None:
            _leave_out(
                taken, log, f"{where}.category_id", what="annotation of an unknown category",
                before=raw.get("category_id"), split=source.split, image=at,
            )  # fmt: skip
        else:
            _ids(raw, where, seen, log)
            rows.append(_Row(where=where, raw=raw, image=at, label=label, source=source))
    return rows


def _ids(raw: dict[str, Any], where: str, seen: set[Key], log: Log) -> None:
    own = key(raw.get("id"))
    if own is None:
        log.repaired(f"{where}.id", "annotation without id", raw.get("id"), "numbered from 1")
    elif own in seen:
        log.repaired(f"{where}.id", "annotation id used twice", own, "numbered from 1")
    elif own == 0:
        log.repaired(f"{where}.id", "annotation id 0", 0, "numbered from 1")
    if own is not None:
        seen.add(own)
    for name in ("id", "image_id", "category_id"):
        odd = oddity(raw.get(name))
        if odd:
            log.repaired(f"{where}.{name}", odd, raw[name], key(raw[name]))


def _leave_out(
    taken: Intake, log: Log, where: str, *, what: str, before: object, split: str, image: int | None = None
) -> None:
    log.quarantined(where, what, before, split)
    taken.out.append((len(log.repairs) - 1, image))


def _frames(taken: Intake, rows: Sequence[_Row], log: Log) -> set[int]:
    of_image: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        of_image.setdefault(row.image, []).append(row.raw)
    return sizes.settle(taken.images, of_image, log)


def _boxes(source: Source, rows: Sequence[_Row], taken: Intake) -> list[tuple[Span, int, int]]:
    found: list[tuple[Span, int, int]] = []
    for row in rows:
        # Where there is a region, it tells what the box should be, one by one.
        alone = row.source is source and not row.raw.get("segmentation")
        box = numbers(row.raw.get("bbox")) if alone else None
        if box is not None:
            picture = taken.images[row.image][1]
            found.append((box, picture.width, picture.height))
    return found


def _draft_all(taken: Intake, rows: Sequence[_Row], doubtful: set[int], log: Log) -> None:
    sound: list[Draft] = []
    bad_images: set[int] = set()
    disagree = 0
    for row in rows:
        entry, picture = taken.images[row.image]
        if row.image in doubtful:
            what = "annotation of an image left out: size in doubt"
            _leave_out(
                taken, log, f"{row.where}.image_id", what=what, before=row.raw.get("image_id"), split=entry.split,
                image=row.image,
            )  # fmt: skip
            continue
        made = draft(
            row.raw, where=row.where, image=row.image, label=row.label, size=(picture.width, picture.height),
            split=entry.split, own=row.source.own, log=log,
        )  # fmt: skip
        if made is None:
            taken.out.append((len(log.repairs) - 1, row.image))
            bad_images.add(row.image)
            disagree += log.repairs[-1].what == "box and region disagree"
        else:
            sound.append(made)
    if disagree > _DISAGREE * len(rows):
        log.refused(
            "annotations[].bbox", expected="boxes around their regions",
            found=f"{disagree} of {len(rows)} boxes that lie elsewhere or are of another size",
            fix="Export again, or leave bbox out: it is then derived from the region.",
        )  # fmt: skip
    bad_images |= {image for _, image in taken.out if image is not None}
    _keep(taken, sound, bad_images, doubtful, log)


def _keep(taken: Intake, sound: Sequence[Draft], bad: set[int], doubtful: set[int], log: Log) -> None:
    """All but the images in doubt, and those whose every defect is out: they'd pass for defect-free."""
    defective = {made.image for made in sound}
    emptied = bad - defective - doubtful
    for image in sorted(emptied):
        entry = taken.images[image][0]
        log.quarantined(entry.where, "image whose every annotation was left out", entry.name, entry.split)
    taken.kept = [at for at in range(len(taken.images)) if at not in doubtful and at not in emptied]
    taken.drafts = list(sound)
