"""Whether a score says how probably a prediction is a hit: the reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping

from defect_detect.evaluation.comparison import CalibrationBin, Comparison
from defect_detect.report import wording
from defect_detect.report.charts.square import SquarePlot, square
from defect_detect.report.palette import Identity


def reliability(comparison: Comparison, looks: Mapping[str, Identity]) -> SquarePlot | None:
    """Share of hits against mean score, bin by bin; None where no detector has any."""
    lines = [
        (looks[d.name], [_point(one) for one in d.calibration.bins if one.hits.of])
        for d in comparison.detectors
        if d.calibration is not None
    ]
    lines = [(look, points) for look, points in lines if points]
    return square(lines) if lines else None


def _point(one: CalibrationBin) -> tuple[float, float, str]:
    share = one.hits.count / one.hits.of
    return one.mean_score, share, f"scores {one.low:.2f} to {one.high:.2f}: hits {wording.share(one.hits)}"
