"""What is worth knowing about a file as a whole, though nothing in it needs a repair."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from defect_detect.data.annotations import KNOWN
from defect_detect.data.attributes import dropped
from defect_detect.data.identity import Key, key
from defect_detect.data.image_rows import ImageRows
from defect_detect.data.repairs import Log
from defect_detect.data.rows import Rows, distinct, rows_of
from defect_detect.data.source import Source
from defect_detect.tables import Ints

_CARRIED = KNOWN | {"keypoints"}
_SPECIAL = frozenset(" #&%?*:|<>\"'")
_INSTANCES = 5
"""Classes of one annotation each that look like names of the instances."""


def file_names(source: Source) -> list[str]:
    """The names of its pictures, as the file has them."""
    listed = source.data["images"]
    if isinstance(listed, ImageRows):
        return listed.columns.name
    names = (raw.get("file_name") for raw in listed if isinstance(raw, dict))
    return [name for name in names if isinstance(name, str)]


def remark(source: Source, log: Log) -> None:
    """Note what is odd about the file; nothing about one that this package wrote."""
    if source.own:
        return
    for name in ("info", "licenses"):
        if name not in source.data:
            log.noted(source.name, f"no top-level {name!r}", "")
    rows = rows_of(source.data["annotations"])
    seen = _seen(rows)
    listed = source.data["images"]
    if not isinstance(listed, ImageRows) or _has_gaps(distinct(listed.columns.id)):
        _gaps(source.name, "images", _image_ids(source), log)
    ids = distinct(rows.plain.id)
    if len(seen.id):
        ids = distinct(np.concatenate([ids, np.array(seen.id, np.int64)]))
    if _has_gaps(ids):
        _note_gaps(source.name, "annotations", int(ids[0]), int(ids[-1]), log)
    if seen.count or len(rows.plain.number):
        _regions(source.name, rows, seen, log)
        _crowds(source.name, rows, seen, log)
        _names_of_instances(source.name, rows, seen, log)
    if seen.keypoints:
        what = "COCO keypoints: taken as instances, the keypoints are not carried over"
        log.noted(f"{source.name}: annotations[].keypoints", what, f"{seen.keypoints} annotations")
    for name in sorted(seen.dropped):
        log.noted(f"{source.name}: annotations[].{name}", "field with several values not carried over", name)
    _file_names(source, log)


def note_reused_ids(sources: Sequence[Source], log: Log) -> None:
    """Note ids that name one image in one split and another in the next: they are numbered anew."""
    if len(sources) == 1:
        return
    ids = [set(_image_ids(source)) - {None} for source in sources]
    shared = [id_ for id_, files in Counter(id_ for each in ids for id_ in each).items() if files > 1]
    if shared and not all(source.own for source in sources):
        log.noted("images[].id", "image ids used in several splits, numbered anew", f"{len(shared)} ids")


def _image_ids(source: Source) -> list[Key | None]:
    listed = source.data["images"]
    if isinstance(listed, ImageRows):
        ids: list[Key | None] = listed.columns.id.tolist()
        return ids
    return [key(raw.get("id")) for raw in listed if isinstance(raw, dict)]


def _has_gaps(ids: Ints) -> bool:
    """Whether ids, ascending and each once, aren't one after the other."""
    return len(ids) > 0 and int(ids[-1]) - int(ids[0]) >= len(ids)


def _gaps(source: str, name: str, ids: Iterable[Key | None], log: Log) -> None:
    numbers = {id_ for id_ in ids if isinstance(id_, int)}
    if numbers and max(numbers) - min(numbers) >= len(numbers):
        _note_gaps(source, name, min(numbers), max(numbers), log)


def _note_gaps(source: str, name: str, least: int, most: int, log: Log) -> None:
    log.noted(f"{source}: {name}[].id", "ids with gaps, numbered anew", f"{least} to {most}")


@dataclass(slots=True)
class _Seen:
    """What stands in the annotations that are read one by one, in which `count` are objects."""

    count: int = 0
    id: array[int] = field(default_factory=lambda: array("q"))
    category: Counter[Key | None] = field(default_factory=Counter)
    drawn: bool = False
    run_lengths: int = 0
    crowds: int = 0
    keypoints: int = 0
    dropped: set[str] = field(default_factory=set)


def _seen(rows: Rows) -> _Seen:
    seen = _Seen()
    for raw in rows.odd.objects():
        seen.count += 1
        own, region, crowd = key(raw.get("id")), raw.get("segmentation"), raw.get("iscrowd")
        if isinstance(own, int):
            seen.id.append(own)
        seen.category[key(raw.get("category_id"))] += 1
        seen.drawn = seen.drawn or bool(region)
        seen.run_lengths += isinstance(region, dict) and isinstance(region.get("counts"), list)
        seen.crowds += key(crowd) == 1 or crowd is True
        seen.keypoints += "keypoints" in raw
        seen.dropped.update(dropped(raw, _CARRIED))
    return seen


def _regions(name: str, rows: Rows, seen: _Seen, log: Log) -> None:
    where = f"{name}: annotations[].segmentation"
    if not seen.drawn and not rows.plain.kind.any():
        log.noted(where, "no regions: boxes only", f"{seen.count + len(rows.plain.kind)} annotations")
    if seen.run_lengths:
        log.noted(where, "uncompressed run lengths, written compressed", f"{seen.run_lengths} annotations")


def _crowds(name: str, rows: Rows, seen: _Seen, log: Log) -> None:
    where = f"{name}: annotations[].iscrowd"
    crowds = seen.crowds + int((rows.plain.iscrowd == 1).sum())
    if crowds == seen.count + len(rows.plain.iscrowd):
        log.noted(where, "every annotation is a crowd (iscrowd 1): no miss of one is ever counted", crowds)
    elif crowds:
        log.noted(where, "crowds (iscrowd 1): no miss of one is ever counted", crowds)


def _names_of_instances(name: str, rows: Rows, seen: _Seen, log: Log) -> None:
    classes, times = np.unique(rows.plain.category_id, return_counts=True)
    uses: Counter[Key | None] = Counter(dict(zip(classes.tolist(), times.tolist(), strict=True)))
    uses.update(seen.category)
    if len(uses) >= _INSTANCES and set(uses.values()) == {1}:
        log.noted(f"{name}: categories", "a class for each annotation: names of instances?", f"{len(uses)} classes")


def _file_names(source: Source, log: Log) -> None:
    names = file_names(source)
    together = "".join(names)
    if not any(special in together for special in _SPECIAL):
        return
    odd = sorted(name for name in names if _SPECIAL & set(name))
    if odd:
        what = "blanks or special characters in file names"
        log.noted(f"{source.name}: images[].file_name", what, f"{len(odd)}, {odd[0]!r} for one")
