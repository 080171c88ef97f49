"""The workspace that opens pictures and the panel side by side, saved with the dataset."""

from __future__ import annotations

from typing import Any

NAME = "missed defects"
SLUG = "missed-defects"
"""As FiftyOne names it in an address."""


def save(fiftyone: Any, dataset: Any) -> None:
    """Save it, in place of an older one of this name."""
    # Without ids and an active child, the App shows the tabs and nothing in them.
    pictures = fiftyone.Panel(type="Samples", pinned=True, component_id="pictures")
    panel = fiftyone.Panel(type="missed_defects", component_id="missed_defects")
    left = fiftyone.Space(children=[pictures], component_id="left", active_child=pictures.component_id)
    right = fiftyone.Space(children=[panel], component_id="right", active_child=panel.component_id)
    spaces = fiftyone.Space(
        children=[left, right], orientation="horizontal", sizes=[0.42, 0.58], component_id="side_by_side"
    )
    dataset.save_workspace(
        NAME, spaces, description="The pictures, and beside them who misses what", color="#D55E00", overwrite=True
    )
