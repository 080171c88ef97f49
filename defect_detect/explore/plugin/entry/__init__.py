"""What FiftyOne loads: everything that the installed defect_detect offers it."""

from __future__ import annotations

from typing import Any


def register(plugin: Any) -> None:
    """Hand FiftyOne the panel, the operators and the metrics."""
    from defect_detect.explore.plugin.registered import register_all

    register_all(plugin)
