"""A comparison as values: what `comparison.json` holds and every report draws.

Definitions are METRICS': docs/metrics.md. Every rate keeps its count and denominator. With several
seeds counts and denominators are summed over the seeds, so a rate is the mean over trained models.
`None` is "not measured" or "not applicable"; it is never written as a number.
"""

from __future__ import annotations

from defect_detect.evaluation.comparison.between import Agreement, Difference, Pair, Place, Subset, Suspects
from defect_detect.evaluation.comparison.detection import Pod, PodBin
from defect_detect.evaluation.comparison.placement import Localization, LocalizationSlice
from defect_detect.evaluation.comparison.rates import Estimate, Figures, Interval, OperatingPoint, Rate, Slice
from defect_detect.evaluation.comparison.review import Adjudicated, Adjudication, AttributeAgreement
from defect_detect.evaluation.comparison.summaries import (
    AveragePrecision,
    Calibration,
    CalibrationBin,
    Curve,
    Froc,
    FrocBand,
    Lrp,
    Sweep,
)
from defect_detect.evaluation.comparison.whole import SCHEMA, Comparison, DatasetFacts, Detector, Protocol

__all__ = [
    "SCHEMA",
    "Adjudicated",
    "Adjudication",
    "Agreement",
    "AttributeAgreement",
    "AveragePrecision",
    "Calibration",
    "CalibrationBin",
    "Comparison",
    "Curve",
    "DatasetFacts",
    "Detector",
    "Difference",
    "Estimate",
    "Figures",
    "Froc",
    "FrocBand",
    "Interval",
    "Localization",
    "LocalizationSlice",
    "Lrp",
    "OperatingPoint",
    "Pair",
    "Place",
    "Pod",
    "PodBin",
    "Protocol",
    "Rate",
    "Slice",
    "Subset",
    "Suspects",
    "Sweep",
]
