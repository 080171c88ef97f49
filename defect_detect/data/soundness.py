"""What a split's file promises, checked whenever one is read: it may have been edited, or made by a stranger.

What passes can be judged without a wrong figure, and its masks are safe for pycocotools (which reads memory that
it didn't write where run lengths are too short).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from defect_detect import native
from defect_detect.data.categories import CONTROL
from defect_detect.data.plain import Marked
from defect_detect.data.polygons import MAX_OUTLINE, MAX_POINTS
from defect_detect.data.records import SEVERITIES, CategoryRecord, SplitFile
from defect_detect.data.runlengths import MAX_PIXELS, MAX_RUNS, MalformedError, decode_counts
from defect_detect.tables import Bools, Ints, Polygons, Region, Rle

_EDGE = 1e-6
"""px by which x + width may round past the edge."""
_LEADS_OUT = re.compile(r"^/|(^|/)\.{0,2}(/|$)|[\x00-\x09\x0b-\x1f\x7f]", re.MULTILINE)
"""Of names that are joined by line breaks: absolute, empty, with an empty part, `.`, `..` or control characters."""
_MOST_SIDE = 2**31


def faults(
    content: SplitFile, marked: Marked, regions: Sequence[Region] | None, size: Ints, *, split: str, add_up: bool
) -> list[str]:  # fmt: skip
    """All that is wrong with the file of the split, in words.

    `marked` and `regions` are its annotations, `size` (G, 2) of each the width and height of its picture.
    `add_up`: run lengths are known to fill the size that they name.
    """
    return [
        *_head(content, split),
        *_categories(content.categories),
        *_images(content),
        *_annotations(marked, size),
        *_regions(regions, size, add_up=add_up),
    ]


def _head(content: SplitFile, split: str) -> Iterator[str]:
    info = content.info
    if info.split != split:
        yield f"info.split {info.split!r} in the file of {split!r}"
    if info.scale is not None and not (math.isfinite(info.scale) and info.scale > 0):
        yield f"info.scale {info.scale}"


def _categories(listed: Sequence[CategoryRecord]) -> Iterator[str]:
    if [one.id for one in listed] != list(range(1, len(listed) + 1)):
        yield "category ids that are not 1, 2, 3, ..."
    if twice := _twice([one.name for one in listed]):
        yield f"the class {twice} twice"
    for one in listed:
        if CONTROL.search(one.name) or not one.name:
            yield f"the class name {one.name!r}"
        if one.severity not in (None, *SEVERITIES):
            yield f"severity {one.severity!r} of the class {one.name!r}"


def _images(content: SplitFile) -> Iterator[str]:
    names = [image.file_name for image in content.images]
    if twice := _twice([image.id for image in content.images]):
        yield f"the image id {twice} twice"
    if twice := _twice(names):
        yield f"the picture {twice} twice"
    text = "\n".join(names)
    if names and (text.count("\n") != len(names) - 1 or _LEADS_OUT.search(text)):
        bad = next(name for name in names if "\n" in name or _LEADS_OUT.search(name))
        yield f"the name {bad!r}, which names no picture below images/"
    for image in content.images:
        if not (0 < image.id < _MOST_SIDE**2 and 0 < image.width < _MOST_SIDE and 0 < image.height < _MOST_SIDE):
            yield f"image {image.id} of {image.width} x {image.height} px"
            return


def _annotations(marked: Marked, size: Ints) -> Iterator[str]:
    """`size` (G, 2) of the picture of each."""
    xy, wh = marked.xywh[:, :2], marked.xywh[:, 2:]
    with np.errstate(over="ignore", invalid="ignore"):
        inside = (xy >= 0).all(axis=1) & (xy + wh <= size + _EDGE).all(axis=1)
        large = (wh > 0).all(axis=1) & (np.minimum(xy + wh, size) > xy).all(axis=1)
    promises = {
        "an id below 1": marked.id >= 1,
        "a box without width or height": large,
        "a box that isn't inside its picture": inside,
        "an area that can't be one": np.isfinite(marked.area) & (marked.area >= 0),
        "iscrowd or ignore other than 0 and 1": (marked.iscrowd | marked.ignore | 1) == 1,
    }
    for words, kept in promises.items():
        if not kept.all():
            at = int(np.flatnonzero(~kept)[0])
            yield f"annotation {marked.id[at]}: {words}" + _more(int((~kept).sum()))
    order = np.sort(marked.id)
    if (same := np.flatnonzero(order[1:] == order[:-1])).size:
        yield f"the annotation id {order[same[0]]} twice"


def _regions(regions: Sequence[Region] | None, size: Ints, *, add_up: bool) -> Iterator[str]:
    """`size` (G, 2) of the picture of each; `add_up`: run lengths are known to fill the size that they name."""
    if regions is None:
        return
    ringed = np.array([isinstance(one, Polygons) for one in regions], np.bool_)
    bad = np.zeros(len(regions), np.bool_)
    bad[~ringed] = _no_masks([one for one in regions if isinstance(one, Rle)], size[~ringed], add_up=add_up)
    bad[ringed] = _no_drawings([one for one in regions if isinstance(one, Polygons)], size[ringed])
    bad |= size.prod(axis=1) > MAX_PIXELS
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        yield f"annotations[{at}]: a segmentation that is no region of its picture" + _more(int(bad.sum()))


def _no_masks(listed: Sequence[Rle], size: Ints, *, add_up: bool) -> Bools:
    """(R,) whether run lengths are of another size than the picture, or don't fill it."""
    sides = np.array([(one.width, one.height) for one in listed], np.int64).reshape(-1, 2)
    bad: Bools = (sides != size).any(axis=1)
    if not add_up:
        for row in np.flatnonzero(~bad).tolist():
            bad[row] = not _adds_up(listed[row].counts, int(size[row].prod()))
    return bad


