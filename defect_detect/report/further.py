"""The figures beyond the leading table, a line each, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from defect_detect.evaluation.comparison import Comparison, Detector, Pod
from defect_detect.report import wording


def further(comparison: Comparison) -> list[str]:
    """POD, oLRP, expected cost and the FN rate after a review, of those that the comparison has."""
    detectors = comparison.detectors
    lines = []
    whole = {d.name: _whole(d) for d in detectors}
    measures = sorted({pod.measure for pod in whole.values() if pod is not None})
    if measures:
        hopeless = all(pod is None or pod.status == "not_estimable" for pod in whole.values())
        bounds = "not estimable" if hopeless else _each(detectors, lambda d: _bound(whole[d.name]))
        lines.append(f"a90/95 by {', '.join(measures)}: {bounds}" + (" (why: report.html)" if hopeless else ""))
    if any(d.lrp is not None for d in detectors):
        lines.append(f"oLRP: {_each(detectors, lambda d: wording.number(d.lrp.olrp if d.lrp else None))}")
    if any(d.expected_cost is not None for d in detectors):
        lines.append(f"expected cost per unit: {_each(detectors, lambda d: wording.number(d.expected_cost))}")
    if comparison.adjudication is not None:
        review = comparison.adjudication
        note = " (reviewed misses only, optimistic)" if review.optimistic else ""
        after = ", ".join(f"{one.detector} {wording.share(one.after.rate)}" for one in review.detectors)
        lines.append(f"FN rate after review{note}: {after or 'n/a'}")
    return lines


def _each(detectors: Sequence[Detector], text: Callable[[Detector], str]) -> str:
    return ", ".join(f"{d.name} {text(d)}" for d in detectors)


def _whole(detector: Detector) -> Pod | None:
    return next((pod for pod in detector.pod if pod.of == "all"), None)


def _bound(pod: Pod | None) -> str:
    if pod is None:
        return wording.NOTHING
    if pod.status == "ok":
        return wording.size(pod.a90_95, pod.unit)
    return "all found" if pod.status == "all_found" else "not estimable"
