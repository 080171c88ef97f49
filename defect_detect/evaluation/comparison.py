"""A comparison as values: what `comparison.json` holds and every report draws.

Definitions are METRICS': docs/metrics.md. Every rate keeps its count and denominator. With several
seeds counts and denominators are summed over the seeds, so a rate is the mean over trained models.
`None` is "not measured" or "not applicable"; it is never written as a number.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = 1


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """So many of so many. For FPPI `of` counts images, and `count` may exceed it."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """Count over denominator, or None where there is nothing to count."""
        return self.count / self.of if self.of else None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A 95 % interval and how it was found."""

    low: float
    high: float
    method: str


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate with its two intervals (METRICS, 'Two intervals')."""

    rate: Rate
    this_threshold: Interval | None = None
    """The threshold stays, the test units are drawn again."""
    this_policy: Interval | None = None
    """Validation and test units are drawn again, the threshold chosen anew."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector does at its operating point, on one split."""

    fn_rate: Estimate
    fn_rate_any_class: Estimate
    escape_rate: Estimate
    alarmed_elsewhere: Estimate
    """Defective units alarmed only where no defect is, of all defective units."""
    overkill_rate: Estimate
    fppi: Estimate
    fppi_defect_free: Estimate


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold and how it came about, per seed."""

    policy: str
    status: str
    """`ok` | `fixed` | `unreachable` | `not_measurable`"""
    thresholds: list[float | None]
    """One for each seed; None where there is none."""
    censored: bool
    """A threshold lies at the predictions' own floor: a lower one might have been chosen."""
    notes: list[str]
    validation: Figures | None
    """The same policy's figures on the split it was chosen on."""


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


class Localization(msgspec.Struct, frozen=True, kw_only=True):
    """Over the detector's own hits at its operating point."""

    hits: int
    iou_mean: float | None
    iou_median: float | None
    iou_p05: float | None
    share_075: Rate
    centre_offset_px: float | None
    """Median distance between centres."""
    centre_offset_relative: float | None
    """... relative to the root of the defect's box area."""
    width_ratio: float | None
    """Median predicted / true width."""
    height_ratio: float | None
    mask_iou_mean: float | None
    boundary_iou_mean: float | None = None
    """Cheng et al. 2021."""
    iou_histogram: list[int] = []
    """Hits by box IoU in twenty bins of 0.05 from 0 to 1."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The FN rate of a part of the defects."""

    by: str
    """`class` | `size` | `severity` | the name of an attribute"""
    value: str
    fn_rate: Estimate


class LocalizationSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Localization over the hits of a part of the defects."""

    by: str
    """`class` | `size`"""
    value: str
    localization: Localization


class PodBin(msgspec.Struct, frozen=True, kw_only=True):
    """Observed hits among the targets of a range of sizes."""

    low: float
    high: float
    found: Rate


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """Probability of detection by size (MIL-HDBK-1823A), at the operating point. Sizes in `unit`."""

    of: str
    """`all`, or the class whose defects these are."""
    measure: str
    """What size is: `area` | `long side` | `short side` | `maximum Feret` | `minimum Feret`"""
    unit: str
    link: str
    """`logit` | `probit`"""
    targets: int
    hits: int
    status: str
    """`ok` | `not_estimable` | `all_found`"""
    why: str
    """The reason when it is not estimable; the statement that can be made instead when all were found."""
    intercept: float | None = None
    slope: float | None = None
    """On the natural logarithm of size."""
    floor: float = 0.0
    ceiling: float = 1.0
    a50: float | None = None
    a90: float | None = None
    a90_95: float | None = None
    """One-sided upper 95 % bound of a90."""
    bound_method: str = ""
    size: list[float] = []
    pod: list[float] = []
    low: list[float] = []
    """One-sided lower 95 % bound of the curve."""
    bins: list[PodBin] = []
    warnings: list[str] = []


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


class AttributeAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """Accept / reject decisions over units against the reference (AIAG, MSA 4th ed.)."""

    effectiveness: Rate
    """Right decisions / opportunities."""
    miss_rate: Rate
    false_alarm_rate: Rate
    kappa: float | None
    repeatability: Rate | None
    """Groups whose repeats were all decided alike; None where no group holds repeats."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector does at each of some descending thresholds, counts summed over its seeds."""

    threshold: list[float]
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


