"""How many defects a detector misses at a threshold, and what it alarms for in exchange.

Everything is counted per sampling unit, so that one table serves the rates, their bootstraps and the
paired tests. Definitions: docs/metrics.md, 'Missed defects'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Rate
from defect_detect.evaluation.froc import fn_rate_at_budget, froc, mean_froc_recall
from defect_detect.evaluation.judged import Evaluation
from defect_detect.evaluation.matching import assign, overlapping
from defect_detect.evaluation.units import Units, units
from defect_detect.tables import Bools, Floats, Ints

__all__ = [
    "FIGURES", "Alarms", "Scored", "fn_rate_at_budget", "found", "found_any_class", "froc", "mean_froc_recall",
    "opportunities", "rates", "scored", "tally",
]  # fmt: skip

FIGURES = (
    "fn_rate",
    "fn_rate_any_class",
    "escape_rate",
    "alarmed_elsewhere",
    "overkill_rate",
    "fppi",
    "fppi_defect_free",
)
"""The columns of a tally, named as in `comparison.Figures`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """A predictions that count, by descending score; absorbed ones are left out.

    score   (A,) float64
    label   (A,) int64
    image   (A,) int64
    unit    (A,) int64
    false   (A,) bool, found no defect of its label
    touches (A,) bool, shares area with a defect that counts, whatever its class
    """

    score: Floats
    label: Ints
    image: Ints
    unit: Ints
    false: Bools
    touches: Bools

    def over(self, threshold: Floats) -> Alarms:
        """Those scoring at least the threshold of their label, (K,)."""
        # Sorted by score: the lowest threshold cuts off a prefix, which is most of the work.
        least = threshold.min() if len(threshold) else np.inf
        prefix = slice(0, int(np.searchsorted(-self.score, -least, side="right")))
        keep = self.score[prefix] >= threshold[self.label[prefix]]
        return Alarms(
            score=self.score[prefix][keep],
            label=self.label[prefix][keep],
            image=self.image[prefix][keep],
            unit=self.unit[prefix][keep],
            false=self.false[prefix][keep],
            touches=self.touches[prefix][keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """An evaluation laid out for counting at many thresholds.

    defects     (D,) int64, rows of the defects that count
    unit        (D,) int64, their units
    label       (D,) int64, their labels
    found_at    (D,) float64, score that found them, class-aware; -inf: none
    free_image  (N,) bool, pictures without any annotation
    """

    evaluation: Evaluation
    units: Units
    defects: Ints
    unit: Ints
    label: Ints
    found_at: Floats
    alarms: Alarms
    free_image: Bools


def scored(evaluation: Evaluation) -> Scored:
    """Lay an evaluation out for counting."""
    truth, matching = evaluation.truth, evaluation.matching
    groups = units(truth)
    rows = np.flatnonzero(truth.defects.counts)
    return Scored(
        evaluation=evaluation,
        units=groups,
        defects=rows,
        unit=groups.of_image[truth.defects.image[rows]],
        label=truth.defects.label[rows],
        found_at=matching.found_at[rows],
        alarms=_alarms(evaluation, groups),
        free_image=truth.defect_free,
    )


def _alarms(evaluation: Evaluation, groups: Units) -> Alarms:
    predictions, matching = evaluation.predictions, evaluation.matching
    pairs = overlapping(evaluation.truth, predictions)
    touches = np.zeros(len(predictions), np.bool_)
    touches[pairs.prediction[evaluation.truth.defects.counts[pairs.defect]]] = True
    order = np.argsort(-predictions.score, kind="stable")
    order = order[~matching.absorbed[order]]
    return Alarms(
        score=predictions.score[order],
        label=predictions.label[order],
        image=predictions.image[order],
        unit=groups.of_image[predictions.image[order]],
        false=matching.defect_of[order] < 0,
        touches=touches[order] | (evaluation.any_class.defect_of[order] >= 0),
    )


def found(evaluation: Evaluation, threshold: Floats) -> Bools:
    """(G,) bool: found by a prediction of its own label at the thresholds (K,).

    >>> from defect_detect.evaluation import example
    >>> found(example.evaluation(), np.full(2, 0.5)).tolist()
    [True, True, False]
    """
    least = threshold[evaluation.truth.defects.label]
    return np.isfinite(evaluation.matching.found_at) & (evaluation.matching.found_at >= least)


def found_any_class(evaluation: Evaluation, threshold: Floats) -> Bools:
    """(G,) bool: found by a prediction of whatever label at the thresholds (K,)."""
    matching = evaluation.any_class
    if (threshold == threshold[:1]).all():
        least = threshold[0] if len(threshold) else np.inf
        return np.isfinite(matching.found_at) & (matching.found_at >= least)
    # With a threshold for each label the counting predictions are no prefix by score: match them alone.
    predictions = evaluation.predictions
    counting = predictions.take(predictions.score >= threshold[predictions.label])
    pairs = overlapping(evaluation.truth, counting, matching.rule.geometry)
    return assign(evaluation.truth.defects, counting, pairs, matching.rule).prediction_of >= 0


def tally(table: Scored, threshold: Floats) -> Ints:
    """(U, 7) int64: the numerators of FIGURES, per unit, at the thresholds (K,)."""
    groups, size = table.units, len(table.units)
    counts = table.evaluation.truth.defects.counts
    alarms = table.alarms.over(threshold)
    alarmed = np.bincount(alarms.unit, minlength=size) > 0
    touched = np.bincount(alarms.unit[alarms.touches], minlength=size) > 0
    false = alarms.unit[alarms.false]
    on_free = alarms.unit[alarms.false & table.free_image[alarms.image]]
    missed = ~found(table.evaluation, threshold)[table.defects]
    missed_any = ~found_any_class(table.evaluation, threshold)[counts]
    columns = (
        np.bincount(table.unit[missed], minlength=size),
        np.bincount(table.unit[missed_any], minlength=size),
        groups.defective & ~alarmed,
        groups.defective & alarmed & ~touched,
        groups.defect_free & alarmed,
        np.bincount(false, minlength=size),
        np.bincount(on_free, minlength=size),
    )
    return np.stack(columns, axis=1).astype(np.int64)


def opportunities(table: Scored) -> Ints:
    """(U, 7) int64: the denominators of FIGURES, per unit."""
    groups = table.units
    free_images = np.bincount(groups.of_image[table.free_image], minlength=len(groups))
    columns = (
        groups.defects, groups.defects, groups.defective, groups.defective, groups.defect_free,
        groups.images, free_images,
    )  # fmt: skip
    return np.stack(columns, axis=1).astype(np.int64)


def rates(table: Scored, threshold: Floats) -> dict[str, Rate]:
    """Each of FIGURES as a count with its denominator, at the thresholds (K,).

    >>> from defect_detect.evaluation import example
    >>> rates(scored(example.evaluation()), np.full(2, 0.5))["fn_rate"]
    Rate(count=1, of=3)
    >>> rates(scored(example.evaluation()), np.full(2, 0.5))["fn_rate_any_class"]
    Rate(count=0, of=3)
    """
    count, of = tally(table, threshold).sum(axis=0), opportunities(table).sum(axis=0)
    return {name: Rate(count=int(count[i]), of=int(of[i])) for i, name in enumerate(FIGURES)}
