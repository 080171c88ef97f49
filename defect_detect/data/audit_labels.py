"""Labels that are worth a second look: likely slips of the people, or the tool, that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from defect_detect import geometry
from defect_detect.data.audit_counts import sides
from defect_detect.data.audited import Suspect
from defect_detect.tables import Bools, Dataset, Floats, Ints

OTHER_CLASS, SAME_CLASS = "twice, other class", "twice, same class"
WHOLE, SPECK, UNUSUAL = "whole image", "speck", "unusual size"
KINDS = (OTHER_CLASS, SAME_CLASS, WHOLE, SPECK, UNUSUAL)
SAME_IOU = 0.8
WHOLE_SHARE = 0.95
SPECK_SIDE = 2.0
_LIMIT = 3.5
_LEAST = 20
"""Defects of a class, below which nothing is unusual."""
_TO_SIGMA, _MEAN_TO_SIGMA = 1.4826, 1.2533
"""What makes a normal distribution's standard deviation of the median and of the mean absolute deviation."""


def suspects(splits: Sequence[Dataset]) -> list[Suspect]:
    """All of them, by kind, the clearest first. Crowds are not looked at: they overlap others by intent."""
    unusual = _unusual(splits)
    found = []
    for data, ratio in zip(splits, unusual, strict=True):
        side, looked = sides(data), ~data.defects.crowd
        share = geometry.area(data.defects.box) / data.images.size[data.defects.image].prod(axis=1)
        short = side.min(axis=1, initial=np.inf)
        found += list(_twice(data))
        found += [_suspect(WHOLE, data, row, share[row]) for row in _where(looked & (share >= WHOLE_SHARE))]
        found += [_suspect(SPECK, data, row, short[row]) for row in _where(looked & (short < SPECK_SIDE))]
        found += [_suspect(UNUSUAL, data, row, ratio[row]) for row in _where(ratio != 1)]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), -_clarity(one)))


def pairs(data: Dataset) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Rows of defects in one picture whose boxes overlap by IoU 0.8 or more, and the IoU; no crowds.

    Every pair of a picture is looked at once: neighbours in the list, then those two apart, and so on.
    """
    rows = np.flatnonzero(~data.defects.crowd)
    rows = rows[np.argsort(data.defects.image[rows], kind="stable")]
    image, box = data.defects.image[rows], data.defects.box[rows]
    start, step = np.arange(len(rows)), 1
    while len(start := start[start + step < len(rows)]) and len(start := start[image[start] == image[start + step]]):
        overlap = geometry.paired_iou(box[start], box[start + step])
        near = overlap >= SAME_IOU
        if near.any():
            yield rows[start[near]], rows[start[near] + step], overlap[near]
        step += 1


def _twice(data: Dataset) -> Iterator[Suspect]:
    for first, second, overlap in pairs(data):
        for a, b, iou in zip(first.tolist(), second.tolist(), overlap.tolist(), strict=True):
            same = data.defects.label[a] == data.defects.label[b]
            yield _suspect(SAME_CLASS if same else OTHER_CLASS, data, a, iou, other=b)


def _unusual(splits: Sequence[Dataset]) -> list[Floats]:
    """For each split (G,) how many times its class's usual side a defect has, where that is unusual; else 1.

    Unusual is a modified z-score over 3.5 (Iglewicz and Hoaglin 1993) of the logarithm of the box's area, about the
    median of the class over all splits, in units of its median absolute deviation.
    """
    ratios = [np.ones(len(data.defects)) for data in splits]
    for label in range(len(splits[0].categories)):
        masks: list[Bools] = [data.defects.counts & (data.defects.label == label) for data in splits]
        logs = [np.log(geometry.area(data.defects.box[mask])) for data, mask in zip(splits, masks, strict=True)]
        every = np.concatenate(logs)
        if len(every) < _LEAST:
            continue
        middle = float(np.median(every))
        away = np.abs(every - middle)
        # More than half of one size: the median deviation is 0, the mean one isn't.
        sigma = _TO_SIGMA * float(np.median(away)) or _MEAN_TO_SIGMA * float(away.mean())
        for ratio, mask, log in zip(ratios, masks, logs, strict=True):
            far = np.abs(log - middle) > _LIMIT * sigma
            ratio[np.flatnonzero(mask)[far]] = np.exp((log[far] - middle) / 2)
    return ratios


def _suspect(kind: str, data: Dataset, row: int, value: float, other: int | None = None) -> Suspect:
    defects = data.defects
    x0, y0, x1, y1 = defects.box[row].tolist()
    return Suspect(
        kind=kind,
        split=data.split,
        file=data.images.file[int(defects.image[row])],
        annotation=int(defects.id[row]),
        source_id=defects.source_id[row],
        category=data.categories[int(defects.label[row])].name,
        box=(x0, y0, x1, y1),
        value=float(value),
        other=None if other is None else int(defects.id[other]),
        other_category=None if other is None else data.categories[int(defects.label[other])].name,
    )


def _where(mask: Bools) -> list[int]:
    return [int(row) for row in np.flatnonzero(mask)]


def _clarity(one: Suspect) -> float:
    if one.kind == UNUSUAL:
        return abs(float(np.log(one.value)))
    return -one.value if one.kind == SPECK else one.value
