"""Numbers as people read them. `None` is "n/a", never a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from defect_detect.evaluation.comparison import Comparison, Detector, Difference, Estimate, Interval, Pod, Rate

NOTHING = "n/a"
_THIN = "\u00a0"
_MINUS = "\u2212"


def percent(value: float | None, digits: int = 1) -> str:
    """0.312 as `31.2 %`."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}{_THIN}%"


def number(value: float | None, digits: int = 3) -> str:
    """A plain figure with so many decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def count(value: int) -> str:
    """12345 as `12,345`."""
    return f"{value:,}"


def plural(value: int, one: str, many: str = "") -> str:
    """`1 defect`, `2 defects`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def fraction(rate: Rate) -> str:
    """`224/719`."""
    return f"{rate.count:,}/{rate.of:,}"


def share(rate: Rate) -> str:
    """`31.2 % (224/719)`."""
    return f"{percent(rate.value)} ({fraction(rate)})"


def per_image(rate: Rate) -> str:
    """`0.093 (12/129)`: false alarms per image."""
    return f"{number(rate.value)} ({fraction(rate)})"


def best_interval(estimate: Estimate) -> Interval | None:
    """The interval that the verdict uses (this policy's), else the one at the frozen threshold."""
    return estimate.this_policy or estimate.this_threshold


def percent_interval(interval: Interval | None) -> str:
    """`27.9 to 34.6 %`."""
    if interval is None:
        return NOTHING
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}{_THIN}%"


def interval(found: Interval | None, digits: int = 3) -> str:
    """`0.071 to 0.118`."""
    return NOTHING if found is None else f"{found.low:.{digits}f} to {found.high:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """With its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def points(difference: Difference) -> str:
    """A difference of rates in percentage points with its interval: `+4.2 (+0.9 to +7.5) points`."""
    if difference.value is None:
        return NOTHING
    text = signed(100 * difference.value, 1)
    if difference.interval is not None:
        text += f" ({signed(100 * difference.interval.low, 1)} to {signed(100 * difference.interval.high, 1)})"
    return text


def difference(found: Difference, digits: int = 3) -> str:
    """A difference with its interval: `+0.012 (-0.020 to +0.044)`."""
    if found.value is None:
        return NOTHING
    text = signed(found.value, digits)
    if found.interval is not None:
        text += f" ({signed(found.interval.low, digits)} to {signed(found.interval.high, digits)})"
    return text


def probability(value: float | None) -> str:
    """A p value; what is under 0.001 is said so."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 - the customary limit


def thresholds(detector: Detector) -> str:
    """The score thresholds of all seeds, or why there is none."""
    point = detector.operating_point
    if all(value is None for value in point.thresholds):
        return {"unreachable": "unreachable", "not_measurable": "not measurable"}.get(point.status, NOTHING)
    said = ", ".join("none" if value is None else f"{value:.3f}" for value in point.thresholds)
    return f"by class, from {said}" if point.by_class else said


def by_class(detector: Detector) -> str:
    """`crack 0.412, pit silent`: each class's threshold; of several seeds the lowest and the highest."""
    point = detector.operating_point
    told = []
    for name in point.by_class[0] if point.by_class else ():
        scores = [seed.get(name) for seed in point.by_class]
        said = [f"{score:.3f}" for score in sorted(score for score in scores if score is not None)]
        ends = dict.fromkeys([*said[:1], *(["silent"] if len(said) < len(scores) else said[-1:])])
        told.append(f"{name} {' to '.join(ends)}")
    return ", ".join(told)


def no_figures(detector: Detector) -> str:
    """Why the detector has no figures at its operating point; empty where it has them."""
    status = detector.operating_point.status.replace("_", " ")
    return f"policy {status}" if status in {"unreachable", "not measurable"} else ""


def no_cost(detector: Detector) -> str:
    """Why an expected cost is missing though costs were given."""
    if not detector.test.overkill_rate.rate.of:
        return "no defect-free units"
    return "no defective units" if not detector.test.escape_rate.rate.of else no_figures(detector)


