"""The images that a file lists: each with one id, one file and one sampling unit, or out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from defect_detect.data.attributes import dropped, scalars
from defect_detect.data.identity import Key, clean, key, oddity
from defect_detect.data.image_rows import ImageRows
from defect_detect.data.lookup import Folder, Found
from defect_detect.data.records import Scalar
from defect_detect.data.repairs import Log
from defect_detect.data.rows import distinct
from defect_detect.data.source import Source

_KNOWN = frozenset({"id", "file_name", "width", "height", "attributes"})
DEFAULT_GROUP = "group"


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One image of the input.

    where     its path in the input
    source    index of its file among the sources
    split     the ready split, or ``
    id        in its one form; source_id, source_split, source_file: as the user's own file has them
    name      POSIX, relative to the picture folder; as it was given where the picture is missing
    missing   why there is no picture, or ``
    declared  width and height as the file says, None where it doesn't
    group     the sampling unit, None where none is given
    """

    where: str
    source: int
    split: str
    id: Key
    name: str
    missing: str
    declared: tuple[int, int] | None
    group: str | None
    attributes: Mapping[str, Scalar]
    source_id: Key
    source_split: str
    source_file: str


@dataclass(slots=True)
class Listing:
    """The usable entries of one file, and what became of the others.

    missing   entries whose picture isn't there
    lost      why the image of that id is out
    given     as many as the file lists
    """

    entries: list[Entry] = field(default_factory=list)
    missing: list[Entry] = field(default_factory=list)
    lost: dict[Key, str] = field(default_factory=dict)
    given: int = 0

    def lose(self, entry: Entry, why: str) -> None:
        """Note an image whose picture is missing."""
        self.missing.append(entry)
        self.lost.setdefault(entry.id, why)


def collect(index: int, source: Source, folder: Folder, group: str | None, log: Log) -> Listing:
    """The entries of `source`; what refuses the whole file goes to the log."""
    unremarkable = _at_once(index, source, folder)
    if unremarkable is not None:
        return Listing(entries=unremarkable, given=len(unremarkable))
    return _one_by_one(index, source, folder, group, log)


def _one_by_one(index: int, source: Source, folder: Folder, group: str | None, log: Log) -> Listing:
    listing = Listing(given=len(source.data["images"]))
    named = [
        (position, raw, id_)
        for position, raw in enumerate(source.data["images"])
        if (id_ := _id(position, raw, source, listing, log)) is not None
    ]
    found = folder.find([raw["file_name"] for _, raw, _ in named])
    by_id: dict[Key, Entry] = {}
    by_name: dict[str, Entry] = {}
    lists: set[str] = set()
    for (position, raw, id_), place in zip(named, found, strict=True):
        where = f"{source.name}: images[{position}]"
        if place.outside:
            log.refused(
                f"{where}.file_name", expected=f"a name below {folder.root}",
                found=f"{raw['file_name']!r}, which {place.outside}",
                fix="Name pictures relative to the picture folder (--images).",
            )  # fmt: skip
            continue
        entry = _entry(raw, id_, place, where=where, index=index, source=source, group=group, log=log)
        lists.update(dropped(raw, _KNOWN))
        same_id = by_id.setdefault(entry.id, entry)
        same_name = entry if entry.missing else by_name.setdefault(entry.name, entry)
        if same_id is not entry and same_id.name != entry.name:
            log.refused(
                f"{where}.id", expected="ids of one image each",
                found=f"{entry.id} again, for {entry.name!r} after {same_id.name!r}",
                fix="Nobody can tell whose annotations are whose: number the images anew at their source.",
            )  # fmt: skip
        elif same_name is not entry and same_name.id != entry.id:
            log.refused(
                f"{where}.file_name", expected="each picture once",
                found=f"{entry.name!r} under the ids {same_name.id} and {entry.id}",
                fix="Merge the two entries and their annotations.",
            )  # fmt: skip
        elif same_id is not entry and (same_id.declared, same_id.group) != (entry.declared, entry.group):
            log.refused(
                where, expected="each image once", fix="Remove one of the two entries.",
                found=f"{entry.name!r} listed twice with another size or group ({same_id.where})",
            )  # fmt: skip
        elif same_id is not entry:
            log.merged(where, "image listed twice", entry.name, same_id.where)
        elif entry.missing:
            listing.lose(entry, entry.missing)
            log.quarantined(f"{where}.file_name", entry.missing, raw["file_name"], source.split, detail=place.detail)
            if entry.declared is None:
                log.noted(where, "size missing", None)
        else:
            listing.entries.append(entry)
    for name in sorted(lists):
        log.noted(f"{source.name}: images[].{name}", "field with several values not carried over", name)
    return listing


