"""Operating points of a comparison in memory: its own, one that somebody drags to, or what a policy chooses on val."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from defect_detect import folder as comparisons
from defect_detect.errors import ConfigError, Fault, Unreachable
from defect_detect.evaluation import per_class
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.operating import parse_policy, threshold_of
from defect_detect.explore.columns import Columns
from defect_detect.tables import Floats

Thresholds = Mapping[str, tuple[Floats, ...]]
"""Detector -> for each of its seeds (K,) by label, inf: the class is silent. No vector at all: nothing is measured."""


def as_stored(columns: Columns) -> Thresholds:
    """The operating points of `comparison.json`."""
    measured = measurable(columns.comparison)
    return {
        one.contender.name: tuple(one.threshold) if one.contender.name in measured else ()
        for one in comparisons.standings(columns.contenders, columns.comparison)
    }


def measurable(comparison: Comparison) -> set[str]:
    """The detectors that have figures: an unreachable policy may leave one without."""
    return {one.name for one in comparison.detectors if one.test.fn_rate.rate.of > 0}


def at_score(columns: Columns, score: float | Mapping[str, float]) -> Thresholds:
    """One score for all classes and seeds: of all detectors, or of each."""
    labels = len(columns.truth.categories)
    return {
        one.name: (np.full(labels, score[one.name] if isinstance(score, Mapping) else score),) * len(one.runs)
        for one in columns.contenders
    }


def by_policy(
    columns: Columns,
    text: str,
    costs: Mapping[str, float] | None = None,
    prevalence: float | None = None,
    *,
    per_class_too: bool = False,
) -> tuple[Thresholds, dict[str, str]]:
    """What the policy chooses on val, and for detectors that it can't be chosen for: why.

    A budget that can't be kept silences the detector; other policies leave nothing to measure.

    Raises:
        ConfigError: `text` says no policy, or a detector has no predictions on val to choose by.
    """
    policy = parse_policy(text, costs, prevalence, per_class=per_class_too)
    labels = len(columns.truth.categories)
    if policy.kind == "score":
        return at_score(columns, policy.value), {}
    faults = [
        Fault(where=one.name, expected=f"predictions on val, on which {policy.text} chooses", found="none")
        for one in columns.contenders
        if len(columns.validation[one.name]) < len(one.runs)
    ]
    if faults:
        raise ConfigError(*faults)
    chosen: dict[str, tuple[Floats, ...]] = {}
    why: dict[str, str] = {}
    choose = per_class.thresholds_of if policy.per_class else threshold_of
    for name, tables in columns.validation.items():
        vectors: list[Floats] = []
        for table in tables:
            try:
                vectors.append(np.broadcast_to(choose(policy, table), labels))
            except Unreachable as error:
                why[name] = str(error)
                if policy.kind in ("fppi", "overkill"):
                    vectors.append(np.full(labels, np.inf))
        chosen[name] = tuple(vectors) if len(vectors) == len(tables) else ()
    return chosen, why
