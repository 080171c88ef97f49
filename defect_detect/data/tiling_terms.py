"""What may be asked of a tiling, and how a manifest names it."""

from __future__ import annotations

from defect_detect.data.seams import AGREE
from defect_detect.errors import ConfigError, Fault
from defect_detect.job import Tiling

_LEAST, _MOST = 32, 8192
_OVERLAPS = (0.05, 0.75)
"""Where tiles share less, nobody can tell by what both of them saw whose halves belong together."""


def check(tiling: Tiling) -> None:
    """Make sure that pictures can be cut so.

    Raises:
        ConfigError: all that is wrong with it.
    """
    promises = (
        ("--tile", f"{_LEAST} to {_MOST} px", tiling.size, _LEAST <= tiling.size <= _MOST),
        ("--tile-overlap", f"a share from {_OVERLAPS[0]:g} to {_OVERLAPS[1]:g}", tiling.overlap,
         _OVERLAPS[0] <= tiling.overlap <= _OVERLAPS[1]),
        ("--tile-min-visible", "a share from 0 to 1", tiling.min_visible, 0 <= tiling.min_visible <= 1),
        ("--tile-defect-free", "a number from 0 on", tiling.defect_free, 0 <= tiling.defect_free < float("inf")),
    )  # fmt: skip
    faults = [
        Fault(where=where, expected=what, found=f"{value:g}") for where, what, value, kept in promises if not kept
    ]
    if faults:
        raise ConfigError(*faults)


def words(tiling: Tiling | None) -> str:
    """The tiling as a manifest names it; `none` where whole pictures are looked at."""
    if tiling is None:
        return "none"
    return (
        f"tiles of {tiling.size} px, overlap {tiling.overlap:g}, ignored below {tiling.min_visible:g} visible,"
        f" {tiling.defect_free:g} defect-free a defective one in training; joined where"
        f" they agree by IoU {AGREE:g} in what both show"
    )
