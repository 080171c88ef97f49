"""From what the files list to what is kept: images and defects, each sound, and the count of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from defect_detect.data import conventions, sizes, twins
from defect_detect.data.annotations import DISAGREE, Draft, around_of, draft
from defect_detect.data.categories import Classes
from defect_detect.data.conventions import PLAIN, Reading
from defect_detect.data.crossing import crossing
from defect_detect.data.identity import Key, key, oddity
from defect_detect.data.listing import Entry, Listing
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.source import Source
from defect_detect.data.spans import Span, numbers
from defect_detect.tables import Polygons

_DISAGREE = 0.3
_FEW = 2
"""Share of a file's boxes, and how many at least, that make a fault of theirs the file's."""


@dataclass(slots=True)
class Intake:
    """What is kept, and what was left out.

    images    position -> entry and picture; only `kept` positions count
    drafts    sound annotations of kept images
    alike     of each image the first file among those that look like it; None: not looked at
    out       of each quarantined annotation: its record in the log, and the position of its image if known
    """

    images: list[tuple[Entry, Picture]]
    kept: list[int] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    out: list[tuple[int, int | None]] = field(default_factory=list)
    alike: list[str] | None = None
    given_images: int = 0
    given_annotations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    raw: dict[str, Any]
    image: int
    label: int
    source: int


def take(
    sources: Sequence[Source], listings: Sequence[Listing], pictures: Mapping[str, Picture], classes: Classes, log: Log
) -> Intake:
    """Everything that is kept of the input; refusals go to the log.

    A missing picture that `pictures` has a stand-in for is taken as if it were there.
    """
    listed = [
        (entry, pictures[entry.name])
        for listing in listings
        for entry in (*listing.entries, *(each for each in listing.missing if each.name in pictures))
    ]
    taken = Intake(images=[], given_images=sum(listing.given for listing in listings))
    lost = [dict(listing.lost) for listing in listings]
    for entry, picture in listed:
        where = f"{entry.where}.file_name"
        if picture.broken:
            lost[entry.source][entry.id] = "picture unreadable"
            kind = picture.broken.partition(" (")[0]
            log.quarantined(where, f"picture unreadable: {kind}", entry.name, entry.split, detail=picture.broken)
            continue
        taken.images.append((entry, picture))
        if picture.recoded:
            log.noted(where, f"picture re-encoded as 8-bit PNG: {picture.recoded}", entry.name)
        if picture.remark:
            log.noted(where, f"odd picture: {picture.remark}", entry.name)
    _note_copies(taken, sources, log)
    rows = [
        row
        for index, source in enumerate(sources)
        for row in _rows(index, source, taken=taken, lost=lost[index], classes=classes, log=log)
    ]
    of_image: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        of_image.setdefault(row.image, []).append(row.raw)
    doubtful, refused = sizes.settle(taken.images, of_image, log)
    rows = [row for row in rows if row.image not in refused]
    sound: list[Draft] = []
    for index, source in enumerate(sources):
        own_rows = [row for row in rows if row.source == index]
        reading = conventions.tell(source.name, _boxes(own_rows, taken), log)
        if reading is not None:
            sound += _drafts(source, own_rows, taken=taken, doubtful=doubtful, reading=reading, log=log)
    sound = twins.merge(sound, log)
    _note_crossing(sound, sources, log)
    _keep(taken, sound, doubtful, log)
    return taken


def _note_copies(taken: Intake, sources: Sequence[Source], log: Log) -> None:
    """Name pictures that are another one's copy: both are kept, in one split."""
    first: dict[str, Entry] = {}
    for entry, picture in sorted(taken.images, key=lambda each: each[0].name):
        known = first.setdefault(picture.sha256, entry) if picture.sha256 else entry
        if known is not entry and not sources[entry.source].own:
            log.noted(f"{entry.where}.file_name", "picture under two names, byte for byte", [known.name, entry.name])


def _rows(
    index: int, source: Source, *, taken: Intake, lost: dict[Key, str], classes: Classes, log: Log
) -> list[_Row]:  # fmt: skip
    position = {entry.id: at for at, (entry, _) in enumerate(taken.images) if entry.source == index}
    uses = Counter(key(raw.get("id")) for raw in source.data["annotations"] if isinstance(raw, dict))
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
            _ids(raw, where, uses, log)
            rows.append(_Row(where=where, raw=raw, image=at, label=label, source=index))
    return rows


def _ids(raw: dict[str, Any], where: str, uses: Mapping[Key | None, int], log: Log) -> None:
    own = key(raw.get("id"))
    if own is None:
        log.repaired(f"{where}.id", "annotation without id", raw.get("id"), "numbered from 1")
    elif uses[own] > 1:
        log.repaired(f"{where}.id", "annotation id used twice", own, "numbered from 1")
    elif own == 0:
        log.repaired(f"{where}.id", "annotation id 0", 0, "numbered from 1")
    for name in ("id", "image_id", "category_id"):
        odd = oddity(raw.get(name))
        if odd:
            log.repaired(f"{where}.{name}", odd, raw[name], key(raw[name]))


