"""One detector's predictions on one split, held against the truth: the values evaluation hands around."""

from __future__ import annotations

from dataclasses import dataclass

from defect_detect.job import Manifest
from defect_detect.tables import Bools, Column, Dataset, Floats, Ints, Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a prediction finds a defect."""

    iou: float = 0.5
    class_aware: bool = True
    geometry: str = "box"
    """`box` | `mask`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Which prediction found which defect; valid for every score threshold (DESIGN, prefix property).

    prediction_of  (G,) int64, row in the predictions, -1: none (always, for defects that don't count)
    defect_of      (P,) int64, row in the defects, -1: none (always, for absorbed predictions)
    absorbed       (P,) bool, taken by a crowd or an ignored defect: neither hit nor false alarm
    iou            (G,) float64, of the matched pair, 0 where there is none
    found_at       (G,) float64, the score of the matched prediction, -inf: none. Missed at s <=> found_at < s
    """

    rule: Rule
    prediction_of: Ints
    defect_of: Ints
    absorbed: Bools
    iou: Floats
    found_at: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Predictions (in canonical order) of one detector on one split, matched both ways."""

    truth: Dataset
    predictions: Predictions
    matching: Matching
    """By the primary rule, class-aware."""
    any_class: Matching
    """The same rule, labels ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One trained model (or one foreign predictions file): a seed of a contender."""

    seed: int
    test: Evaluation
    validation: Evaluation | None
    manifest: Manifest | None
    """How the predictions on test were made."""
    validation_manifest: Manifest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A detector under its name, with all its seeds."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contender at thresholds that were chosen before, (K,) by label for each seed."""

    contender: Contender
    threshold: tuple[Floats, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One run on the test split at its operating point: a fate for every defect and every prediction.

    threshold  (K,) float64 by label, inf where the policy is unreachable
    found      (G,) bool
    reason     (G,) str, METRICS' reason of a miss; empty where found, or where the defect doesn't count
    candidate  (G,) int64, the prediction that found the defect, else the nearest one that explains the miss, -1: none
    outcome    (P,) str: hit | absorbed | below_threshold | duplicate | misclassified | mislocalized | background
    """

    name: str
    seed: int
    evaluation: Evaluation
    threshold: Floats
    found: Bools
    reason: Column
    candidate: Ints
    outcome: Column