def _at_once(index: int, source: Source, folder: Folder) -> list[Entry] | None:
    """The entries of a file about whose images no rule has a word; None where one may."""
    listed = source.data["images"]
    if not isinstance(listed, ImageRows) or source.own:
        return None
    columns = listed.columns
    names = columns.name
    fine = columns.id.all() and len(distinct(columns.id)) == len(names) and len(set(names)) == len(names)
    if not fine or min(columns.width.min(), columns.height.min()) <= 0 or not folder.has_all(names):
        return None
    sizes = {(0, 0): (0, 0)}  # one tuple for each size, not for each image
    declared = [
        sizes.setdefault(size, size) for size in zip(columns.width.tolist(), columns.height.tolist(), strict=True)
    ]
    nothing: dict[str, Scalar] = {}
    before, split = f"{source.name}: images[", source.split
    return [
        Entry(
            where=f"{before}{at}]", source=index, split=split, id=id_, name=name, missing="", declared=size, group=None,
            attributes=nothing, source_id=id_, source_split=split, source_file=name,
        )
        for at, (id_, name, size) in enumerate(zip(columns.id.tolist(), names, declared, strict=True))
    ]  # fmt: skip


def refuse_twins(listings: Sequence[Listing], log: Log) -> None:
    """Refuse names that differ by case only: elsewhere, one picture would overwrite the other."""
    seen: dict[str, Entry] = {}
    entries = [entry for listing in listings for entry in listing.entries]
    # The same name in several splits is another fault.
    if len({entry.name.casefold() for entry in entries}) == len(entries):
        return
    for entry in entries:
        twin = seen.setdefault(entry.name.casefold(), entry)
        if twin.name != entry.name:
            log.refused(
                f"{entry.where}.file_name", expected="names that differ by more than case",
                found=f"{entry.name!r} beside {twin.name!r}", fix="Rename one of the two.",
            )  # fmt: skip


def _id(position: int, raw: Any, source: Source, listing: Listing, log: Log) -> Key | None:
    where = f"{source.name}: images[{position}]"
    id_ = key(raw.get("id")) if isinstance(raw, dict) else None
    name = raw.get("file_name") if isinstance(raw, dict) else None
    if id_ is None or not isinstance(name, str) or not name.strip():
        what = "image without id or file_name"
        if id_ is not None:
            listing.lost.setdefault(id_, what)
        log.quarantined(where, what, raw, source.split)
        return None
    _note_id(raw["id"], id_, where, log)
    return id_


def _entry(
    raw: Mapping[str, Any], id_: Key, place: Found, *, where: str, index: int, source: Source, group: str | None,
    log: Log,
) -> Entry:  # fmt: skip
    name = raw["file_name"]
    if place.what:
        log.repaired(f"{where}.file_name", place.what, name, place.name)
    unit, attributes = _unit(raw, group, own=source.own)
    own = raw if source.own else {}
    source_id = key(own.get("source_id"))
    return Entry(
        where=where,
        source=index,
        split=source.split,
        id=id_,
        name=place.name,
        missing=place.missing,
        declared=_declared(raw, where, log),
        group=unit,
        attributes=attributes,
        source_id=id_ if source_id is None else source_id,
        source_split=str(own.get("source_split", source.split)),
        source_file=clean(str(own.get("source_file", name))),
    )


def _note_id(raw: Any, id_: Key, where: str, log: Log) -> None:
    odd = oddity(raw)
    if odd:
        log.repaired(f"{where}.id", odd, raw, id_)
    if id_ == 0:
        log.repaired(f"{where}.id", "image id 0", 0, "numbered from 1")


def _unit(raw: Mapping[str, Any], group: str | None, *, own: bool) -> tuple[str | None, dict[str, Scalar]]:
    """The sampling unit and the other fields."""
    attributes = scalars(raw, _KNOWN, nested_only=own)
    fields = {DEFAULT_GROUP: raw.get(DEFAULT_GROUP), **attributes} if own else attributes
    value = fields.get(group or DEFAULT_GROUP)
    if group is None or group == DEFAULT_GROUP:
        attributes.pop(DEFAULT_GROUP, None)
    return (None if value is None else clean(str(value))), attributes


def _declared(raw: Mapping[str, Any], where: str, log: Log) -> tuple[int, int] | None:
    size: list[int] = []
    for name in ("width", "height"):
        value = key(raw.get(name))
        if isinstance(value, int) and value > 0:
            size.append(value)
            if not isinstance(raw[name], int):
                log.repaired(f"{where}.{name}", "size as text or float", raw[name], value)
    return (size[0], size[1]) if len(size) == 2 else None  # noqa: PLR2004 - width and height