class Adjudicated(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's FN rate before and after the human review."""

    detector: str
    before: Estimate
    after: Estimate
    false_alarms_before: Rate
    false_alarms_after: Rate


class Adjudication(msgspec.Struct, frozen=True, kw_only=True):
    """What a review changed."""

    verdicts: dict[str, int]
    """`true miss` | `label error` | `borderline` | `unlabelled defect` | `true false alarm` -> how many"""
    reviewed_hits: int
    optimistic: bool
    """Only misses were reviewed, no random sample of hits: label errors among hits stay unseen."""
    detectors: list[Adjudicated]
    notes: list[str]


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """One contender, over all its seeds."""

    name: str
    framework: str | None
    model: str | None
    family: str | None
    seeds: list[int]
    operating_point: OperatingPoint
    test: Figures
    froc: Froc
    box_ap: AveragePrecision
    mask_ap: AveragePrecision | None
    localization: Localization
    miss_reasons: dict[str, int]
    false_alarm_reasons: dict[str, int]
    slices: list[Slice]
    under_trained: bool
    measured: dict[str, Any]
    """Input size, NMS, initial weights, epochs, images seen, early stop, masks, versions, hashes."""
    notes: list[str]
    pod: list[Pod] = []
    """All defects first, then class by class."""
    lrp: Lrp | None = None
    calibration: Calibration | None = None
    attribute_agreement: AttributeAgreement | None = None
    expected_cost: float | None = None
    """Per unit, in the unit of the costs given."""
    localization_slices: list[LocalizationSlice] = []
    sweep: Sweep | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """a - b, with its interval and the test of no difference."""

    value: float | None
    interval: Interval | None
    p: float | None = None
    p_holm: float | None = None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two detectors on the same defects."""

    a: str
    b: str
    fn_rate: Difference
    """Positive: `a` misses more. The interval is this policy's."""
    mcnemar_p: float | None
    """Exact; ignores clustering."""
    fppi: Difference
    partial_froc: Difference
    """Mean recall over FPPI up to the budget, a - b."""
    matched_budget: bool
    outcome: str
    """`a` | `b` (that one misses fewer) | `indistinguishable` | `no_verdict`"""
    both_found: int
    only_a_found: int
    only_b_found: int
    both_missed: int
    common_hits: int
    """Defects that both found at IoU 0.1, over which localization is compared."""
    localization: Difference
    """IoU of a - b on the common hits."""
    smallest_detectable: float | None
    """FN-rate difference found with 80 % power here."""
    defects_needed: int | None
    """Defects for 80 % power at the difference of interest (5 points)."""
    sentence: str


class Subset(msgspec.Struct, frozen=True, kw_only=True):
    """Defects missed by exactly these detectors (by a majority of each one's seeds)."""

    missed_by: list[str]
    count: int


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Who missed what."""

    of: int
    subsets: list[Subset]
    union_fn_rate: Rate
    """Missed by all: what remains when all detectors run side by side ..."""
    union_fppi: Rate
    """... and what that costs."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a picture, x0 y0 x1 y1 px."""

    image: str
    box: list[float]
    category: str
    annotation_id: int | None = None


class Suspects(msgspec.Struct, frozen=True, kw_only=True):
    """Labels worth a second look."""

    missed_by_all: list[Place]
    alarmed_by_all: list[Place]


class DatasetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged on."""

    name: str
    fingerprints: dict[str, str]
    categories: list[str]
    images: dict[str, int]
    """By split."""
    units: dict[str, int]
    defective: dict[str, int]
    defect_free: dict[str, int]
    defects: dict[str, int]
    masks: bool
    quarantined: dict[str, int]
    scale: float | None
    unit: str


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """How it was judged, fixed beforehand."""

    policy: str
    iou: float
    class_aware: bool
    resamples: int
    seed: int
    budget: float
    """FPPI at which budgets are matched and the partial FROC ends."""
    versions: dict[str, str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `comparison.json` says."""

    schema: int = SCHEMA
    verdict: str
    """In plain words: what to choose, or that the data can't tell."""
    warnings: list[str]
    dataset: DatasetFacts
    protocol: Protocol
    detectors: list[Detector]
    pairs: list[Pair]
    agreement: Agreement
    rank_stability: dict[str, list[str]]
    """Hit rule -> detectors from the fewest misses up."""
    suspects: Suspects
    rank_misses: dict[str, dict[str, float]] = {}
    """Hit rule -> detector -> mean count of misses over its seeds."""
    adjudication: Adjudication | None = None