def _leave_out(
    taken: Intake, log: Log, where: str, *, what: str, before: object, split: str, image: int | None = None
) -> None:
    log.quarantined(where, what, before, split)
    taken.out.append((len(log.repairs) - 1, image))


def _boxes(rows: Sequence[_Row], taken: Intake) -> list[tuple[Span, int, int]]:
    """The boxes that stand alone: where there is a region, it tells what the box should be, one by one."""
    found: list[tuple[Span, int, int]] = []
    for row in rows:
        box = None if row.raw.get("segmentation") else numbers(row.raw.get("bbox"))
        if box is not None:
            picture = taken.images[row.image][1]
            found.append((box, picture.width, picture.height))
    return found


def _drafts(
    source: Source, rows: Sequence[_Row], *, taken: Intake, doubtful: set[int], reading: Reading, log: Log
) -> list[Draft]:  # fmt: skip
    """The sound annotations of one file; if boxes lie elsewhere than regions, in the order that explains it."""
    records, out = len(log.repairs), len(taken.out)
    sound, disagree, both = _draft_all(source, rows, taken=taken, doubtful=doubtful, reading=reading, log=log)
    if disagree <= max(_FEW, _DISAGREE * both):
        return sound
    other = conventions.by_regions(_pairs(rows, taken))
    if other is not None and other is not PLAIN:
        del log.repairs[records:], taken.out[out:]
        log.noted(f"{source.name}: annotations[].bbox", f"boxes that are {other.name}", "as their regions tell")
        sound, disagree, _ = _draft_all(source, rows, taken=taken, doubtful=doubtful, reading=other, log=log)
        return sound
    log.refused(
        f"{source.name}: annotations[].bbox", expected="boxes around their regions",
        found=f"{disagree} of {both} boxes that lie elsewhere or are of another size ({DISAGREE})",
        fix="Export again, or leave bbox out: it is then derived from the region.",
    )  # fmt: skip
    return sound


def _draft_all(
    source: Source, rows: Sequence[_Row], *, taken: Intake, doubtful: set[int], reading: Reading, log: Log
) -> tuple[list[Draft], int, int]:  # fmt: skip
    """The sound annotations, how many boxes lie elsewhere than their regions, and how many have both."""
    sound: list[Draft] = []
    disagree = both = 0
    for row in rows:
        entry, picture = taken.images[row.image]
        if row.image in doubtful:
            _leave_out(
                taken, log, f"{row.where}.image_id", what="annotation of an image left out: size in doubt",
                before=row.raw.get("image_id"), split=entry.split, image=row.image,
            )  # fmt: skip
            continue
        both += bool(row.raw.get("segmentation")) and numbers(row.raw.get("bbox")) is not None
        made = draft(
            row.raw, where=row.where, image=row.image, label=row.label, size=(picture.width, picture.height),
            split=entry.split, own=source.own, log=log, reading=reading,
        )  # fmt: skip
        if made is not None:
            sound.append(made)
            continue
        taken.out.append((len(log.repairs) - 1, row.image))
        disagree += log.repairs[-1].what == DISAGREE
    return sound, disagree, both


def _pairs(rows: Sequence[_Row], taken: Intake) -> list[tuple[Span, Span, int, int]]:
    found: list[tuple[Span, Span, int, int]] = []
    for row in rows:
        picture = taken.images[row.image][1]
        box = numbers(row.raw.get("bbox"))
        around = None if box is None else around_of(row.raw, picture.width, picture.height)
        if box is not None and around is not None:
            found.append((box, around, picture.width, picture.height))
    return found


def _note_crossing(sound: Sequence[Draft], sources: Sequence[Source], log: Log) -> None:
    """Name polygons that cross themselves; those that this package wrote were named before."""
    own = tuple(f"{source.name}: " for source in sources if source.own)
    drawn = [made for made in sound if isinstance(made.region, Polygons) and not (own and made.where.startswith(own))]
    rings = [ring for made in drawn if isinstance(made.region, Polygons) for ring in made.region.rings]
    owner = np.repeat(
        np.arange(len(drawn)), [len(made.region.rings) for made in drawn if isinstance(made.region, Polygons)]
    )
    for at in np.unique(owner[crossing(rings)]).tolist():
        log.noted(f"{drawn[at].where}.segmentation", "polygon that crosses itself", drawn[at].source_id)


def _keep(taken: Intake, sound: Sequence[Draft], doubtful: set[int], log: Log) -> None:
    """All but the images in doubt, and those whose every defect is out: they'd pass for defect-free."""
    bad = {image for _, image in taken.out if image is not None}
    defective = {made.image for made in sound}
    emptied = bad - defective - doubtful
    for image in sorted(emptied):
        entry = taken.images[image][0]
        log.quarantined(entry.where, "image whose every annotation was left out", entry.name, entry.split)
    taken.kept = [at for at in range(len(taken.images)) if at not in doubtful and at not in emptied]
    taken.drafts = list(sound)
