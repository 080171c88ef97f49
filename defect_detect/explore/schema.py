"""The fields of a comparison's dataset, declared before anything is added, and how the App shows them.

What isn't declared can't be filtered by in the App, and declaring while adding is slow.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from defect_detect.explore.names import ALARMED, TRUTH, Key
from defect_detect.explore.objects import ALL, NONE, SOME, UNCOUNTED
from defect_detect.explore.rows import ABSORBED, BELOW, HIT
from defect_detect.tables import Column

# Okabe and Ito's colours, which colour-blind people can tell apart.
_FATES = {ALL: "#D55E00", SOME: "#E69F00", NONE: "#009E73", UNCOUNTED: "#999999"}
# ... detectors in the hues that the fates leave free.
_HUES = ("#56B4E9", "#CC79A7", "#8C6BF0", "#0072B2", "#00C2D1", "#B58ADB")
_OUTCOMES = (HIT, ABSORBED, BELOW, "duplicate", "misclassified", "mislocalized", "background")

Columns = Mapping[str, Column]


def declare(fiftyone: ModuleType, dataset: Any, runs: Sequence[Key], image: Columns, defect: Columns) -> None:
    """Declare all fields; `image` and `defect` are the user's own columns by field name."""
    text, whole, real, flag = (
        fiftyone.StringField,
        fiftyone.IntField,
        fiftyone.FloatField,
        fiftyone.BooleanField,
    )
    kinds = {"b": flag, "i": whole, "u": whole, "f": real}

    def on(field: str, attributes: Mapping[str, Any]) -> None:
        # All in one call: each takes 0.1 s, since FiftyOne writes and reads the whole schema again.
        each = fiftyone.EmbeddedDocumentField(
            fiftyone.Detection, fields=[_named(kind(), name) for name, kind in attributes.items()]
        )
        dataset.add_sample_field(
            field,
            fiftyone.EmbeddedDocumentField,
            embedded_doc_type=fiftyone.Detections,
            fields=[_named(fiftyone.ListField(each), "detections")],
        )

    for name, kind in {
        "group": text,
        "image_id": whole,
        "source_id": text,
        "defect_free": flag,
        "defects": whole,
    }.items():
        dataset.add_sample_field(name, kind)
    for name, column in image.items():
        dataset.add_sample_field(name, kinds.get(column.dtype.kind, text))

    told = {"": text, "_id": text, "_iou": real, "_reason": text, "_found_at": real}
    told |= {"_candidate_id": text, "_candidate_score": real, "_candidate_iou": real}
    own = {
        "iscrowd": flag,
        "ignore": flag,
        "severity": text,
        "size": text,
        "area": real,
        "annotation_id": whole,
        "source_id": text,
    }
    own |= {"missed_by": functools.partial(fiftyone.ListField, text()), "missed_by_count": whole, "fate": text}
    own |= {name: kinds.get(column.dtype.kind, text) for name, column in defect.items()}
    on(TRUTH, own | {run.key + end: kind for run in runs for end, kind in told.items()})
    on(ALARMED, {})
    for run in runs:
        on(run.key, {"outcome": text, "hit_of": whole, run.key: text, f"{run.key}_id": text, f"{run.key}_iou": real})
        on(run.below, {"outcome": text})
        for end in ("_tp", "_fp", "_fn"):
            dataset.add_sample_field(run.key + end, whole)
        dataset.add_sample_field(f"{run.key}_alarmed", flag)


def appearance(fiftyone: ModuleType, runs: Sequence[Key], image: Sequence[str]) -> Any:
    """The App's settings: what is shown at first, in which colours, and the sidebar's groups."""
    detectors = list(dict.fromkeys(run.detector for run in runs))
    hue = {run.key: _HUES[detectors.index(run.detector) % len(_HUES)] for run in runs}
    fields = [_colour(TRUTH, "#009E73", "fate", _FATES), _colour(ALARMED, "#D55E00", "label", {})]
    for run in runs:
        shades = dict.fromkeys(_OUTCOMES, hue[run.key])
        fields += [_colour(field, hue[run.key], "outcome", shades) for field in (run.key, run.below)]
    first = [run.key for place, run in enumerate(runs) if run.detector not in {r.detector for r in runs[:place]}]

    def group(name: str, paths: Sequence[str], *, expanded: bool = True) -> Any:
        return fiftyone.SidebarGroupDocument(name=name, paths=list(paths), expanded=expanded)

    counts = [run.key + end for run in runs for end in ("_tp", "_fp", "_fn", "_alarmed")]
    metadata = [f"metadata.{name}" for name in ("size_bytes", "mime_type", "width", "height", "num_channels")]
    return fiftyone.DatasetAppConfig(
        active_fields=fiftyone.ActiveFields(paths=[TRUTH, *first]),
        color_scheme=fiftyone.ColorScheme(
            color_by="value", color_pool=[*_HUES, *_FATES.values()], fields=fields, opacity=0.6
        ),
        sidebar_groups=[
            group("tags", ["tags", "_label_tags"]),
            group("defects", [TRUTH, ALARMED]),
            group("detectors", [run.key for run in runs]),
            group("under the threshold", [run.below for run in runs]),
            group("pictures", ["group", "defect_free", "defects", *image]),
            group("counts by picture", counts, expanded=False),
            group("metadata", [*metadata, "id", "image_id", "source_id", "filepath", *_TIMES], expanded=False),
        ],
    )


def _named(field: Any, name: str) -> Any:
    field.name = name
    return field


_TIMES = ("created_at", "last_modified_at")


def _colour(field: str, colour: str, by: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        "path": field,
        "fieldColor": colour,
        "colorByAttribute": by,
        "valueColors": [{"value": value, "color": shade} for value, shade in values.items()],
    }
