"""The figures of every part, with their intervals: one matching, counted part by part.

A part has the figures that make sense of it: FN rate always; FPPI by class and by attributes of pictures;
escape and overkill rate by attributes of pictures whose units lie wholly in one part. The others are `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.agreement import false_alarms
from defect_detect.evaluation.comparison import Estimate, Rate, Slice
from defect_detect.evaluation.entrant import Draws, Entrant
from defect_detect.evaluation.intervals import rate_interval
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.resampling import over_seeds, ratio, weighted
from defect_detect.evaluation.slices import Part, parts
from defect_detect.evaluation.units import Units
from defect_detect.tables import Bools, Column, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One rate that is asked for: by seed the units of its events, the units of all, and whether it is a share."""

    counted: Sequence[Column]
    among: Column
    bounded: bool = True


def sliced(entrant: Entrant, draws: Draws, edges: Sequence[float] = ()) -> list[Slice]:
    """Every part's figures at the operating point; intervals at this threshold. `edges`: of the size bins."""
    if not entrant.measured:
        return []
    truth, groups = entrant.test[0].evaluation.truth, entrant.test[0].units
    unit, found = groups.of_image[truth.defects.image], list(parts(truth, edges))
    alarmed = [_alarmed(one, groups) for one in entrant.judged]
    false = [false_alarms(one) for one in entrant.judged]
    asked = [
        (
            _Asked(counted=[unit[part.defects & ~one.found] for one in entrant.judged], among=unit[part.defects]),
            _fppi(entrant, false, part),
            _unit_rate(groups, part, [~one for one in alarmed], groups.defective),
            _unit_rate(groups, part, alarmed, groups.defect_free),
        )
        for part in found
    ]
    told = iter(_estimates(entrant, draws, groups, [one for row in asked for one in row if one is not None]))
    figures = [[None if one is None else next(told) for one in row] for row in asked]
    return [
        Slice(
            by=part.by, value=part.value, fn_rate=fn_rate, fppi=fppi, escape_rate=escape_rate,
            overkill_rate=overkill_rate,
        )
        for part, (fn_rate, fppi, escape_rate, overkill_rate) in zip(found, figures, strict=True)
        if fn_rate is not None
    ]  # fmt: skip


def _fppi(entrant: Entrant, false: Sequence[Ints], part: Part) -> _Asked | None:
    """`false`: rows of the false alarms, by seed."""
    groups = entrant.test[0].units
    if part.label is None and part.images is None:
        return None
    counted = []
    for one, rows in zip(entrant.judged, false, strict=True):
        said = one.evaluation.predictions
        inside = said.label[rows] == part.label if part.images is None else part.images[said.image[rows]]
        counted.append(groups.of_image[said.image[rows[inside]]])
    pictures = groups.of_image if part.images is None else groups.of_image[part.images]
    return _Asked(counted=counted, among=pictures, bounded=False)


def _unit_rate(groups: Units, part: Part, counted: Sequence[Bools], among: Bools) -> _Asked | None:
    """`counted` units of those `among` whose pictures all lie in the part; None where a unit lies in several."""
    if part.images is None:
        return None
    inside = np.bincount(groups.of_image[part.images], minlength=len(groups))
    whole: Bools = inside == groups.images
    if (whole != (inside > 0)).any():
        return None
    of = among & whole
    return _Asked(counted=[np.flatnonzero(of & one) for one in counted], among=np.flatnonzero(of))


def _alarmed(one: Judged, groups: Units) -> Bools:
    """(U,) bool: units with a prediction that counts at the operating point."""
    counting = ~np.isin(one.outcome, ("absorbed", "below_threshold"))
    alarmed: Bools = np.bincount(groups.of_image[one.evaluation.predictions.image[counting]], minlength=len(groups)) > 0
    return alarmed


def _estimates(entrant: Entrant, draws: Draws, groups: Units, asked: Sequence[_Asked]) -> list[Estimate]:
    """One estimate for each rate; all are added up in one pass over the resamples."""
    if not asked:
        return []
    count = np.stack([_per_unit([one.counted[seed] for one in asked], groups) for seed in range(entrant.seeds)])
    of = _per_unit([one.among for one in asked], groups)
    columns = weighted(draws.test, np.concatenate([*count, of], axis=1))
    *drawn, below = np.split(columns, entrant.seeds + 1, axis=1)
    values = over_seeds(ratio(np.stack(drawn), below), draws.of_seeds(entrant.name))
    mean = count.mean(axis=0)
    return [
        Estimate(
            rate=Rate(count=int(count[:, :, i].sum()), of=int(of[:, i].sum()) * entrant.seeds),
            this_threshold=rate_interval(values[:, i], mean[:, i], of[:, i], bounded=one.bounded),
        )
        for i, one in enumerate(asked)
    ]


def _per_unit(units: Sequence[Column], groups: Units) -> Floats:
    """(U, P) how many of each rate's events lie in each unit."""
    return np.stack([np.bincount(one, minlength=len(groups)) for one in units], axis=1).astype(float)
