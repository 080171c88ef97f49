"""The workspace that opens pictures and the panel side by side, saved with the dataset."""

from __future__ import annotations

from typing import Any

NAME = "missed defects"


def save(fiftyone: Any, dataset: Any) -> None:
    """Save it, in place of an older one of this name."""
    pictures = fiftyone.Panel(type="Samples", pinned=True)
    panel = fiftyone.Panel(type="missed_defects")
    spaces = fiftyone.Space(
        children=[fiftyone.Space(children=[pictures]), fiftyone.Space(children=[panel])],
        orientation="horizontal",
        sizes=[0.42, 0.58],
    )
    dataset.save_workspace(
        NAME, spaces, description="The pictures, and beside them who misses what", color="#D55E00", overwrite=True
    )
