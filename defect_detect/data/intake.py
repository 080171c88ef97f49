"""From what the files list to what is kept: images and defects, each sound, and the count of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from defect_detect.data import conventions, sizes, twins, unremarkable
from defect_detect.data.annotations import DISAGREE, Draft, around_of, draft
from defect_detect.data.categories import Classes
from defect_detect.data.conventions import PLAIN, Reading
from defect_detect.data.identity import Key
from defect_detect.data.listing import Entry, Listing
from defect_detect.data.pictures import Picture
from defect_detect.data.placed import Placed, placed
from defect_detect.data.placed import boxes as placed_boxes
from defect_detect.data.repairs import Log
from defect_detect.data.rows import distinct
from defect_detect.data.sound import Sound, joined, of_drafts, place
from defect_detect.data.source import Source
from defect_detect.data.spans import Span, numbers
from defect_detect.data.taken import Intake, Pairs, leave_out
from defect_detect.tables import Ints

_DISAGREE = 0.3
_FEW = 2
"""Share of a file's boxes, and how many at least, that make a fault of theirs the file's."""
_TOGETHER = 2048
"""Drafts that are held before they become columns."""


def take(
    sources: Sequence[Source], listings: Sequence[Listing], pictures: Mapping[str, Picture], classes: Classes, log: Log
) -> Intake:
    """Everything that is kept of the input; refusals go to the log.

    A missing picture that `pictures` has a stand-in for is taken as if it were there.
    """
    entries = [entry for listing in listings for entry in (*listing.entries, *_there(listing.missing, pictures))]
    own = [pictures[entry.name] for entry in entries]
    taken = Intake(images=Pairs(entries, own), given_images=sum(listing.given for listing in listings))
    lost = [dict(listing.lost) for listing in listings]
    if [picture for picture in own if picture.broken or picture.recoded or picture.remark]:
        usable = [pair for pair in taken.images if _usable(*pair, lost, log)]
        taken.images = Pairs([entry for entry, _ in usable], [picture for _, picture in usable])
    _note_copies(taken, sources, log)
    rows = [
        placed(index, source, taken=taken, lost=lost[index], classes=classes, log=log)
        for index, source in enumerate(sources)
    ]
    other = [
        at for at, (entry, picture) in enumerate(taken.images) if entry.declared != (picture.width, picture.height)
    ]
    doubtful, refused = (
        sizes.settle(taken.images, _annotations(taken, rows, other), log) if other else (set[int](), set[int]())
    )
    size = np.array(
        [[each.width for each in taken.images.pictures], [each.height for each in taken.images.pictures]], np.int64
    ).T
    gone = np.array(sorted(refused), np.int64)
    parts: list[Sound] = []
    for each in rows:
        own_rows = each.take(~np.isin(each.image, gone)) if refused else each
        reading = conventions.of_columns(each.name, *placed_boxes(own_rows, size), log)
        if reading is not None:
            parts += _drafts(sources, own_rows, taken=taken, size=size, doubtful=doubtful, reading=reading, log=log)
    sound = joined(tuple(source.name for source in sources), parts)
    if not all(source.own for source in sources):
        # What this package wrote was merged when its annotations still had all their regions.
        sound = twins.without(sound, log)
    _note_crossing(sound, sources, log)
    _keep(taken, sound, doubtful, log)
    return taken


def _there(missing: Sequence[Entry], pictures: Mapping[str, Picture]) -> list[Entry]:
    return [entry for entry in missing if entry.name in pictures]


def _usable(entry: Entry, picture: Picture, lost: Sequence[dict[Key, str]], log: Log) -> bool:
    """Whether the picture can be looked at, and what is to be said of it."""
    where = f"{entry.where}.file_name"
    if picture.broken:
        lost[entry.source][entry.id] = "picture unreadable"
        kind = picture.broken.partition(" (")[0]
        log.quarantined(where, f"picture unreadable: {kind}", entry.name, entry.split, detail=picture.broken)
        return False
    if picture.recoded:
        log.noted(where, f"picture re-encoded as 8-bit PNG: {picture.recoded}", entry.name)
    if picture.remark:
        log.noted(where, f"odd picture: {picture.remark}", entry.name)
    return True


def _note_copies(taken: Intake, sources: Sequence[Source], log: Log) -> None:
    """Name pictures that are another one's copy: both are kept, in one split."""
    hashes = [picture.sha256 for picture in taken.images.pictures if picture.sha256]
    if len(set(hashes)) == len(hashes):
        return
    first: dict[str, Entry] = {}
    for entry, picture in sorted(taken.images, key=lambda each: each[0].name):
        known = first.setdefault(picture.sha256, entry) if picture.sha256 else entry
        if known is not entry and not sources[entry.source].own:
            log.noted(f"{entry.where}.file_name", "picture under two names, byte for byte", [known.name, entry.name])


