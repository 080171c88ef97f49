"""From what the files list to what is kept: images and defects, each sound, and the count of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from defect_detect.data import conventions, sizes, twins, unremarkable
from defect_detect.data.annotations import DISAGREE, Draft, around_of, draft
from defect_detect.data.categories import Classes
from defect_detect.data.conventions import PLAIN, Reading
from defect_detect.data.crossing import crossing
from defect_detect.data.identity import Key, key, oddity
from defect_detect.data.listing import Entry, Listing
from defect_detect.data.pictures import Picture
from defect_detect.data.repairs import Log
from defect_detect.data.rows import Rows, distinct, rows_of
from defect_detect.data.sound import Sound, joined, of_drafts, place
from defect_detect.data.source import Source
from defect_detect.data.spans import Span, numbers
from defect_detect.tables import Bools, Floats, Ints, Polygons

_DISAGREE = 0.3
_FEW = 2
"""Share of a file's boxes, and how many at least, that make a fault of theirs the file's."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """R annotations of one file with a known image and class.

    number, image, label  (R,) int64
    plain                 (R,) int64, the row of `rows.plain` for those not mentioned so far, else -1
    """

    source: int
    name: str
    rows: Rows
    number: Ints
    image: Ints
    label: Ints
    plain: Ints

    def take(self, where: Ints | Bools) -> _Rows:
        return replace(self, number=self.number[where], image=self.image[where], label=self.label[where],
                       plain=self.plain[where])  # fmt: skip


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
        _rows(index, source, taken=taken, lost=lost[index], classes=classes, log=log)
        for index, source in enumerate(sources)
    ]
    doubtful, refused = sizes.settle(taken.images, _declared_otherwise(taken, rows), log)
    gone = np.array(sorted(refused), np.int64)
    parts: list[Sound] = []
    for each in rows:
        own_rows = each.take(~np.isin(each.image, gone)) if refused else each
        reading = conventions.of_columns(each.name, *_boxes(own_rows, taken), log)
        if reading is not None:
            parts += _drafts(sources, own_rows, taken=taken, doubtful=doubtful, reading=reading, log=log)
    sound = joined(tuple(source.name for source in sources), parts)
    if not all(source.own for source in sources):
        # What this package wrote was merged when its annotations still had all their regions.
        sound = twins.without(sound, log)
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
) -> _Rows:  # fmt: skip
    position = {entry.id: at for at, (entry, _) in enumerate(taken.images) if entry.source == index}
    rows = rows_of(source.data["annotations"])
    plain = rows.plain
    taken.given_annotations += len(rows)
    odd = dict(rows.odd)
    repeated = _repeated(plain.id, [key(raw.get("id")) for raw in odd.values() if isinstance(raw, dict)])
    images, labels = _looked_up(position, plain.image_id), _looked_up(classes.label, plain.category_id)
    own = np.array([id_ for id_ in repeated if isinstance(id_, int)], np.int64)
    silent = (images >= 0) & (labels >= 0) & (plain.id != 0)
    if len(own):
        silent &= ~np.isin(plain.id, own)
    spoken: list[tuple[int, int, int]] = []
    for number in sorted([*odd, *plain.number[~silent].tolist()]):
        raw = odd[number] if number in odd else rows[number]
        where = place(source.name, number)
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
            _ids(raw, where, repeated, log)
            spoken.append((number, at, label))
    others = np.array(spoken, np.int64).reshape(-1, 3)
    made = _Rows(
        source=index, name=source.name, rows=rows,
        number=np.concatenate([plain.number[silent], others[:, 0]]),
        image=np.concatenate([images[silent], others[:, 1]]),
        label=np.concatenate([labels[silent], others[:, 2]]),
        plain=np.concatenate([np.flatnonzero(silent), np.full(len(others), -1)]),
    )  # fmt: skip
    return made.take(np.argsort(made.number)) if len(others) else made


def _repeated(plain: Ints, odd: Sequence[Key | None]) -> set[Key]:
    """The ids that several annotations have."""
    ids, times = np.unique(
        np.concatenate([plain, np.array([id_ for id_ in odd if isinstance(id_, int)], np.int64)]), return_counts=True
    )
    texts = Counter(id_ for id_ in odd if isinstance(id_, str))
    return {*ids[times > 1].tolist(), *(id_ for id_, uses in texts.items() if uses > 1)}


def _looked_up(table: Mapping[Key, int], asked: Ints) -> Ints:
    """(P,) int64: what the table has for each, -1 where it has nothing."""
    ids, where = np.unique(asked, return_inverse=True)
    found: Ints = np.array([table.get(id_, -1) for id_ in ids.tolist()], np.int64)[where.reshape(-1)]
    return found


def _declared_otherwise(taken: Intake, rows: Sequence[_Rows]) -> dict[int, list[dict[str, Any]]]:
    """The annotations of the images that are declared of another size than they have."""
    other = [
        at for at, (entry, picture) in enumerate(taken.images)
        if entry.declared not in (None, (picture.width, picture.height))
    ]  # fmt: skip
    found: dict[int, list[dict[str, Any]]] = {}
    for each in rows if other else ():
        for row in np.flatnonzero(np.isin(each.image, np.array(other))).tolist():
            found.setdefault(int(each.image[row]), []).append(each.rows[int(each.number[row])])
    return found


def _ids(raw: dict[str, Any], where: str, repeated: AbstractSet[Key], log: Log) -> None:
    own = key(raw.get("id"))
    if own is None:
        log.repaired(f"{where}.id", "annotation without id", raw.get("id"), "numbered from 1")
    elif own in repeated:
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


def _boxes(rows: _Rows, taken: Intake) -> tuple[Floats, Floats]:
    """The boxes that stand alone, (N, 4), and their pictures' (N, 2) width and height.

    Where there is a region, it tells what the box should be, one by one.
    """
    plain = rows.rows.plain
    alone = rows.take(rows.plain >= 0)
    alone = alone.take(plain.kind[alone.plain] == 0)
    found: list[Span] = []
    image: list[int] = []
    for number, at in _spoken(rows):
        raw = rows.rows[number]
        box = None if raw.get("segmentation") else numbers(raw.get("bbox"))
        if box is not None:
            found.append(box)
            image.append(at)
    size = _sizes(taken)
    return (
        np.concatenate([plain.xywh[alone.plain], np.array(found, np.float64).reshape(-1, 4)]),
        size[np.concatenate([alone.image, np.array(image, np.int64)])].astype(np.float64),
    )


def _spoken(rows: _Rows) -> Iterator[tuple[int, int]]:
    """Place and image of the rows that are read one by one."""
    chosen = np.flatnonzero(rows.plain < 0)
    yield from zip(rows.number[chosen].tolist(), rows.image[chosen].tolist(), strict=True)


def _sizes(taken: Intake) -> Ints:
    return np.array([(picture.width, picture.height) for _, picture in taken.images], np.int64).reshape(-1, 2)


def _drafts(
    sources: Sequence[Source], rows: _Rows, *, taken: Intake, doubtful: set[int], reading: Reading, log: Log
) -> list[Sound]:  # fmt: skip
    """The sound annotations of one file; if boxes lie elsewhere than regions, in the order that explains it."""
    records, out = len(log.repairs), len(taken.out)
    sound, disagree, both = _draft_all(sources, rows, taken=taken, doubtful=doubtful, reading=reading, log=log)
    if disagree <= max(_FEW, _DISAGREE * both):
        return sound
    other = conventions.by_regions(_pairs(rows, taken))
    if other is not None and other is not PLAIN:
        del log.repairs[records:], taken.out[out:]
        log.noted(f"{rows.name}: annotations[].bbox", f"boxes that are {other.name}", "as their regions tell")
        sound, disagree, _ = _draft_all(sources, rows, taken=taken, doubtful=doubtful, reading=other, log=log)
        return sound
    log.refused(
        f"{rows.name}: annotations[].bbox", expected="boxes around their regions",
        found=f"{disagree} of {both} boxes that lie elsewhere or are of another size ({DISAGREE})",
        fix="Export again, or leave bbox out: it is then derived from the region.",
    )  # fmt: skip
    return sound


def _draft_all(
    sources: Sequence[Source], rows: _Rows, *, taken: Intake, doubtful: set[int], reading: Reading, log: Log
) -> tuple[list[Sound], int, int]:  # fmt: skip
    """The sound annotations, how many boxes lie elsewhere than their regions, and how many have both."""
    names, source = tuple(each.name for each in sources), sources[rows.source]
    at_once = np.flatnonzero((rows.plain >= 0) & ~np.isin(rows.image, np.array(sorted(doubtful), np.int64)))
    if reading is not PLAIN:
        at_once = at_once[:0]
    chosen = rows.take(at_once)
    passed, sound = unremarkable.sound(
        rows.rows.plain, chosen.plain, chosen.image, chosen.label, _sizes(taken)[chosen.image], names=names,
        source=rows.source,
    )  # fmt: skip
    both = int((rows.rows.plain.kind[chosen.plain[passed]] != 0).sum())
    rest = rows.take(np.delete(np.arange(len(rows.number)), at_once[passed]))
    made: list[tuple[int, Draft]] = []
    disagree = 0
    for number, image, label in zip(rest.number.tolist(), rest.image.tolist(), rest.label.tolist(), strict=True):
        raw, where = rows.rows[number], place(rows.name, number)
        entry, picture = taken.images[image]
        if image in doubtful:
            _leave_out(
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
            continue
        taken.out.append((len(log.repairs) - 1, image))
        disagree += log.repairs[-1].what == DISAGREE
    return [sound, of_drafts(names, rows.source, made)], disagree, both


def _pairs(rows: _Rows, taken: Intake) -> list[tuple[Span, Span, int, int]]:
    found: list[tuple[Span, Span, int, int]] = []
    for number, image in zip(rows.number.tolist(), rows.image.tolist(), strict=True):
        raw, picture = rows.rows[number], taken.images[image][1]
        box = numbers(raw.get("bbox"))
        around = None if box is None else around_of(raw, picture.width, picture.height)
        if box is not None and around is not None:
            found.append((box, around, picture.width, picture.height))
    return found


def _note_crossing(sound: Sound, sources: Sequence[Source], log: Log) -> None:
    """Name polygons that cross themselves; those that this package wrote were named before."""
    strange = np.array([not source.own for source in sources])[sound.source]
    drawn = [at for at in np.flatnonzero(strange).tolist() if isinstance(sound.region[at], Polygons)]
    parts = [region.rings for at in drawn if isinstance(region := sound.region[at], Polygons)]
    rings = [ring for each in parts for ring in each]
    owner = np.repeat(np.array(drawn, np.int64), [len(each) for each in parts])
    for at in np.unique(owner[crossing(rings)]).tolist():
        log.noted(f"{sound.where(at)}.segmentation", "polygon that crosses itself", sound.source_id[at])


def _keep(taken: Intake, sound: Sound, doubtful: set[int], log: Log) -> None:
    """All but the images in doubt, and those whose every defect is out: they'd pass for defect-free."""
    bad = {image for _, image in taken.out if image is not None}
    defective = set(distinct(sound.image).tolist())
    emptied = bad - defective - doubtful
    for image in sorted(emptied):
        entry = taken.images[image][0]
        log.quarantined(entry.where, "image whose every annotation was left out", entry.name, entry.split)
    taken.kept = [at for at in range(len(taken.images)) if at not in doubtful and at not in emptied]
    taken.sound = sound
