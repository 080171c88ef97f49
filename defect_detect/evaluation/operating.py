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
from defect_detect.evaluation.best import Value, lowest_best
from defect_detect.evaluation.descent import Events, descent
from defect_detect.evaluation.judged import Evaluation
from defect_detect.evaluation.missed import Scored, scored
from defect_detect.evaluation.parts import in_parts
from defect_detect.evaluation.resampling import summing
from defect_detect.evaluation.running import Running
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
    """The policy that `text` says; `costs` has the keys `escape` and `overkill`, and stays with whatever policy.

    `per_class`: each class has a threshold of its own.

    >>> parse_policy("fppi<=0.1", per_class=True).text
    'fppi<=0.1 per class'

    Raises:
        ConfigError: it says none, `cost` lacks costs or prevalence, or a fixed score is to be chosen by class.
    """
    found = _parsed(text, costs, prevalence)
    if (costs or prevalence is not None) and found.kind != "cost":
        priced = _cost_policy(costs or {}, prevalence)
        found = replace(found, escape=priced.escape, overkill=priced.overkill, prevalence=priced.prevalence)
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
        raise ConfigError(Fault(where="--policy", expected=_FORMS, found=repr(text)))
    kind, value = said[1].rstrip("<>="), float(said[2])
    if kind != "fppi" and value > 1:
        raise ConfigError(Fault(where=f"--policy {text!r}", expected="a value from 0 to 1", found=said[2]))
    return Policy(text=plain, kind=kind, value=value)


_GIVE = "Give --costs escape=COST overkill=COST and --prevalence SHARE."


def _cost_policy(costs: Mapping[str, float], prevalence: float | None) -> Policy:
    faults: list[Fault | str] = [
        Fault(where=f"cost of an {name}", expected="a number over 0", found=repr(costs.get(name)), fix=_GIVE)
        for name in ("escape", "overkill")
        if not costs.get(name, 0) > 0
    ]
    if prevalence is None or not 0 < prevalence < 1:
        faults.append(
            Fault(where="prevalence of defective units", expected="between 0 and 1", found=repr(prevalence), fix=_GIVE)
        )
    if faults or prevalence is None:
        raise ConfigError(*faults)
    return Policy(text="cost", kind="cost", escape=costs["escape"], overkill=costs["overkill"], prevalence=prevalence)


def threshold(policy: Policy, on: Evaluation) -> float:
    """The score that the policy chooses on `on`; predictions scoring at least that count.

    >>> from defect_detect.evaluation import example
    >>> threshold(parse_policy("fppi<=0.25"), example.evaluation())
    0.6

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
    events, units = descent(table), table.units
    drawn = summing(weights, np.stack([units.images, units.defects, units.defective, units.defect_free], axis=1))
    early = int(4 * policy.value * units.images.sum()) + 50

    def chosen(part: Column, _: slice) -> Column:
        # Where none was drawn none can be counted either, and any denominator will do.
        images, defects, defective, free = np.maximum(drawn(part), 1).astype(np.int64)
        if policy.kind == "fppi":
            return _within(most_within(policy.value, images), events.false, scores, part, early)
        if policy.kind == "overkill":
            return _within(most_within(policy.value, free), events.rejected, scores, part, len(events.rejected))
        if policy.kind == "recall":
            return _reaching(policy.value, events.found, defects, scores, part)
        if policy.kind == "f1":
            return lowest_best(_f1(defects), events.found, events.false, scores, part)
        return lowest_best(_saved(policy, defective, free), events.alarmed, events.rejected, scores, part)

    result: Floats = in_parts(chosen, weights)
    return result


def _within(most: Ints, events: Events, scores: Floats, weights: Column, early: int) -> Floats:
    """(R,) the lowest of `scores` with at most so many events; a budget is mostly spent by the `early` ones."""
    some = events.first(early)
    happened = Running(some.unit, weights).within(most)
    if len(some) < len(events) and (happened == len(some)).any():
        return _within(most, events, scores, weights, len(events))
    over = np.append(np.searchsorted(-scores, -some.score, side="left"), len(scores))
    lowest: Floats = np.append(np.inf, scores)[over[happened]]
    return lowest


def _reaching(share: float, events: Events, of: Ints, scores: Floats, weights: Column) -> Floats:
    """(R,) the highest of `scores` with at least that share of events; inf where they are too few."""
    short = least_reaching(share, of) - 1
    first = Running(events.unit, weights).within(short)
    return np.where(short < 0, scores[0], np.append(events.score, np.inf)[first])


def _f1(defects: Ints) -> Value:
    def value(hits: Ints, false: Ints, of: Ints) -> Floats:
        return np.where(hits > 0, 2 * hits / np.maximum(hits + false + defects[of], 1), -np.inf)

    return value


def _saved(policy: Policy, defective: Ints, free: Ints) -> Value:
    def value(alarmed: Ints, rejected: Ints, of: Ints) -> Floats:
        escape, overkill = 1 - alarmed / defective[of], rejected / free[of]
        cost = policy.prevalence * escape * policy.escape + (1 - policy.prevalence) * overkill * policy.overkill
        return np.asarray(-cost)

    return value


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
