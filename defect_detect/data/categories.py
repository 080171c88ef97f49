"""The classes of all files of the input, as one list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from defect_detect.data.identity import Key, key, oddity, order
from defect_detect.data.records import SEVERITIES
from defect_detect.data.repairs import Log
from defect_detect.data.rows import distinct, rows_of
from defect_detect.data.source import Source
from defect_detect.errors import did_you_mean
from defect_detect.tables import Category

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What moves terminals and breaks tables, and stands in no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The categories in the order of their source ids, and the label of each source id."""

    listed: tuple[Category, ...]
    label: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    where: str
    id: Key
    name: str
    parent: str
    source_id: Key
    severity: str | None


def collect(sources: Sequence[Source], severity: Mapping[str, str], log: Log) -> Classes:
    """One list over all files; an id that names two classes is refused, a class listed twice is merged."""
    entries = sorted(
        (entry for source in sources for entry in _entries(source, log)),
        key=lambda entry: (order(entry.id), entry.name, order(entry.source_id), entry.severity or ""),
    )
    first: dict[Key, _Entry] = {}
    by_name: dict[str, Key] = {}
    for entry in entries:
        known = first.setdefault(entry.id, entry)
        if known.name != entry.name:
            log.refused(
                entry.where, expected=f"category {entry.id} to be {known.name!r} everywhere", found=repr(entry.name),
                fix="Give each class an id of its own, the same in all files.",
            )  # fmt: skip
        elif by_name.setdefault(entry.name, entry.id) != entry.id:
            log.repaired(entry.where, "class listed under two ids", entry.id, by_name[entry.name])
    own = any(source.own for source in sources)
    used = _used(sources, {entry.id: by_name[entry.name] for entry in first.values()})
    parents = set() if own else _placeholders(entries, used, by_name, log)
    ids = sorted({by_name[entry.name] for entry in first.values()} - parents, key=order)
    row = {id_: label for label, id_ in enumerate(ids)}
    names = [first[id_].name for id_ in ids]
    for name in sorted(set(severity) - set(names)):
        log.refused("--severity", expected=" | ".join(names), found=repr(name), fix=did_you_mean(name, names))
    if not ids and not log.faults:
        log.refused("categories", expected="at least one class", found="an empty list" if not entries else "none used",
                    fix="Export the classes with it.")  # fmt: skip
    if not own:
        _remark([first[id_] for id_ in ids], used, log)
    listed = tuple(
        Category(id=label + 1, name=first[id_].name, source_id=first[id_].source_id,
                 severity=severity.get(first[id_].name, first[id_].severity))
        for label, id_ in enumerate(ids)
    )  # fmt: skip
    label = {id_: row[by_name[entry.name]] for id_, entry in first.items() if by_name[entry.name] in row}
    return Classes(listed=listed, label=label)


def _entries(source: Source, log: Log) -> list[_Entry]:
    found: list[_Entry] = []
    seen: set[tuple[Key, str]] = set()
    for index, raw in enumerate(source.data["categories"]):
        where = f"{source.name}: categories[{index}]"
        entry = _entry(raw, where, own=source.own)
        if entry is None:
            log.refused(where, expected="a category with id and name", found=repr(raw)[:100], fix="Complete it.")
            continue
        if CONTROL.search(entry.name):
            log.refused(where, expected="a name without control characters", found=repr(entry.name)[:100],
                        fix="Name it in letters.")  # fmt: skip
            continue
        odd = oddity(raw["id"])
        if odd:
            log.repaired(f"{where}.id", odd, raw["id"], entry.id)
        if entry.id == 0:
            log.repaired(f"{where}.id", "category id 0", 0, "numbered from 1")
        if (entry.id, entry.name) in seen:
            log.repaired(where, "class listed twice", entry.name, "once")
        seen.add((entry.id, entry.name))
        found.append(entry)
    return found


def _entry(raw: Any, where: str, *, own: bool) -> _Entry | None:
    if not isinstance(raw, dict):
        return None
    id_, name = key(raw.get("id")), raw.get("name")
    if id_ is None or not isinstance(name, str) or not name.strip() or not _printable(name):
        return None
    source_id = key(raw.get("source_id")) if own else None
    severity, parent = raw.get("severity"), raw.get("supercategory")
    return _Entry(
        where, id_, name, parent if isinstance(parent, str) else "", id_ if source_id is None else source_id,
        severity if severity in SEVERITIES else None,
    )  # fmt: skip


def _printable(name: str) -> bool:
    return "\0" not in name and not any(0xD800 <= ord(character) <= 0xDFFF for character in name)  # noqa: PLR2004 - surrogates


def _used(sources: Sequence[Source], merged: Mapping[Key, Key]) -> set[Key]:
    """Ids of the classes that annotations name."""
    named: set[Key | None] = set()
    for source in sources:
        rows = rows_of(source.data["annotations"])
        named.update(distinct(rows.plain.category_id).tolist())
        named.update(key(raw.get("category_id")) for raw in rows.odd.objects())
    return {merged[id_] for id_ in named if id_ is not None and id_ in merged}


def _placeholders(entries: Sequence[_Entry], used: set[Key], by_name: Mapping[str, Key], log: Log) -> set[Key]:
    """Unused classes that are only the parent of others, as Roboflow's id 0: no detector should learn them."""
    parents = {entry.parent for entry in entries if entry.parent != entry.name}
    found: set[Key] = set()
    for entry in entries:
        id_ = by_name.get(entry.name)
        if id_ is not None and id_ not in used and entry.name in parents and id_ not in found:
            found.add(id_)
            log.repaired(entry.where, "placeholder parent category, never used", entry.name, None)
    return found


def _remark(listed: Sequence[_Entry], used: set[Key], log: Log) -> None:
    """Name what is kept as it is, but not as people would expect it."""
    seen: dict[str, str] = {}
    for entry in listed:
        twin = seen.setdefault(entry.name.strip().casefold(), entry.name)
        if twin != entry.name:
            log.noted("categories", "classes that differ by case or blanks only", f"{twin!r} and {entry.name!r}")
        if entry.id not in used:
            log.noted(entry.where, "category never used", entry.name)
        if not entry.name.isascii():
            log.noted(f"{entry.where}.name", "class name beyond ASCII", entry.name)
    ids = [entry.id for entry in listed]
    if ids and ids not in (list(range(1, len(ids) + 1)), list(range(len(ids)))):
        log.noted("categories[].id", "category ids that are not 1, 2, 3, ...", ", ".join(map(str, ids)))
