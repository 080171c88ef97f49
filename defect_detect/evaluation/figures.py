"""From counts to figures with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.comparison import Estimate, Figures, OperatingPoint, Rate
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.intervals import rate_interval
from defect_detect.evaluation.missed import FIGURES, opportunities, tally
from defect_detect.evaluation.operating import Policy

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
    anew, drawn = entrant.anew, entrant.frozen[:, column]
    frozen, policy = (entrant.spread(name, policy=chosen) for chosen in (False, True))
    return Estimate(
        rate=rate,
        this_threshold=rate_interval(drawn, count, of, bounded=bounded, spread=frozen),
        this_policy=None if anew is None else rate_interval(anew[:, column], count, of, bounded=bounded, spread=policy),
    )


def on_validation(entrant: Entrant) -> Figures | None:
    """The same thresholds on the split they were chosen on, without intervals."""
    if not entrant.validation or not entrant.measured:
        return None
    count = sum(
        tally(table, vector).sum(axis=0) for table, vector in zip(entrant.validation, entrant.by_label, strict=True)
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
        by_class=_by_class(entrant) if policy.per_class else [],
        censored=censored,
        notes=notes,
        validation=on_validation(entrant),
    )


def _by_class(entrant: Entrant) -> list[dict[str, float | None]]:
    names = [category.name for category in entrant.test[0].evaluation.truth.categories]
    return [
        {name: float(value) if np.isfinite(value) else None for name, value in zip(names, vector, strict=True)}
        for vector in entrant.by_label
    ]


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


def tally_of(names: Sequence[str], values: Sequence[str]) -> dict[str, int]:
    """How often each of `names` occurs, in their order, zeros included."""
    counted = Counter(values)
    return {name: counted[name] for name in names}
