"""Conditions under which a run fails, for CI: `fnr@fppi<=0.1 > 0.05`, `worse than baseline, p < 0.05`.

The language is docs/gate.md's. What can't be measured fails too: a gate that can't see is not open.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from defect_detect.errors import ConfigError, Fault, did_you_mean
from defect_detect.evaluation.comparison import Detector, Estimate, Figures, Interval, Slice

FIGURES = {
    "fnr": "fn_rate", "fnr_any_class": "fn_rate_any_class", "escape": "escape_rate",
    "alarmed_elsewhere": "alarmed_elsewhere", "overkill": "overkill_rate", "fppi": "fppi",
    "fppi_defect_free": "fppi_defect_free",
}  # fmt: skip
"""Figures of the operating point, by the name that a condition gives them."""
OF_PARTS = ("fnr", "fppi", "escape", "overkill")
SUMMARIES: Mapping[str, Callable[[Detector], float | None]] = {
    "ap": lambda d: d.box_ap.ap,
    "ap50": lambda d: d.box_ap.ap50,
    "ap75": lambda d: d.box_ap.ap75,
    "mask_ap": lambda d: d.mask_ap.ap if d.mask_ap else None,
    "mask_ap50": lambda d: d.mask_ap.ap50 if d.mask_ap else None,
    "froc": lambda d: d.froc.score,
    "lamr": lambda d: d.froc.lamr,
    "cost": lambda d: d.expected_cost,
}
"""Figures that belong to no other policy than the run's."""

