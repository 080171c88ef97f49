"""Annotations that a file has twice, as merged exports and double clicks leave them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from defect_detect.data.annotations import Draft
from defect_detect.data.identity import order
from defect_detect.data.regions import to_coco
from defect_detect.data.repairs import Log


def merge(drafts: Sequence[Draft], log: Log) -> list[Draft]:
    """Each defect once: of exact duplicates the one with the least id is kept, the others are logged.

    Exact means one image, class, box, region and flags. One box and class with two regions may be two
    defects: both are kept, and noted.
    """
    by_box: dict[tuple[object, ...], list[Draft]] = {}
    for made in drafts:
        by_box.setdefault((made.image, made.label, made.box, made.crowd, made.ignore), []).append(made)
    gone: set[str] = set()
    for alike in by_box.values():
        if len(alike) == 1:
            continue
        first: dict[bytes, Draft] = {}
        for made in sorted(alike, key=_rank):
            known = first.setdefault(_region(made), made)
            if known is not made:
                gone.add(made.where)
                log.merged(made.where, "exact duplicate annotation", made.source_id, known.where)
        for made in list(first.values())[1:]:
            log.noted(made.where, "box of another annotation of its class, with another region", made.source_id)
    return [made for made in drafts if made.where not in gone]


def _region(made: Draft) -> bytes:
    return b"" if made.region is None else msgspec.json.encode(to_coco(made.region))


def _rank(made: Draft) -> tuple[object, ...]:
    attributes = msgspec.json.encode(made.attributes, order="deterministic")
    return (order(made.source_id or ""), made.area, attributes, made.where)
