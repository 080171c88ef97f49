"""Which labels somebody selected in the App."""

from __future__ import annotations

from typing import Any

from defect_detect.explore.plugin.decided import fields


def chosen(ctx: Any) -> dict[str, list[str]]:
    """Field -> ids of the selected labels; a selected patch is its ground truth label."""
    known = set(fields(ctx.dataset))
    found: dict[str, dict[str, None]] = {}
    for label in ctx.selected_labels or ():
        if label["field"] in known:
            found.setdefault(label["field"], {})[str(label["label_id"])] = None
    view = ctx.view
    if ctx.selected and view is not None and view._is_patches:  # noqa: SLF001 - FiftyOne tells it nowhere else
        for field in view._label_fields:  # noqa: SLF001 - the same
            if field in known:
                for label_id in view.select(list(ctx.selected)).values(f"{field}.id"):
                    found.setdefault(field, {})[str(label_id)] = None
    return {field: list(ids) for field, ids in found.items()}
