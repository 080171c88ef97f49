"""Accept and reject decisions over units as an attribute measurement system (AIAG, MSA 4th ed., III C)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.comparison import AttributeAgreement, Rate
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.units import units
from defect_detect.tables import Bools, Column

REPEAT = "repeat"
"""The attribute of images by which a dataset says that the images of a group are repeats of one view of one part."""


def attribute_agreement(judged: Sequence[Judged]) -> AttributeAgreement:
    """Of one detector, decisions summed over its seeds. A unit is rejected when any prediction counts on it.

    Units with only crowds or ignored defects have no reference and are left out.

    >>> from defect_detect.evaluation import example
    >>> attribute_agreement([example.judged()]).effectiveness
    Rate(count=4, of=4)
    """
    groups = units(judged[0].evaluation.truth)
    cells = np.zeros((2, 2), np.int64)
    for one in judged:
        rejected = np.bincount(groups.of_image[_alarmed(one)], minlength=len(groups)) > 0
        cells += table(groups.defective, groups.defect_free, rejected)
    same = [repeated(one) for one in judged]
    return AttributeAgreement(
        effectiveness=Rate(count=int(np.trace(cells)), of=int(cells.sum())),
        miss_rate=Rate(count=int(cells[1, 0]), of=int(cells[1].sum())),
        false_alarm_rate=Rate(count=int(cells[0, 1]), of=int(cells[0].sum())),
        # Where all units are of one kind, kappa is 0 whatever the detector does.
        kappa=kappa(cells) if cells.sum(axis=1).all() else None,
        repeatability=None
        if any(rate is None for rate in same)
        else Rate(count=sum(r.count for r in same if r), of=sum(r.of for r in same if r)),
    )


def table(defective: Bools, defect_free: Bools, rejected: Bools) -> Column:
    """(2, 2) int64 of units (U,): rows reference good and bad, columns decision accept and reject."""
    return np.array([
        [int((reference & ~rejected).sum()), int((reference & rejected).sum())]
        for reference in (defect_free, defective)
    ])  # fmt: skip


def kappa(cells: Column) -> float | None:
    """Cohen's kappa of a square table; None where chance alone would always agree.

    >>> kappa(np.array([[45, 5], [10, 40]]))
    0.7
    """
    total = int(cells.sum())
    if total == 0:
        return None
    by_chance = int((cells.sum(axis=0) * cells.sum(axis=1)).sum())
    if by_chance == total**2:
        return None
    return float((total * np.trace(cells) - by_chance) / (total**2 - by_chance))


def repeated(one: Judged) -> Rate | None:
    """Groups of repeats that were decided alike, image by image; None where the dataset names no repeats.

    Repeats are images of one group in which `repeat` is filled in, each with a value of its own.
    """
    truth = one.evaluation.truth
    column = truth.images.attribute.get(REPEAT)
    if column is None:
        return None
    # A column of numbers has NaN where an image has none.
    named = np.array([value not in (None, "") and value == value for value in column.tolist()], np.bool_)  # noqa: PLR0124
    alarmed = np.zeros(len(truth.images), np.bool_)
    alarmed[_alarmed(one)] = True
    alike = of = 0
    for group in np.unique(truth.images.group[named]).tolist():
        rows = np.flatnonzero(named & (truth.images.group == group))
        if len(rows) < 2 or len(set(column[rows].tolist())) < len(rows):  # noqa: PLR2004 - one image repeats nothing
            continue
        of += 1
        alike += len(set(alarmed[rows].tolist())) == 1
    return Rate(count=alike, of=of) if of else None


def _alarmed(one: Judged) -> Column:
    """Rows of the images of predictions that count."""
    said = one.evaluation.predictions
    counting = (said.score >= one.threshold[said.label]) & ~one.evaluation.matching.absorbed
    return said.image[counting]