def size(value: float | None, unit: str) -> str:
    """`23.4 px`: three digits."""
    return NOTHING if value is None else f"{value:.3g}{_THIN}{unit}"


def pod_says(pod: Pod) -> str:
    """The answer of a POD in a line: a90 and a90/95, or why there is none."""
    if pod.status == "not_estimable":
        # The reason is a sentence of its own, and goes on behind the colon.
        return f"Not estimable: {pod.why[:1].lower()}{pod.why[1:]}"
    if pod.status == "all_found":
        return f"All {pod.targets:,} found. {pod.why}"
    return f"a90 {size(pod.a90, pod.unit)}, a90/95 {size(pod.a90_95, pod.unit)}"


def pod_note(pod: Pod) -> str:
    """What else must be known of it: status and reason, model, how the bound was found, warnings."""
    if pod.status == "ok":
        shape = [pod.link]
        shape += [f"floor {pod.floor:.3g}"] if pod.floor > 0 else []
        shape += [f"ceiling {pod.ceiling:.3g}"] if pod.ceiling < 1 else []
        shape += [f"bound by {pod.bound_method}"] if pod.bound_method else []
        said = [", ".join(shape), pod.why]
    else:
        said = [pod_says(pod)]
    return " ".join(text if text.endswith(".") else f"{text}." for text in [*said, *pod.warnings] if text)


def flags(detector: Detector) -> list[str]:
    """What a reader must know before trusting the row."""
    found = []
    if detector.under_trained:
        found.append("under-trained")
    if detector.measured.get("resumed"):
        found.append("training resumed after a kill")
    if detector.measured.get("halved"):
        found.append("fewer images at once: memory ran out")
    if detector.operating_point.status in {"unreachable", "not_measurable"}:
        found.append(f"policy {detector.operating_point.status.replace('_', ' ')}")
    if detector.operating_point.censored:
        found.append("threshold at score floor")
    return found


def names(detectors: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(detectors) < 2:  # noqa: PLR2004 - one name needs no joining
        return "".join(detectors)
    return f"{', '.join(detectors[:-1])} and {detectors[-1]}"


def missed_by(detectors: Sequence[str], everyone: Sequence[str]) -> str:
    """What a set of detectors that missed a defect is called."""
    if not detectors:
        return "found by all" if len(everyone) > 1 else "found"
    if len(everyone) == 1:
        return "missed"
    if len(detectors) == len(everyone):
        return "missed by all"
    return f"missed only by {names([name for name in everyone if name in set(detectors)])}"


def verdict(comparison: Comparison) -> tuple[str, list[str]]:
    """The verdict's first sentence, and the rest as points in its order: the sentences on pairs one by one."""
    head, stop, rest = comparison.verdict.partition(". ")
    for pair in comparison.pairs:
        rest = rest.replace(pair.sentence, f"\n{pair.sentence}\n")
    return (f"{head}." if stop else head), [line.strip() for line in rest.splitlines() if line.strip()]


def judged_at(comparison: Comparison) -> str:
    """Policy, IoU and label rule in a line."""
    protocol = comparison.protocol
    label = "right label required" if protocol.class_aware else "label ignored"
    of = "mask IoU" if protocol.geometry == "mask" else "IoU"
    return f"policy {protocol.policy}, {of} \u2265 {protocol.iou:g}, {label}"


def size_bins(comparison: Comparison) -> str:
    """How defects are put into bins of size."""
    edges, unit = comparison.protocol.sizes, comparison.dataset.unit
    if not edges:
        return "COCO's bins of area, small under 32 \u00d7 32 px, large from 96 \u00d7 96 px"
    return f"bins of the long side with edges at {', '.join(f'{edge:g}' for edge in edges)} {unit}"


def plain(value: Any) -> str:
    """A value from a manifest or a measurement; mappings and lists on one line."""
    match value:
        case None:
            text = NOTHING
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.4g}"
        case int():
            text = f"{value:,}"
        case Mapping():
            text = ", ".join(f"{key} {plain(part)}" for key, part in value.items())
        case list() | tuple():
            text = ", ".join(plain(part) for part in value)
        case _:
            text = str(value)
    return text or "none"
