"""Why defects were missed and alarms raised: a stacked bar for each detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison, Detector
from defect_detect.report import glossary, palette
from defect_detect.report.charts.stacked import Part, stacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """One kind of event: every reason with its meaning and colour, and each detector's counts, total and bar."""

    meanings: tuple[tuple[str, str, str], ...]
    bars: tuple[tuple[Detector, Mapping[str, int], int, tuple[Part, ...]], ...]


def misses(comparison: Comparison) -> Reasons:
    """Of the misses."""
    return _reasons(comparison.detectors, lambda d: d.miss_reasons, glossary.MISS_REASONS, palette.reason_colour)


def false_alarms(comparison: Comparison) -> Reasons:
    """Of the false alarms."""
    return _reasons(comparison.detectors, lambda d: d.false_alarm_reasons, glossary.ALARM_REASONS, palette.alarm_colour)


def _reasons(
    detectors: Sequence[Detector], pick: Callable[[Detector], Mapping[str, int]], meanings: Mapping[str, str],
    colour: Callable[[str], str],
) -> Reasons:  # fmt: skip
    """All bars to one scale; a reason without a meaning here is told by its name."""
    most = max((sum(pick(d).values()) for d in detectors), default=0) or 1
    unknown = sorted({reason for d in detectors for reason in pick(d)} - set(meanings))
    named = {**meanings, **dict.fromkeys(unknown, "")}
    return Reasons(
        meanings=tuple((reason, meaning, colour(reason)) for reason, meaning in named.items()),
        bars=tuple(
            (d, pick(d), sum(pick(d).values()), tuple(stacked(pick(d), tuple(meanings), colour, most)))
            for d in detectors
        ),
    )
