"""What FiftyOne's context of an event says: whose comparison it is about, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defect_detect.explore import columns
from defect_detect.explore.names import NAMESPACE
from defect_detect.explore.plugin import remembered
from defect_detect.explore.plugin.asked import Asked, asked


def folder_of(ctx: Any) -> Path | None:
    """The comparison's folder, where the dataset is one of a comparison."""
    if ctx.dataset is None:
        return None
    info = ctx.dataset.info.get(NAMESPACE)
    return Path(info["folder"]) if isinstance(info, dict) and "folder" in info else None


def wanted(ctx: Any, folder: Path, *, every: bool = False) -> Asked:
    """The settings of the panel that the event comes from; without one, those of the comparison.

    `every`: of all detectors, whichever the panel shows.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    state = remembered.state(ctx)
    return asked(state | {"detectors": None} if every else state, columns.load(folder))


def from_panel(ctx: Any) -> bool:
    """Whether the event comes from a panel."""
    return bool(remembered.state(ctx))
