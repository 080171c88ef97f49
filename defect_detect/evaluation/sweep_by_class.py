"""What a detector does at many budgets, each class at a threshold of its own: what a report's slider shows then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.errors import Unreachable
from defect_detect.evaluation import per_class
from defect_detect.evaluation.comparison import Sweep
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.missed import Scored, found
from defect_detect.evaluation.operating import Policy, parse_policy
from defect_detect.evaluation.sweep import BUDGETS
from defect_detect.tables import Floats, Ints


def sweep_by_class(entrant: Entrant, policy: Policy) -> Sweep:
    """The counts at budgets of 0, and from 0.01 to 8, FPPI on validation, rising, summed over the seeds.

    At each budget every seed has the thresholds that `fppi<=BUDGET` chooses by class, whatever the policy is; where the
    policy is one of false alarms, its budget is among them, and so its thresholds are. Budgets that no thresholds keep
    are left out.
    """
    wanted = sorted({0.0, *BUDGETS.tolist(), *([policy.value] if policy.kind == "fppi" else [])})
    budgets, steps = _steps(entrant.validation, wanted)
    test = np.array([[_counts(table, one) for table, one in zip(entrant.test, step, strict=True)] for step in steps])
    total: Ints = test.reshape(len(steps), len(entrant.test), 4).sum(axis=1)
    false = [sum(_false(table, one) for table, one in zip(entrant.validation, step, strict=True)) for step in steps]
    groups, seeds = entrant.test[0].units, entrant.seeds
    on = int(entrant.validation[0].units.images.sum()) * seeds
    names = [category.name for category in entrant.test[0].evaluation.truth.categories]
    return Sweep(
        threshold=[float(np.min(step)) for step in steps],
        validation_fppi=[count / on for count in false],
        missed=total[:, 0].tolist(),
        defects=int(groups.defects.sum()) * seeds,
        false_alarms=total[:, 1].tolist(),
        images=int(groups.images.sum()) * seeds,
        escaped=total[:, 2].tolist(),
        defective=int(groups.defective.sum()) * seeds,
        overkilled=total[:, 3].tolist(),
        defect_free=int(groups.defect_free.sum()) * seeds,
        budget=budgets,
        by_class=[
            {name: [_known(step[seed][k]) for step in steps] for k, name in enumerate(names)} for seed in range(seeds)
        ],
    )


def _steps(validation: Sequence[Scored], wanted: Sequence[float]) -> tuple[list[float], list[list[Floats]]]:
    """The budgets that some thresholds keep, and those thresholds (K,), seed by seed."""
    budgets: list[float] = []
    steps: list[list[Floats]] = []
    for budget in wanted:
        policy = parse_policy(f"fppi<={budget!r}", per_class=True)
        try:
            step = [per_class.thresholds_of(policy, table) for table in validation]
        except Unreachable:
            continue
        budgets.append(budget)
        steps.append(step)
    return budgets, steps


def _counts(table: Scored, threshold: Floats) -> tuple[int, int, int, int]:
    """Missed defects, false alarms, escaped and needlessly rejected units at the thresholds (K,)."""
    groups, alarms = table.units, table.alarms.over(threshold)
    alarmed = np.zeros(len(groups), np.bool_)
    alarmed[alarms.unit] = True
    missed = int((~found(table.evaluation, threshold)[table.defects]).sum())
    escaped, overkilled = int((groups.defective & ~alarmed).sum()), int((groups.defect_free & alarmed).sum())
    return missed, int(alarms.false.sum()), escaped, overkilled


def _false(table: Scored, threshold: Floats) -> int:
    return int(table.alarms.over(threshold).false.sum())


def _known(threshold: float) -> float | None:
    return float(threshold) if np.isfinite(threshold) else None
