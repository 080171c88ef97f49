"""What a reader must know before leaning on the figures."""

from __future__ import annotations

from collections.abc import Sequence

from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.intervals import FEW_UNITS
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.rank_stability import Misses, unstable

FEW_ALARMS = 10
LOWEST_LAMR = 0.01


def warnings(entrants: Sequence[Entrant], policy: Policy, allowed: Sequence[str], misses: Misses) -> list[str]:
    """Plain sentences, the gravest first."""
    found = [f"Not measured alike, and compared all the same: {difference}." for difference in allowed]
    found += _threshold(entrants[0], policy)
    found += [sentence for entrant in entrants for sentence in _transfer(entrant, policy)]
    found += unstable(misses)
    groups = entrants[0].test[0].units
    defective, images = int(groups.defective.sum()), int(groups.images.sum())
    if defective < FEW_UNITS:
        found.append(
            f"Only {defective} units of test are defective: the intervals are wide, and exact bounds stand in."
        )
    if not groups.defect_free.any():
        found.append("Test has no defect-free units: overkill can't be measured, and false alarms look rarer.")
    if images * LOWEST_LAMR < 1:
        found.append(
            f"One false alarm on {images} test images is {1 / images:.2g} per image: LAMR's points below rest on none."
        )
    return found


def _threshold(entrant: Entrant, policy: Policy) -> list[str]:
    if not entrant.validation or policy.kind not in ("fppi", "overkill", "recall"):
        return []
    groups = entrant.validation[0].units
    count, what, events = {
        "fppi": (groups.images, "validation images", "false alarms"),
        "overkill": (groups.defect_free, "defect-free validation units", "needless rejects"),
        "recall": (groups.defects, "validation defects", "found"),
    }[policy.kind]
    allowed = policy.value * int(count.sum())
    if allowed >= FEW_ALARMS:
        return []
    return [f"{policy.text} on {int(count.sum())} {what} is {allowed:.3g} {events}: the threshold is itself uncertain."]


def _transfer(entrant: Entrant, policy: Policy) -> list[str]:
    """Whether test shows that the threshold doesn't keep there what it keeps on validation."""
    if entrant.status != "ok" or policy.kind not in ("fppi", "overkill", "recall"):
        return []
    told = figures(entrant)
    rate, what = {
        "fppi": (told.fppi, "FPPI"),
        "overkill": (told.overkill_rate, "the overkill rate"),
        "recall": (told.fn_rate, "the FN rate"),
    }[policy.kind]
    most = 1 - policy.value if policy.kind == "recall" else policy.value
    between = rate.this_threshold
    if between is None or between.low <= most:
        return []
    value = f"{rate.rate.value:.3g} (95 % interval {between.low:.3g} to {between.high:.3g})"
    return [f"{entrant.name} keeps {policy.text} on validation, but on test {what} is {value}: it did not transfer."]
