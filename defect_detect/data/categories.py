"""The classes of all files of the input, as one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from defect_detect.data.identity import Key, key, oddity, order
from defect_detect.data.repairs import Log
from defect_detect.data.source import Source
from defect_detect.tables import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The categories in the order of their source ids, and the label of each source id."""

    listed: tuple[Category, ...]
    label: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    id: Key
    name: str
    source_id: Key
    severity: str | None


def collect(sources: Sequence[Source], severity: Mapping[str, str], log: Log) -> Classes:
    """One list over all files; an id that names two classes is refused, a class listed twice is merged."""
    entries = [entry for source in sources for entry in _entries(source, log)]
    first: dict[Key, _Entry] = {}
    by_name: dict[str, Key] = {}
    for where, entry in entries:
        known = first.setdefault(entry.id, entry)
        if known.name != entry.name:
            log.refused(
                where, expected=f"category {entry.id} to be {known.name!r} everywhere", found=repr(entry.name),
                fix="Give each class an id of its own, the same in all files.",
            )  # fmt: skip
        elif entry.name in by_name and by_name[entry.name] != entry.id:
            log.repaired(where, "class listed under two ids", entry.id, by_name[entry.name])
        by_name.setdefault(entry.name, entry.id)
    ids = sorted({by_name[entry.name] for entry in first.values()}, key=order)
    row = {id_: label for label, id_ in enumerate(ids)}
    names = [first[id_].name for id_ in ids]
    _note_twins(names, log)
    for name in sorted(set(severity) - set(names)):
        log.refused("severity", expected=" | ".join(names), found=repr(name))
    if not entries and not log.faults:
        log.refused("categories", expected="at least one class", found="an empty list")
    listed = tuple(
        Category(id=label + 1, name=first[id_].name, source_id=first[id_].source_id,
                 severity=severity.get(first[id_].name, first[id_].severity))
        for label, id_ in enumerate(ids)
    )  # fmt: skip
    return Classes(listed=listed, label={id_: row[by_name[entry.name]] for id_, entry in first.items()})


def _entries(source: Source, log: Log) -> list[tuple[str, _Entry]]:
    found: list[tuple[str, _Entry]] = []
    seen: set[tuple[Key, str]] = set()
    for index, raw in enumerate(source.data["categories"]):
        where = f"{source.name}: categories[{index}]"
        entry = _entry(raw, own=source.own)
        if entry is None:
            log.refused(where, expected="a category with id and name", found=repr(raw)[:100])
            continue
        odd = oddity(raw["id"])
        if odd:
            log.repaired(f"{where}.id", odd, raw["id"], entry.id)
        if entry.id == 0:
            log.repaired(f"{where}.id", "category id 0", 0, "numbered from 1")
        if (entry.id, entry.name) in seen:
            log.repaired(where, "class listed twice", entry.name, "once")
        seen.add((entry.id, entry.name))
        found.append((where, entry))
    return found


def _entry(raw: Any, *, own: bool) -> _Entry | None:
    if not isinstance(raw, dict):
        return None
    id_, name = key(raw.get("id")), raw.get("name")
    if id_ is None or not isinstance(name, str) or not name.strip() or not _printable(name):
        return None
    source_id = key(raw.get("source_id")) if own else None
    severity = raw.get("severity")
    return _Entry(id_, name, id_ if source_id is None else source_id, severity if isinstance(severity, str) else None)


def _printable(name: str) -> bool:
    return "\0" not in name and not any(0xD800 <= ord(character) <= 0xDFFF for character in name)  # noqa: PLR2004 - surrogates


def _note_twins(names: Sequence[str], log: Log) -> None:
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.strip().casefold(), name)
        if twin != name:
            log.noted("categories", "classes that differ by case or blanks only", f"{twin!r} and {name!r}")
