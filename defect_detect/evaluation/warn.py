"""What a reader must know before leaning on the figures."""

from __future__ import annotations

from collections.abc import Sequence

from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.intervals import FEW_UNITS
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.rank_stability import Misses, unstable

FEW_ALARMS = 10
LOWEST_LAMR = 0.01


def warnings(entrants: Sequence[Entrant], policy: Policy, allowed: Sequence[str], misses: Misses) -> list[str]:
    """Plain sentences, the gravest first."""
    found = [f"Not measured alike, and compared all the same: {difference}." for difference in allowed]
    found += _threshold(entrants[0], policy)
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
    if not entrant.validation or policy.kind not in ("fppi", "overkill"):
        return []
    groups = entrant.validation[0].units
    if policy.kind == "fppi":
        count, what, alarms = int(groups.images.sum()), "validation images", "false alarms"
    else:
        count, what, alarms = int(groups.defect_free.sum()), "defect-free validation units", "needless rejects"
    allowed = policy.value * count
    if allowed >= FEW_ALARMS:
        return []
    return [f"{policy.text} on {count} {what} is {allowed:.3g} {alarms}: the threshold is itself uncertain."]
