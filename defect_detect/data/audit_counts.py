"""How much there is of what, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.data.audited import ClassCounts, ClassInSplit, Range, SplitCounts
from defect_detect.tables import Bools, Dataset, Floats

_SMALL, _LARGE = 32.0**2, 96.0**2
"""COCO's bins of area (cocodataset.org, detection evaluation)."""
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def spread(values: Floats) -> Range | None:
    """Least, 10 % quantile, median, 90 % quantile and most of (N,) values; None of nothing.

    >>> spread(np.array([1.0, 2.0, 4.0])).median
    2.0
    """
    if not len(values):
        return None
    least, low, median, high, most = np.quantile(values, _QUANTILES).tolist()
    return Range(least=least, low=low, median=median, high=high, most=most)


def sides(data: Dataset) -> Floats:
    """(G, 2) width and height of every defect's box, px."""
    found: Floats = data.defects.box[:, 2:] - data.defects.box[:, :2]
    return found


def of_split(data: Dataset) -> SplitCounts:
    """Images, units and defects of a split."""
    defects = data.defects
    return SplitCounts(
        split=data.split,
        images=len(data.images),
        defect_free=int(data.defect_free.sum()),
        units=len(np.unique(data.images.group)),
        defects=int(defects.counts.sum()),
        crowds=int(defects.crowd.sum()),
        ignored=int((defects.ignore & ~defects.crowd).sum()),
    )


def of_classes(splits: Sequence[Dataset]) -> list[ClassCounts]:
    """Every class over the splits, in the order of labels."""
    found = []
    for label, category in enumerate(splits[0].categories):
        wanted = [data.defects.counts & (data.defects.label == label) for data in splits]
        side = np.concatenate([sides(data)[rows] for data, rows in zip(splits, wanted, strict=True)])
        found.append(
            ClassCounts(
                name=category.name,
                severity=category.severity,
                splits=[_in_split(data, rows) for data, rows in zip(splits, wanted, strict=True)],
                long_side=spread(side.max(axis=1, initial=0)),
                short_side=spread(side.min(axis=1, initial=np.inf)),
            )
        )
    return found


def _in_split(data: Dataset, rows: Bools) -> ClassInSplit:
    images, area = np.unique(data.defects.image[rows]), data.defects.area[rows]
    return ClassInSplit(
        split=data.split,
        defects=int(rows.sum()),
        images=len(images),
        units=len(np.unique(data.images.group[images])),
        small=int((area < _SMALL).sum()),
        medium=int(((area >= _SMALL) & (area < _LARGE)).sum()),
        large=int((area >= _LARGE).sum()),
    )
