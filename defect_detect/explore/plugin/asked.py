"""What somebody set in the panel: detectors, the matching rule, and the operating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from defect_detect.evaluation.judged import Rule
from defect_detect.explore.columns import Columns
from defect_detect.explore.operating import Thresholds, as_stored, at_score, by_policy

STORED, SCORE, SCORES = "stored", "score", "scores"
MIDDLE = 0.5
"""Where a slider starts that knows no better."""
POLICIES = (
    *(f"fppi<={budget}" for budget in ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5")),
    *(f"overkill<={share}" for share in ("0.01", "0.02", "0.05", "0.1", "0.2")),
    *(f"recall>={share}" for share in ("0.8", "0.9", "0.95", "0.99", "1")),
    "f1",
)
"""What the panel offers; `cost` besides, where the comparison knows its costs."""
IOUS = (0.1, 0.25, 0.3, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The panel's settings.

    names      detectors, in the comparison's order; at least one
    operating  STORED, SCORE (one threshold for all), SCORES (one for each detector), or a policy
    scores     detector -> its threshold, of SCORE and SCORES
    corrected  whether the labels are taken as the marks correct them
    """

    names: tuple[str, ...]
    rule: Rule
    operating: str = STORED
    scores: tuple[tuple[str, float], ...] = ()
    corrected: bool = False


def asked(state: Mapping[str, Any], held: Columns) -> Asked:
    """What the panel's state says; whatever is missing or makes no sense is as in the comparison."""
    chosen = state.get("detectors") or held.names
    names = tuple(name for name in held.names if name in chosen) or held.names
    protocol = held.comparison.protocol
    operating = str(state.get("operating") or STORED)
    scores: tuple[tuple[str, float], ...] = ()
    if operating == SCORE:
        scores = tuple((name, _number(state.get("score"), MIDDLE)) for name in names)
    elif operating == SCORES:
        scores = tuple(
            (name, _number(state.get(f"score_{held.names.index(name)}"), first(held, name))) for name in names
        )
    return Asked(
        names=names,
        rule=Rule(
            iou=_number(state.get("iou"), protocol.iou), geometry=str(state.get("geometry") or protocol.geometry)
        ),
        operating=operating,
        scores=scores,
        corrected=bool(state.get("corrected")),
    )


def offered(held: Columns) -> tuple[str, ...]:
    """The policies that the panel offers for this comparison: none where some detector has nothing on val."""
    if not all(held.validation[one.name] for one in held.contenders):
        return ()
    return (*POLICIES, "cost") if held.comparison.protocol.costs else POLICIES


def thresholds(held: Columns, wanted: Asked) -> tuple[Thresholds, Mapping[str, str]]:
    """The thresholds of the detectors that were asked for, and why some have none.

    Raises:
        ConfigError: the policy can't be followed.
    """
    if wanted.operating == STORED:
        return {name: as_stored(held)[name] for name in wanted.names}, {}
    if wanted.scores:
        given = dict.fromkeys(held.names, 1.0) | dict(wanted.scores)
        return {name: at_score(held, given)[name] for name in wanted.names}, {}
    costs = dict(held.comparison.protocol.costs)
    prevalence = costs.pop("prevalence", None)
    if wanted.operating != "cost":
        costs, prevalence = {}, None
    chosen, why = by_policy(held, wanted.operating, costs, prevalence)
    return {name: chosen[name] for name in wanted.names}, why


def first(held: Columns, name: str) -> float:
    """Where a detector's slider starts: at its threshold of the comparison; in the middle where it has none."""
    vectors = as_stored(held)[name]
    least = float(vectors[0].min(initial=2)) if vectors else 2.0
    return least if least <= 1 else MIDDLE


def in_words(wanted: Asked, held: Columns) -> str:
    """The operating point and the rule: `score 0.7, IoU 0.5 of boxes`."""
    point = held.comparison.protocol.policy if wanted.operating == STORED else wanted.operating
    if wanted.scores:
        same = len({score for _, score in wanted.scores}) == 1
        point = "score " + (
            f"{wanted.scores[0][1]:g}" if same else ", ".join(f"{name} {score:g}" for name, score in wanted.scores)
        )
    shape = {"box": "boxes", "mask": "masks"}[wanted.rule.geometry]
    return f"{point}, IoU {wanted.rule.iou:g} of {shape}"


def _number(found: Any, otherwise: float) -> float:
    try:
        return otherwise if found is None else float(found)
    except (TypeError, ValueError):
        return otherwise