def _adds_up(counts: bytes, pixels: int) -> bool:
    if native.compiled is not None and native.compiled.canonical_counts(counts, pixels) is not None:
        return True
    if pixels > MAX_PIXELS or len(counts) > MAX_RUNS:
        return False
    try:
        runs = decode_counts(counts)
    except MalformedError:
        return False
    return min(runs, default=0) >= 0 and sum(runs) == pixels


def _no_drawings(listed: Sequence[Polygons], size: Ints) -> Bools:
    """(R,) whether rings have too few points or too many, leave the picture, or are too long to be drawn."""
    rings = [ring for one in listed for ring in one.rings]
    of_ring = np.repeat(np.arange(len(listed)), [len(one.rings) for one in listed])
    points = np.array([len(ring) for ring in rings], np.int64)
    bad: Bools = np.bincount(of_ring, points < 3, minlength=len(listed)) > 0  # noqa: PLR2004 - a triangle
    bad |= np.array([not one.rings for one in listed], np.bool_)
    if bad.any() or not rings:
        return bad
    corners, of_corner = np.concatenate(rings), np.repeat(of_ring, points)
    within = (corners >= -_EDGE) & (corners <= size[of_corner] + _EDGE)  # False for NaN
    bad |= np.bincount(of_corner, ~within.all(axis=1), minlength=len(listed)) > 0
    bad |= np.bincount(of_corner, minlength=len(listed)) > MAX_POINTS
    if not bad.any():
        following = np.arange(1, len(corners) + 1)
        following[np.cumsum(points) - 1] -= points
        step = np.abs(corners[following] - corners).max(axis=1)
        bad |= np.bincount(of_corner, step, minlength=len(listed)) > MAX_OUTLINE
    return bad


def _twice(values: Sequence[object]) -> str:
    """The first value that occurs twice, as it is written; empty where none does."""
    if len(set(values)) == len(values):
        return ""
    return repr(next(value for value, count in Counter(values).items() if count > 1))


def _more(count: int) -> str:
    return f" ({count} such)" if count > 1 else ""
