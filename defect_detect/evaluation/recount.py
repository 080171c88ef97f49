"""The figures of each resample at a threshold of its own."""

from __future__ import annotations

import numpy as np

from defect_detect.evaluation.descent import descent
from defect_detect.evaluation.missed import FIGURES, Scored
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.resampling import summing
from defect_detect.evaluation.running import Running
from defect_detect.tables import Column, Floats


def recount(table: Scored, threshold: Floats, weights: Column) -> Floats:
    """(B, 7) the numerators of FIGURES in each resample (B, U) at its threshold (B,), one for all classes.

    The same as `weighted(weights[b], tally(table, threshold[b]))`, row by row.
    """
    events = descent(table)
    kinds = (
        events.found, events.found_any, events.alarmed, events.touched, events.rejected, events.false,
        events.false_on_free,
    )  # fmt: skip
    ends = np.stack([kind.down_to(threshold) for kind in kinds])
    # What happens before every threshold is added up by units, what happens between them event by event.
    always, ever = ends.min(axis=1, initial=ends.max(initial=0)), ends.max(axis=1, initial=0)
    units = weights.shape[1]
    per_unit = [np.bincount(kind.unit[:end], minlength=units) for kind, end in zip(kinds, always, strict=True)]
    between = [kind.unit[start:end] for kind, start, end in zip(kinds, always, ever, strict=True)]
    sums = summing(weights, np.stack([*per_unit, table.units.defects, table.units.defective], axis=1))

    def counts(part: Column, of: slice) -> Column:
        count = sums(part)
        for place, unit in enumerate(between):
            if len(unit):
                count[place] += Running(unit, part).of_first(ends[place, of] - always[place])
        return count

    found, found_any, alarmed, touched, rejected, false, on_free, defects, defective = in_parts(counts, weights)
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
