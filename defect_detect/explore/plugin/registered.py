"""All that the plugin brings into FiftyOne."""

from __future__ import annotations

from typing import Any

from defect_detect.explore import method, metrics
from defect_detect.explore.plugin import deeds, questions
from defect_detect.explore.plugin.panel import MissedDefects


def register_all(plugin: Any) -> None:
    """Register panel, operators, metrics and the evaluation method."""
    method.register()
    for one in (MissedDefects, *questions.OPERATORS, *deeds.OPERATORS, *metrics.OPERATORS):
        plugin.register(one)
