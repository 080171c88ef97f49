"""Operating points: which score a detector's predictions must reach, chosen on validation.

Candidates are the scores that occur. The choice is written once, over unit weights, so that it is made
in the same way for the data as they are (all weights 1) and for each bootstrap resample of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from defect_detect.errors import ConfigError, Fault, NotMeasurable, Unreachable
from defect_detect.evaluation.judged import Evaluation
from defect_detect.evaluation.missed import Scored, scored
from defect_detect.tables import Column, Floats, Ints

_BOUNDED = re.compile(r"(fppi<=|overkill<=|recall>=|score=)(\d*\.?\d+(?:[eE][-+]?\d+)?)")
_FORMS = "fppi<=0.1 | overkill<=0.05 | recall>=0.9 | f1 | cost | score=0.5"
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a threshold is chosen.

    kind            fppi | overkill | recall | f1 | cost | score
    value           the bound of the first three, the score of the last
    escape, overkill, prevalence   of `cost`: cost of an escaped and of a needlessly rejected unit, share of defective
                                   units on the line (never taken from the dataset, which is enriched)
    """

    text: str
    kind: str
    value: float = 0.0
    escape: float = 0.0
    overkill: float = 0.0
    prevalence: float = 0.0


def parse_policy(text: str, costs: Mapping[str, float] | None = None, prevalence: float | None = None) -> Policy:
    """The policy that `text` says; `costs` has the keys `escape` and `overkill`.

    Raises:
        ConfigError: it says none, or `cost` lacks costs or prevalence.
    """
    plain = text.replace(" ", "").lower()
    if plain == "f1":
        return Policy(text=plain, kind="f1")
    if plain == "cost":
        return _cost_policy(costs or {}, prevalence)
    said = _BOUNDED.fullmatch(plain)
    if said is None:
        raise ConfigError(Fault(where="policy", expected=_FORMS, found=repr(text)))
    kind, value = said[1].rstrip("<>="), float(said[2])
    if kind != "fppi" and value > 1:
        raise ConfigError(Fault(where=f"policy {text!r}", expected="a value from 0 to 1", found=said[2]))
    return Policy(text=plain, kind=kind, value=value)


def _cost_policy(costs: Mapping[str, float], prevalence: float | None) -> Policy:
    faults: list[Fault | str] = [
        Fault(where=f"policy cost: cost of an {name}", expected="a number over 0", found=repr(costs.get(name)))
        for name in ("escape", "overkill")
        if not costs.get(name, 0) > 0
    ]
    if prevalence is None or not 0 < prevalence < 1:
        faults.append(
            Fault(
                where="policy cost: prevalence of defective units", expected="between 0 and 1", found=repr(prevalence)
            )
        )
    if faults or prevalence is None:
        raise ConfigError(*faults)
    return Policy(text="cost", kind="cost", escape=costs["escape"], overkill=costs["overkill"], prevalence=prevalence)


def threshold(policy: Policy, on: Evaluation) -> float:
    """The score that the policy chooses on `on`; predictions scoring at least that count.

    Raises:
        Unreachable: no score that occurs meets it.
        NotMeasurable: too few units to tell.
    """
    return threshold_of(policy, scored(on))


def threshold_of(policy: Policy, table: Scored) -> float:
    """`threshold`, on an evaluation already laid out."""
    if policy.kind == "score":
        return policy.value
    _check_measurable(policy, table)
    where = f"{policy.text} on {table.evaluation.truth.split}"
    if len(table.evaluation.predictions) == 0:
        raise Unreachable(f"{where}: the detector made no prediction at all")
    chosen = float(choose(policy, table, np.ones((1, len(table.units)), np.int64))[0])
    if not np.isfinite(chosen):
        raise Unreachable(f"{where}: {_why(policy, table)}")
    return chosen


def _check_measurable(policy: Policy, table: Scored) -> None:
    groups, split = table.units, table.evaluation.truth.split
    free, defective = int(groups.defect_free.sum()), int(groups.defective.sum())
    if policy.kind == "overkill" and free * policy.value < 1:
        raise NotMeasurable(
            f"{policy.text}: {split} has {free} defect-free units, too few to tell (at least 1/x needed)"
        )
    if policy.kind in ("recall", "f1") and not len(table.defects):
        raise NotMeasurable(f"{policy.text}: {split} has no defects")
    if policy.kind == "cost" and not (free and defective):
        raise NotMeasurable(f"cost: {split} has {defective} defective and {free} defect-free units, both are needed")