def _annotations(taken: Intake, rows: Sequence[Placed], images: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The annotations of those of the images that are declared of any size."""
    other = [at for at in images if taken.images[at][0].declared is not None]
    found: dict[int, list[dict[str, Any]]] = {}
    for each in rows if other else ():
        for row in np.flatnonzero(np.isin(each.image, np.array(other))).tolist():
            found.setdefault(int(each.image[row]), []).append(each.rows[int(each.number[row])])
    return found


def _drafts(
    sources: Sequence[Source], rows: Placed, *, taken: Intake, size: Ints, doubtful: set[int], reading: Reading,
    log: Log,
) -> list[Sound]:  # fmt: skip
    """The sound annotations of one file; if boxes lie elsewhere than regions, in the order that explains it."""
    records, out = len(log.repairs), len(taken.out)
    sound, disagree, both = _draft_all(
        sources, rows, taken=taken, size=size, doubtful=doubtful, reading=reading, log=log
    )
    if disagree <= max(_FEW, _DISAGREE * both):
        return sound
    other = conventions.by_regions(_pairs(rows, taken))
    if other is not None and other is not PLAIN:
        log.repairs.cut(records)
        taken.out.cut(out)
        log.noted(f"{rows.name}: annotations[].bbox", f"boxes that are {other.name}", "as their regions tell")
        sound, disagree, _ = _draft_all(
            sources, rows, taken=taken, size=size, doubtful=doubtful, reading=other, log=log
        )
        return sound
    log.refused(
        f"{rows.name}: annotations[].bbox", expected="boxes around their regions",
        found=f"{disagree} of {both} boxes that lie elsewhere or are of another size ({DISAGREE})",
        fix="Export again, or leave bbox out: it is then derived from the region.",
    )  # fmt: skip
    return sound


def _draft_all(
    sources: Sequence[Source], rows: Placed, *, taken: Intake, size: Ints, doubtful: set[int], reading: Reading,
    log: Log,
) -> tuple[list[Sound], int, int]:  # fmt: skip
    """The sound annotations, how many boxes lie elsewhere than their regions, and how many have both."""
    names, source = tuple(each.name for each in sources), sources[rows.source]
    sure = rows.plain >= 0
    if doubtful:
        sure &= ~np.isin(rows.image, np.array(sorted(doubtful), np.int64))
    at_once = np.flatnonzero(sure)
    if reading is not PLAIN:
        at_once = at_once[:0]
    chosen = rows if len(at_once) == len(rows.number) else rows.take(at_once)
    passed, sound = unremarkable.sound(
        rows.rows.plain, chosen.plain, chosen.image, chosen.label, size, names=names, source=rows.source,
    )  # fmt: skip
    drawn = rows.rows.plain.kind
    both = int((drawn[chosen.plain[passed]] != 0).sum()) if drawn.any() else 0
    rest = rows.take(np.zeros(0, np.int64) if len(passed) == len(rows.number) and passed.all()
                     else np.delete(np.arange(len(rows.number)), at_once[passed]))  # fmt: skip
    parts, made = [sound], list[tuple[int, Draft]]()
    disagree = 0
    entries = rows.rows.some(rest.number)
    for number, image, label, raw in zip(
        rest.number.tolist(), rest.image.tolist(), rest.label.tolist(), entries, strict=True
    ):
        where = place(rows.name, number)
        entry, picture = taken.images[image]
        if image in doubtful:
            leave_out(
                taken, log, f"{where}.image_id", what="annotation of an image left out: size in doubt",
                before=raw.get("image_id"), split=entry.split, image=image,
            )  # fmt: skip
            continue
        both += bool(raw.get("segmentation")) and numbers(raw.get("bbox")) is not None
        drafted = draft(
            raw, where=where, image=image, label=label, size=(picture.width, picture.height), split=entry.split,
            own=source.own, log=log, reading=reading,
        )  # fmt: skip
        if drafted is not None:
            made.append((number, drafted))
            if len(made) == _TOGETHER:
                parts.append(of_drafts(names, rows.source, made))
                made = []
            continue
        taken.out.append(len(log.repairs) - 1, image)
        disagree += log.repairs[-1].what == DISAGREE
    return [*parts, of_drafts(names, rows.source, made)], disagree, both


def _pairs(rows: Placed, taken: Intake) -> list[tuple[Span, Span, int, int]]:
    found: list[tuple[Span, Span, int, int]] = []
    for raw, image in zip(rows.rows.some(rows.number), rows.image.tolist(), strict=True):
        picture = taken.images[image][1]
        box = numbers(raw.get("bbox"))
        around = None if box is None else around_of(raw, picture.width, picture.height)
        if box is not None and around is not None:
            found.append((box, around, picture.width, picture.height))
    return found


def _note_crossing(sound: Sound, sources: Sequence[Source], log: Log) -> None:
    """Name polygons that cross themselves; those that this package wrote were named before."""
    strange = np.array([not source.own for source in sources])[sound.source]
    for at in np.flatnonzero(strange & sound.region.crossing()).tolist():
        log.noted(f"{sound.where(at)}.segmentation", "polygon that crosses itself", sound.id_of(at))


def _keep(taken: Intake, sound: Sound, doubtful: set[int], log: Log) -> None:
    """All but the images in doubt, and those whose every defect is out: they'd pass for defect-free."""
    bad = set(taken.out.image) - {-1}
    emptied = bad - set(distinct(sound.image).tolist() if bad else ()) - doubtful
    for image in sorted(emptied):
        entry = taken.images[image][0]
        log.quarantined(entry.where, "image whose every annotation was left out", entry.name, entry.split)
    out = emptied | doubtful
    taken.kept = [at for at in range(len(taken.images)) if at not in out] if out else list(range(len(taken.images)))
    taken.sound = sound
