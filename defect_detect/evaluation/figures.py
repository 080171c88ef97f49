"""From counts to figures with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.comparison import Estimate, Figures, OperatingPoint, Rate, Slice
from defect_detect.evaluation.entrant import Draws, Entrant
from defect_detect.evaluation.intervals import rate_interval
from defect_detect.evaluation.missed import FIGURES, opportunities, tally
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.resampling import over_seeds, ratio, weighted
from defect_detect.evaluation.slices import slices
from defect_detect.tables import Bools, Floats

_MEANS = ("fppi", "fppi_defect_free")
"""False alarms per image aren't a share: they may exceed 1."""


def figures(entrant: Entrant) -> Figures:
    """What the contender does on test; n/a throughout where its policy gives no threshold."""
    if not entrant.measured:
        return Figures(**{name: Estimate(rate=Rate(count=0, of=0)) for name in FIGURES})
    return Figures(**{name: _estimate(entrant, name) for name in FIGURES})


def _estimate(entrant: Entrant, name: str) -> Estimate:
    column = FIGURES.index(name)
    count, of = entrant.per_unit(name)
    rate = Rate(count=int(entrant.count[:, :, column].sum()), of=int(entrant.of[:, column].sum()) * entrant.seeds)
    bounded = name not in _MEANS
    anew = entrant.anew
    return Estimate(
        rate=rate,
        this_threshold=rate_interval(entrant.frozen[:, column], count, of, bounded=bounded),
        this_policy=None if anew is None else rate_interval(anew[:, column], count, of, bounded=bounded),
    )


def on_validation(entrant: Entrant) -> Figures | None:
    """The same thresholds on the split they were chosen on, without intervals."""
    if not entrant.validation or not entrant.measured:
        return None
    labels = len(entrant.validation[0].evaluation.truth.categories)
    count = sum(
        tally(table, np.full(labels, value)).sum(axis=0)
        for table, value in zip(entrant.validation, entrant.threshold, strict=True)
    )
    of = sum(opportunities(table).sum(axis=0) for table in entrant.validation)
    return Figures(**{
        name: Estimate(rate=Rate(count=int(count[i]), of=int(of[i]))) for i, name in enumerate(FIGURES)
    })  # fmt: skip


def operating_point(entrant: Entrant, policy: Policy) -> OperatingPoint:
    """The thresholds and how they came about."""
    notes = list(dict.fromkeys(entrant.why))
    censored = _censored(entrant, policy)
    if censored:
        notes.append(
            "The threshold is the lowest score there is: predictions under the floor were never seen, and a lower "
            "threshold might have been chosen."
        )
    return OperatingPoint(
        policy=policy.text,
        status=entrant.status,
        thresholds=[value if np.isfinite(value) else None for value in entrant.threshold],
        censored=censored,
        notes=notes,
        validation=on_validation(entrant),
    )


def _censored(entrant: Entrant, policy: Policy) -> bool:
    if policy.kind == "recall":
        return False
    if policy.kind == "score":
        floors = [run.manifest.score_floor for run in entrant.contender.runs if run.manifest is not None]
        return any(policy.value < floor for floor in floors)
    return any(
        value <= table.evaluation.predictions.score.min(initial=np.inf)
        for table, value in zip(entrant.validation, entrant.threshold, strict=True)
        if np.isfinite(value)
    )


def sliced(entrant: Entrant, draws: Draws) -> list[Slice]:
    """FN rates of the parts of the defects, with the interval at this threshold."""
    if not entrant.measured:
        return []
    truth, groups = entrant.test[0].evaluation.truth, entrant.test[0].units
    unit, parts = groups.of_image[truth.defects.image], list(slices(truth))

    def per_unit(rows: Bools) -> Floats:
        return np.bincount(unit[rows], minlength=len(groups)).astype(float)

    of = np.stack([per_unit(part) for _, _, part in parts], axis=1)
    count = np.stack([
        np.stack([per_unit(part & ~one.found) for _, _, part in parts], axis=1) for one in entrant.judged
    ])  # fmt: skip
    drawn = ratio(np.stack([weighted(draws.test, one) for one in count]), weighted(draws.test, of))
    values, mean = over_seeds(drawn, draws.of_seeds(entrant.name)), count.mean(axis=0)
    return [
        Slice(by=by, value=value, fn_rate=Estimate(
            rate=Rate(count=int(count[:, :, i].sum()), of=int(of[:, i].sum()) * entrant.seeds),
            this_threshold=rate_interval(values[:, i], mean[:, i], of[:, i]),
        ))
        for i, (by, value, _) in enumerate(parts)
    ]  # fmt: skip


def tally_of(names: Sequence[str], values: Sequence[str]) -> dict[str, int]:
    """How often each of `names` occurs, in their order, zeros included."""
    return {name: sum(value == name for value in values) for name in names}