def _why(policy: Policy, table: Scored) -> str:
    if policy.kind == "recall":
        hits = int(np.isfinite(table.found_at).sum())
        return f"the best recall is {hits} of {len(table.defects)}"
    if policy.kind == "f1":
        return "no prediction finds a defect"
    return "even its highest score exceeds the budget"


def choose(policy: Policy, table: Scored, weights: Column) -> Floats:
    """(B,) the policy's threshold for each row of unit weights (B, U) int; inf where no score meets it."""
    if policy.kind == "score":
        return np.full(len(weights), policy.value)
    scores = np.unique(table.evaluation.predictions.score)[::-1]
    if len(scores) == 0:
        return np.full(len(weights), np.inf)
    # A budget is spent by the first false alarms: the scores under four times as many seldom matter.
    if policy.kind == "fppi":
        false = table.alarms.score[table.alarms.false]
        most = int(4 * policy.value * table.units.images.sum()) + 50
        if most < len(false):
            chosen = _choose(policy, table, scores[scores >= false[most]], weights)
            if (chosen > false[most]).all():
                return chosen
    return _choose(policy, table, scores, weights)


def _choose(policy: Policy, table: Scored, scores: Floats, weights: Column) -> Floats:
    padded = np.append(scores, np.inf)
    within = int((table.evaluation.predictions.score >= scores[-1]).sum())
    step = max(_CELLS // within, 1)
    parts = [weights[start : start + step] for start in range(0, len(weights), step)]
    return np.concatenate([padded[_pick(policy, table, scores, part.astype(np.int32))] for part in parts])


def _pick(policy: Policy, table: Scored, scores: Floats, weights: Column) -> Ints:
    """(rows,) the chosen candidate, by place in descending `scores`; -1: none."""
    alarms = table.alarms
    if policy.kind in ("fppi", "overkill"):
        if policy.kind == "fppi":
            count = _cumulated(scores, alarms.score[alarms.false], alarms.unit[alarms.false], weights)
            of = weights @ table.units.images
        else:
            count, of = _alarmed(table, table.units.defect_free, scores, weights)
        met: Ints = (count / np.maximum(of, 1)[:, None] <= policy.value).sum(axis=1)
        return met - 1
    hits = np.isfinite(table.found_at)
    if policy.kind == "cost":
        alarmed, defective = _alarmed(table, table.units.defective, scores, weights)
        rejected, free = _alarmed(table, table.units.defect_free, scores, weights)
        escape = 1 - alarmed / np.maximum(defective, 1)[:, None]
        overkill = rejected / np.maximum(free, 1)[:, None]
        cost = policy.prevalence * escape * policy.escape + (1 - policy.prevalence) * overkill * policy.overkill
        return _last_best(-cost)
    count = _cumulated(scores, table.found_at[hits], table.unit[hits], weights)
    defects = np.maximum(weights @ table.units.defects, 1)[:, None]
    if policy.kind == "recall":
        enough = count / defects >= policy.value
        return np.where(enough.any(axis=1), enough.argmax(axis=1), -1)
    false = _cumulated(scores, alarms.score[alarms.false], alarms.unit[alarms.false], weights)
    f1 = 2 * count / np.maximum(count + false + defects, 1)
    return np.where(f1.max(axis=1) > 0, _last_best(f1), -1)


def _last_best(value: Floats) -> Ints:
    """The lowest score among equally good ones: it misses the fewest."""
    best: Ints = value.shape[1] - 1 - value[:, ::-1].argmax(axis=1)
    return best


def _cumulated(scores: Floats, score: Floats, unit: Ints, weights: Column) -> Column:
    """(rows, C) weighted count of events scoring at least each of the descending candidates."""
    within = score >= scores[-1]
    score, unit = score[within], unit[within]
    order = np.argsort(-score, kind="stable")
    ends = np.searchsorted(-score[order], -scores, side="right")
    running = np.zeros((len(weights), len(order) + 1), np.int32)
    np.cumsum(weights[:, unit[order]], axis=1, dtype=np.int32, out=running[:, 1:])
    return running[:, ends]


def _alarmed(table: Scored, of_units: Column, scores: Floats, weights: Column) -> tuple[Column, Column]:
    """Weighted count of alarmed units among `of_units` (U,) bool at each candidate, and of all of them."""
    # Alarms go by descending score, so a unit's first one is its highest.
    unit, first = np.unique(table.alarms.unit, return_index=True)
    keep = of_units[unit]
    count = _cumulated(scores, table.alarms.score[first[keep]], unit[keep], weights)
    return count, weights @ of_units
