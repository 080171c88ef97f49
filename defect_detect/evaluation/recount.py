"""The figures of each resample at a threshold of its own."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.descent import Events, descent
from defect_detect.evaluation.missed import FIGURES, Scored
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.resampling import weighted
from defect_detect.evaluation.running import Running
from defect_detect.tables import Column, Floats, Ints


def recount(table: Scored, threshold: Floats, weights: Column) -> Floats:
    """(B, 7) the numerators of FIGURES in each resample (B, U) at its threshold (B,), one for all classes.

    The same as `weighted(weights[b], tally(table, threshold[b]))`, row by row.
    """
    events = descent(table)
    kinds = (
        events.found, events.found_any, events.alarmed, events.touched, events.rejected, events.false,
        events.false_on_free,
    )  # fmt: skip
    found, found_any, alarmed, touched, rejected, false, on_free = (_count(kind, threshold, weights) for kind in kinds)
    defects, defective = weighted(weights, np.stack([table.units.defects, table.units.defective], axis=1)).T
    columns = {
        "fn_rate": defects - found,
        "fn_rate_any_class": defects - found_any,
        "escape_rate": defective - alarmed,
        "alarmed_elsewhere": alarmed - touched,
        "overkill_rate": rejected,
        "fppi": false,
        "fppi_defect_free": on_free,
    }
    return np.stack([columns[name] for name in FIGURES], axis=1)


def _count(events: Events, threshold: Floats, weights: Column) -> Floats:
    """(B,) how many events score at least the resample's threshold."""
    ends = events.down_to(threshold)
    always, ever = int(ends.min(initial=len(events))), int(ends.max(initial=0))
    if always >= ever:
        return weighted(weights, _per_unit(events.unit[:ever], weights.shape[1]))
    between = events.unit[always:ever]

    def more(part: Column, of: slice) -> Column:
        return Running(between, part).of_first(ends[of] - always)

    return weighted(weights, _per_unit(events.unit[:always], weights.shape[1])) + in_parts(more, weights)


def _per_unit(unit: Ints, units: int) -> Ints:
    return np.bincount(unit, minlength=units).astype(np.int64)
