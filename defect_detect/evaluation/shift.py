"""What the figures on test, as it is, would be at other thresholds."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.descent import descent
from defect_detect.evaluation.missed import FIGURES, Scored, opportunities, tally
from defect_detect.evaluation.resampling import ratio
from defect_detect.tables import Floats, Ints


def shift(table: Scored, used: Floats, threshold: Floats) -> Floats:
    """(B, 7) by how much each of FIGURES changes when the thresholds in use (K,) give way to others.

    `threshold`: (B,), one for all classes, or (B, K). Of thresholds by class only the figures are told
    that are sums over classes; the others are NaN.
    """
    count = _count(table, threshold) if threshold.ndim == 1 else _count_by_class(table, threshold)
    less = tally(table, used).sum(axis=0)
    return ratio(count - less, opportunities(table).sum(axis=0).astype(float))


def _count(table: Scored, threshold: Floats) -> Floats:
    """(B, 7) the numerators of FIGURES over all units."""
    events, groups = descent(table), table.units
    defects, defective = int(groups.defects.sum()), int(groups.defective.sum())
    alarmed = events.alarmed.down_to(threshold)
    columns = {
        "fn_rate": defects - events.found.down_to(threshold),
        "fn_rate_any_class": defects - events.found_any.down_to(threshold),
        "escape_rate": defective - alarmed,
        "alarmed_elsewhere": alarmed - events.touched.down_to(threshold),
        "overkill_rate": events.rejected.down_to(threshold),
        "fppi": events.false.down_to(threshold),
        "fppi_defect_free": events.false_on_free.down_to(threshold),
    }
    return np.stack([columns[name] for name in FIGURES], axis=1).astype(float)


def _count_by_class(table: Scored, threshold: Floats) -> Floats:
    alarms = table.alarms
    false, on_free = alarms.false, alarms.false & table.free_image[alarms.image]
    count = np.full((len(threshold), len(FIGURES)), np.nan)
    found = np.isfinite(table.found_at)
    columns = {
        "fn_rate": len(table.defects) - _over(table.found_at[found], table.label[found], threshold),
        "fppi": _over(alarms.score[false], alarms.label[false], threshold),
        "fppi_defect_free": _over(alarms.score[on_free], alarms.label[on_free], threshold),
    }
    for name, column in columns.items():
        count[:, FIGURES.index(name)] = column
    return count


def _over(score: Floats, label: Ints, threshold: Floats) -> Floats:
    """(B,) how many score at least the threshold of their label."""
    total = np.zeros(len(threshold))
    for k in range(threshold.shape[1]):
        own = np.sort(score[label == k])
        total += len(own) - np.searchsorted(own, threshold[:, k], side="left")
    return total
