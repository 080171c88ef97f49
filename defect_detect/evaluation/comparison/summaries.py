"""What is told over all thresholds: FROC, AP, LRP, calibration, and the sweep of a threshold."""

from __future__ import annotations

import msgspec

from defect_detect.evaluation.comparison.rates import Interval, Rate


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Recall against FPPI, both rising; a step curve."""

    fppi: list[float]
    recall: list[float]


class FrocBand(msgspec.Struct, frozen=True, kw_only=True):
    """95 % interval of recall at each FPPI of a grid, point by point, the units drawn again."""

    fppi: list[float]
    low: list[float]
    high: list[float]


class Froc(msgspec.Struct, frozen=True, kw_only=True):
    """The curve over all thresholds, its score (mean recall at 1/8 ... 8 FPPI) and LAMR."""

    curve: Curve
    recall_at: dict[str, float]
    """FPPI (as text: `0.125`) -> recall."""
    score: float | None
    score_interval: Interval | None
    lamr: float | None
    """Over all defects together ..."""
    lamr_class_mean: float | None = None
    """... and the mean of the classes' own."""
    band: FrocBand | None = None


class AveragePrecision(msgspec.Struct, frozen=True, kw_only=True):
    """COCO's figures (threshold-free summaries, not operating points); None where COCO says -1."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ar_small: float | None = None
    ar_medium: float | None = None
    ar_large: float | None = None


class Lrp(msgspec.Struct, frozen=True, kw_only=True):
    """Localization recall precision (Oksuz et al. 2021): 0 is perfect, 1 the worst; None: no defects."""

    at_operating_point: float | None
    olrp: float | None
    """The least over all thresholds, the mean over classes ..."""
    olrp_localization: float | None
    olrp_false_positive: float | None
    olrp_false_negative: float | None
    """... and its parts there."""
    optimal_thresholds: dict[str, float | None]
    """By class."""


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of neighbouring scores."""

    low: float
    high: float
    mean_score: float
    hits: Rate


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Score against being a hit, in bins of equal mass, and the expected calibration error."""

    ece: float | None
    bins: list[CalibrationBin]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector does at each of some descending thresholds, counts summed over its seeds.

    With thresholds by class: at each of some rising budgets instead.
    """

    threshold: list[float]
    """Of all classes; with thresholds by class, the lowest of them."""
    validation_fppi: list[float] | None
    """At the same thresholds: by it a budget can be set for all detectors at once."""
    missed: list[int]
    defects: int
    false_alarms: list[int]
    images: int
    escaped: list[int]
    defective: int
    overkilled: list[int]
    defect_free: int
    budget: list[float] = []
    """With thresholds by class: FPPI on validation within which those of each step were chosen."""
    by_class: list[dict[str, list[float | None]]] = []
    """... and for each seed class -> threshold at each step; None: the class is left silent."""