_NUMBER = r"\d*\.?\d+(?:e[-+]?\d+)?"
_CONDITION = re.compile(
    rf"""(?:(?P<detector>[^:@<>=]+?)\s*:\s*)?
    (?:(?P<bound>upper|lower)\s*\(\s*)?
    (?P<metric>\w+)
    (?:\[(?P<by>[^\]=]+)=(?P<value>[^\]]+)\])?
    (?:\s*@\s*(?P<policy>(?:fppi\s*<=|overkill\s*<=|recall\s*>=|score\s*=)\s*{_NUMBER}|f1|cost))?
    (?P<close>\s*\))?
    \s*(?P<sign>>=|<=|>|<)\s*
    (?P<limit>{_NUMBER})""",
    re.VERBOSE | re.IGNORECASE,
)
_REGRESSION = re.compile(
    rf"(?:(?P<detector>[^:]+?)\s*:\s*)?worse\s+than\s+baseline(?:\s+(?P<other>[^,]+?))?\s*,\s*p\s*<\s*(?P<alpha>{_NUMBER})",
    re.IGNORECASE,
)
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A figure that must not be over or under a limit.

    detector  whose; None: anyone's
    part      (by, value) of a slice; None: of all
    bound     `upper` | `lower` end of the 95 % interval; empty: the figure itself
    policy    at which threshold; None: the run's
    """

    text: str
    detector: str | None
    metric: str
    part: tuple[str, str] | None
    bound: str
    policy: str | None
    sign: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Missing more defects than the baseline, beyond chance. `other`: the baseline's name for the detector."""

    text: str
    detector: str | None
    other: str | None
    alpha: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one condition for one detector."""

    condition: str
    detector: str
    value: float | None
    failed: bool
    sentence: str


def parse(texts: Sequence[str]) -> list[Condition | Regression]:
    """The conditions that `--fail-if` names.

    >>> (found,) = parse(["yolo: upper(fnr[class=crack]@fppi<=0.1) > 0.05"])
    >>> found.detector, found.bound, found.metric, found.part, found.policy, found.sign, found.limit
    ('yolo', 'upper', 'fnr', ('class', 'crack'), 'fppi<=0.1', '>', 0.05)

    Raises:
        ConfigError: everything that is wrong with them.
    """
    found: list[Condition | Regression] = []
    faults: list[Fault | str] = []
    for text in texts:
        one = _parsed(text.strip())
        if isinstance(one, Fault):
            faults.append(one)
        else:
            found.append(one)
    if faults:
        raise ConfigError(*faults)
    return found


_FORMS = "'fnr@fppi<=0.1 > 0.05', 'upper(fnr) > 0.1', 'yolo: fnr[class=crack] > 0' or 'worse than baseline, p < 0.05'"


def _parsed(text: str) -> Condition | Regression | Fault:
    if (said := _REGRESSION.fullmatch(text)) is not None:
        alpha = float(said["alpha"])
        if not 0 < alpha < 1:
            return Fault(where=f"--fail-if {text!r}", expected="p between 0 and 1", found=said["alpha"])
        return Regression(text=text, detector=said["detector"], other=said["other"], alpha=alpha)
    said = _CONDITION.fullmatch(text)
    if said is None or bool(said["bound"]) != bool(said["close"]):
        return Fault(where="--fail-if", expected=_FORMS, found=repr(text))
    found = Condition(
        text=text,
        detector=said["detector"],
        metric=said["metric"].lower(),
        part=(said["by"].strip(), said["value"].strip()) if said["by"] else None,
        bound=(said["bound"] or "").lower(),
        policy="".join(said["policy"].split()).lower() if said["policy"] else None,
        sign=said["sign"],
        limit=float(said["limit"]),
    )
    return _senseless(found) or found


def _senseless(said: Condition) -> Fault | None:
    """Why nothing could ever be read at that name."""
    where, known, summary = f"--fail-if {said.text!r}", [*FIGURES, *SUMMARIES], said.metric in SUMMARIES
    if said.metric not in known:
        fix = did_you_mean(said.metric, known)
        return Fault(where=where, expected=" | ".join(known), found=repr(said.metric), fix=fix)
    if said.part and said.metric not in OF_PARTS:
        return Fault(where=where, expected=f"{' | '.join(OF_PARTS)} of a part", found=repr(said.metric))
    if summary and said.policy:
        return Fault(where=where, expected="no policy: this figure is the run's", found=f"@{said.policy}")
    if summary and said.bound and said.metric != "froc":
        return Fault(where=where, expected="a figure with an interval", found=repr(said.metric))
    return None


def decide(
    condition: Condition, detectors: Sequence[Detector], at: Mapping[str, tuple[Figures, Sequence[Slice]]]
) -> list[Told]:
    """The condition for each detector it speaks of; `at` has figures and parts at its policy, by detector.

    Raises:
        ConfigError: a part that there is not.
    """
    speaks = [d for d in detectors if condition.detector in (None, d.name)]
    return [_told(condition, detector, *at[detector.name]) for detector in speaks]


def _told(condition: Condition, detector: Detector, figures: Figures, slices: Sequence[Slice]) -> Told:
    if condition.metric in SUMMARIES:
        interval = detector.froc.score_interval if condition.metric == "froc" else None
        value = SUMMARIES[condition.metric](detector)
    else:
        estimate = _estimate(condition, figures, slices)
        value = estimate.rate.value if estimate else None
        interval = (estimate.this_policy or estimate.this_threshold) if estimate else None
    if condition.bound:
        value = _end(interval, condition.bound)
    failed = value is None or _SIGNS[condition.sign](value, condition.limit)
    what = _named(condition)
    if value is None:
        sentence = f"{detector.name}: {what} can't be measured"
    else:
        sentence = f"{detector.name}: {what} is {value:.4g}, fails if {condition.sign} {condition.limit:g}"
    return Told(condition=condition.text, detector=detector.name, value=value, failed=failed, sentence=sentence)


def _named(condition: Condition) -> str:
    part = f"[{condition.part[0]}={condition.part[1]}]" if condition.part else ""
    at = f"@{condition.policy}" if condition.policy else ""
    plain = f"{condition.metric}{part}{at}"
    return f"{condition.bound}({plain})" if condition.bound else plain


def _estimate(condition: Condition, figures: Figures, slices: Sequence[Slice]) -> Estimate | None:
    name = FIGURES[condition.metric]
    whole: Estimate = getattr(figures, name)
    if condition.part is None or not whole.rate.of:
        return whole
    found = [one for one in slices if (one.by, one.value) == condition.part]
    if not found:
        known = [f"{one.by}={one.value}" for one in slices]
        said = "=".join(condition.part)
        raise ConfigError(Fault(where=f"--fail-if {condition.text!r}", expected=" | ".join(known), found=repr(said),
                                fix=did_you_mean(said, known)))  # fmt: skip
    estimate: Estimate | None = getattr(found[0], name)
    return estimate


def _end(interval: Interval | None, bound: str) -> float | None:
    if interval is None:
        return None
    return interval.high if bound == "upper" else interval.low
