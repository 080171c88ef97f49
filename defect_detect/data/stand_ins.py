"""Pictures that aren't there, as large as the file says or its annotations reach: for a look at the rest.

An input without its pictures is refused, but what else is wrong with it shall be known at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from defect_detect.data.identity import Key, key
from defect_detect.data.listing import Entry, Listing
from defect_detect.data.pictures import Picture
from defect_detect.data.pixels import MAX_PIXELS
from defect_detect.data.source import Source
from defect_detect.data.spans import span


def stand_ins(sources: Sequence[Source], listings: Sequence[Listing]) -> dict[str, Picture]:
    """By name, for each missing picture whose size can be told."""
    found: dict[str, Picture] = {}
    for source, listing in zip(sources, listings, strict=True):
        reach = _reach(source, {entry.id for entry in listing.missing if entry.declared is None})
        for entry in listing.missing:
            size = entry.declared or reach.get(entry.id)
            if size is not None and size[0] * size[1] <= MAX_PIXELS:
                found[entry.name] = Picture(file=entry.name, width=size[0], height=size[1], stored=size)
    return found


def absurd(entries: Iterable[Entry]) -> list[Entry]:
    """Those that are declared larger than any picture may be."""
    return [each for each in entries if each.declared and each.declared[0] * each.declared[1] > MAX_PIXELS]


def _reach(source: Source, wanted: set[Key]) -> Mapping[Key, tuple[int, int]]:
    """Width and height that the annotations of each wanted image need."""
    found: dict[Key, tuple[int, int]] = {}
    for raw in source.data["annotations"] if wanted else ():
        image = key(raw.get("image_id")) if isinstance(raw, dict) else None
        if image is not None and image in wanted:
            width, height = found.get(image, (1, 1))
            right, low = _ends(raw)
            found[image] = (max(width, right), max(height, low))
    return found


def _ends(raw: Mapping[str, Any]) -> tuple[int, int]:
    box = span(raw)
    rings = raw.get("segmentation")
    points = [ring for ring in rings if isinstance(ring, list)] if isinstance(rings, list) else []
    across = [value for ring in points for value in ring[0::2] if _usable(value)]
    down = [value for ring in points for value in ring[1::2] if _usable(value)]
    if box is not None:
        across.append(min(box[2], float(MAX_PIXELS)))
        down.append(min(box[3], float(MAX_PIXELS)))
    return math.ceil(max([1, *across])), math.ceil(max([1, *down]))


def _usable(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= MAX_PIXELS
