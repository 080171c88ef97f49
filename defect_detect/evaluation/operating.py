"""Operating points: which score a detector's predictions must reach, chosen on validation.

Candidates are the scores that occur. The choice is written once, over unit weights, so that it is made
in the same way for the data as they are (all weights 1) and for each bootstrap resample of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from defect_detect.errors import ConfigError, Fault, NotMeasurable, Unreachable
from defect_detect.evaluation.best import lowest_best
from defect_detect.evaluation.descent import Descent, Events, descent
from defect_detect.evaluation.judged import Evaluation
from defect_detect.evaluation.missed import Scored, scored
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.running import Running
from defect_detect.evaluation.units import Units
from defect_detect.tables import Column, Floats, Ints

_BOUNDED = re.compile(r"(fppi<=|overkill<=|recall>=|score=)(\d*\.?\d+(?:[eE][-+]?\d+)?)")
_FORMS = "fppi<=0.1 | overkill<=0.05 | recall>=0.9 | f1 | cost | score=0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a threshold is chosen.

    kind            fppi | overkill | recall | f1 | cost | score
    value           the bound of the first three, the score of the last
    per_class       whether each class has a threshold of its own, all sharing one budget
    escape, overkill, prevalence   of `cost`: cost of an escaped and of a needlessly rejected unit, share of defective
                                   units on the line (never taken from the dataset, which is enriched)
    """

    text: str
    kind: str
    value: float = 0.0
    escape: float = 0.0
    overkill: float = 0.0
    prevalence: float = 0.0
    per_class: bool = False


def parse_policy(
    text: str, costs: Mapping[str, float] | None = None, prevalence: float | None = None, *, per_class: bool = False
) -> Policy:
    """The policy that `text` says; `costs` has the keys `escape` and `overkill`.

    `per_class`: each class has a threshold of its own.

    >>> parse_policy("fppi<=0.1", per_class=True).text
    'fppi<=0.1 per class'

    Raises:
        ConfigError: it says none, `cost` lacks costs or prevalence, or a fixed score is to be chosen by class.
    """
    found = _parsed(text, costs, prevalence)
    if not per_class:
        return found
    if found.kind == "score":
        raise ConfigError(Fault(where=f"policy {text!r}", expected="a policy that chooses a threshold for each class",
                                found="one fixed score for all", fix="Leave out --per-class."))  # fmt: skip
    return replace(found, per_class=True, text=f"{found.text} per class")


def _parsed(text: str, costs: Mapping[str, float] | None, prevalence: float | None) -> Policy:
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
    check_measurable(policy, table)
    where = f"{policy.text} on {table.evaluation.truth.split}"
    if len(table.evaluation.predictions) == 0:
        raise Unreachable(f"{where}: the detector made no prediction at all")
    chosen = float(choose(policy, table, np.ones((1, len(table.units)), np.int64))[0])
    if not np.isfinite(chosen):
        raise Unreachable(f"{where}: {why(policy, table)}")
    return chosen


def check_measurable(policy: Policy, table: Scored) -> None:
    """Refuse a policy on which the split's units can't tell.

    Raises:
        NotMeasurable: too few units.
    """
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


def why(policy: Policy, table: Scored) -> str:
    """Why no score meets the policy."""
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
    events = descent(table)

    def chosen(part: Column, _: slice) -> Column:
        return _chosen(policy, table.units, events, scores, part)

    result: Floats = in_parts(chosen, weights)
    return result


def _chosen(policy: Policy, units: Units, events: Descent, scores: Floats, weights: Column) -> Floats:
    """(R,) thresholds for weights (U, R), among the descending `scores`."""
    if policy.kind == "fppi":
        most = most_within(policy.value, _of(weights, units.images))
        # A budget is spent by the first false alarms: those after four times as many seldom matter.
        early = events.false.first(int(4 * policy.value * units.images.sum()) + 50)
        met = Running(early.unit, weights).within(most)
        if len(early) < len(events.false) and (met == len(early)).any():
            early = events.false
            met = Running(early.unit, weights).within(most)
        return _lowest_over(scores, early, met)
    if policy.kind == "overkill":
        most = most_within(policy.value, _of(weights, units.defect_free))
        return _lowest_over(scores, events.rejected, Running(events.rejected.unit, weights).within(most))
    if policy.kind == "recall":
        short = least_reaching(policy.value, _of(weights, units.defects)) - 1
        first = Running(events.found.unit, weights).within(short)
        reached = np.append(events.found.score, np.inf)[first]
        return np.where(short < 0, scores[0], reached)
    if policy.kind == "f1":
        defects = _of(weights, units.defects)

        def f1(hits: Ints, false: Ints, of: Ints) -> Floats:
            result: Floats = 2 * hits / np.maximum(hits + false + defects[of], 1)
            return np.where(hits > 0, result, -np.inf)

        return lowest_best(f1, events.found, events.false, scores, weights)
    defective, free = _of(weights, units.defective), _of(weights, units.defect_free)

    def gain(alarmed: Ints, rejected: Ints, of: Ints) -> Floats:
        escape, overkill = 1 - alarmed / defective[of], rejected / free[of]
        cost = policy.prevalence * escape * policy.escape + (1 - policy.prevalence) * overkill * policy.overkill
        return np.asarray(-cost)

    return lowest_best(gain, events.alarmed, events.rejected, scores, weights)


def _of(weights: Column, per_unit: Column) -> Ints:
    """(R,) how many were drawn, at least 1: where none was, none can be counted either."""
    drawn: Ints = np.maximum(per_unit.astype(np.int64) @ weights.astype(np.int64), 1)
    return drawn


def most_within(share: float, of: Ints) -> Ints:
    """The largest count c with c / of <= share, compared in floating point as a rate is."""
    count: Ints = np.floor(share * of).astype(np.int64)
    count += (count + 1) / of <= share
    count -= count / of > share
    return count


def least_reaching(share: float, of: Ints) -> Ints:
    """The smallest count c with c / of >= share, compared in floating point as a rate is."""
    count: Ints = np.ceil(share * of).astype(np.int64)
    count -= (count - 1) / of >= share
    count += count / of < share
    return count


def _lowest_over(scores: Floats, events: Events, happened: Ints) -> Floats:
    """The lowest score at which no more than the first events have happened; inf where there is none."""
    over = np.append(np.searchsorted(-scores, -events.score, side="left"), len(scores))
    lowest: Floats = np.append(np.inf, scores)[over[happened]]
    return lowest
