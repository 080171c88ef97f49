"""A detector, the conditions, and the comparison of all."""

from __future__ import annotations

from typing import Any

import msgspec

from defect_detect.evaluation.comparison.between import Agreement, Pair, Suspects
from defect_detect.evaluation.comparison.detection import Pod
from defect_detect.evaluation.comparison.placement import Localization, LocalizationSlice
from defect_detect.evaluation.comparison.rates import Figures, OperatingPoint, Slice
from defect_detect.evaluation.comparison.review import Adjudication, AttributeAgreement
from defect_detect.evaluation.comparison.summaries import AveragePrecision, Calibration, Froc, Lrp, Sweep

SCHEMA = 1


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
    geometry: str = "box"
    """What IoU is taken of: `box` | `mask`"""
    per_class: bool = False
    """Whether every class has a threshold of its own."""
    sizes: list[float] = []
    """Edges of the size bins in the dataset's unit; none: COCO's bins of area."""
    costs: dict[str, float] = {}
    """`escape`, `overkill` and the `prevalence` of defective units, where they were given."""


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
