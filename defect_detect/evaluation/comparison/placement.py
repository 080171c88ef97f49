"""How well hits are placed."""

from __future__ import annotations

import msgspec

from defect_detect.evaluation.comparison.rates import Rate


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


class LocalizationSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Localization over the hits of a part of the defects."""

    by: str
    """`class` | `size`"""
    value: str
    localization: Localization
