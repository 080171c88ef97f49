"""The figures of every part, with their intervals: one matching, counted part by part.

A part has the figures that make sense of it: FN rate always; FPPI by class and by attributes of pictures;
escape and overkill rate by attributes of pictures whose units lie wholly in one part. The others are `None`.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def sliced(entrant: Entrant, draws: Draws, edges: Sequence[float] = ()) -> list[Slice]:
    """Every part's figures at the operating point; intervals at this threshold. `edges`: of the size bins."""
    if not entrant.measured:
        return []
    truth, groups = entrant.test[0].evaluation.truth, entrant.test[0].units
    found = list(parts(truth, edges))
    if not found:
        return []
    unit = groups.of_image[truth.defects.image]
    fn_rates = _estimates(
        entrant, draws, groups,
        [[unit[part.defects & ~one.found] for part in found] for one in entrant.judged],
        [unit[part.defects] for part in found],
    )  # fmt: skip
    alarmed = [_alarmed(one, groups) for one in entrant.judged]
    return [
        Slice(
            by=part.by,
            value=part.value,
            fn_rate=fn_rate,
            fppi=_fppi(entrant, draws, groups, part),
            escape_rate=_unit_rate(entrant, draws, part, [~one for one in alarmed], groups.defective),
            overkill_rate=_unit_rate(entrant, draws, part, alarmed, groups.defect_free),
        )
        for part, fn_rate in zip(found, fn_rates, strict=True)
    ]


def _fppi(entrant: Entrant, draws: Draws, groups: Units, part: Part) -> Estimate | None:
    if part.label is None and part.images is None:
        return None
    counted = []
    for one in entrant.judged:
        said, rows = one.evaluation.predictions, false_alarms(one)
        inside = said.label[rows] == part.label if part.images is None else part.images[said.image[rows]]
        counted.append([groups.of_image[said.image[rows[inside]]]])
    pictures = groups.of_image if part.images is None else groups.of_image[part.images]
    return _estimates(entrant, draws, groups, counted, [pictures], bounded=False)[0]


def _unit_rate(entrant: Entrant, draws: Draws, part: Part, counted: Sequence[Bools], among: Bools) -> Estimate | None:
    """`counted` units of those `among` whose pictures all lie in the part; None where a unit lies in several."""
    groups = entrant.test[0].units
    if part.images is None:
        return None
    inside = np.bincount(groups.of_image[part.images], minlength=len(groups))
    whole: Bools = inside == groups.images
    if (whole != (inside > 0)).any():
        return None
    of = among & whole
    return _estimates(
        entrant, draws, groups, [[np.flatnonzero(of & one)] for one in counted], [np.flatnonzero(of)]
    )[0]  # fmt: skip


def _alarmed(one: Judged, groups: Units) -> Bools:
    """(U,) bool: units with a prediction that counts at the operating point."""
    counting = ~np.isin(one.outcome, ("absorbed", "below_threshold"))
    alarmed: Bools = np.bincount(groups.of_image[one.evaluation.predictions.image[counting]], minlength=len(groups)) > 0
    return alarmed


def _estimates(
    entrant: Entrant, draws: Draws, groups: Units, counted: Sequence[Sequence[Ints]], among: Sequence[Ints],
    *, bounded: bool = True,
) -> list[Estimate]:  # fmt: skip
    """One estimate for each of P parts: `counted` are the units of the events, by seed and part, `among` of all."""
    count = np.stack([_per_unit(one, groups) for one in counted])
    of = _per_unit(among, groups)
    drawn = ratio(np.stack([weighted(draws.test, one) for one in count]), weighted(draws.test, of))
    values, mean = over_seeds(drawn, draws.of_seeds(entrant.name)), count.mean(axis=0)
    return [
        Estimate(
            rate=Rate(count=int(count[:, :, i].sum()), of=int(of[:, i].sum()) * entrant.seeds),
            this_threshold=rate_interval(values[:, i], mean[:, i], of[:, i], bounded=bounded),
        )
        for i in range(of.shape[1])
    ]


def _per_unit(units: Sequence[Column], groups: Units) -> Floats:
    """(U, P) how many of each part's events lie in each unit."""
    return np.stack([np.bincount(one, minlength=len(groups)) for one in units], axis=1).astype(float)
