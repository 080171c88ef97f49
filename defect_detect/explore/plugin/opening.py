"""Views that a click opens: exactly these defects, as patches with what the detectors said there, or as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from defect_detect.explore.names import ALARMED, NAMESPACE, TRUTH


def patches(dataset: Any, ids: Sequence[str]) -> Any:
    """The ground truth labels with these ids, one patch each."""
    return dataset.select_labels(ids=list(ids), fields=TRUTH).to_patches(TRUTH, other_fields=_said(dataset))


def pictures(dataset: Any, ids: Sequence[str]) -> Any:
    """The pictures that hold these labels, with no other ground truth."""
    return dataset.select_labels(ids=list(ids), fields=TRUTH)


def _said(dataset: Any) -> list[str]:
    schema = dataset.get_field_schema()
    wanted = [run[field] for run in dataset.info[NAMESPACE]["runs"] for field in ("key", "below")]
    return [name for name in (*wanted, ALARMED) if name in schema]
