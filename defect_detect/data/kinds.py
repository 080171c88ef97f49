"""What a JSON file is, when it isn't COCO instances: recognised, named, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from defect_detect.data.rows import Entries, rows_of

LISTS = ("images", "annotations", "categories")
_INSTEAD = "Export instances (boxes or masks) instead."


def foreign(data: Any) -> tuple[str, str] | None:
    """What the parsed file is and what to do, or None if it may be COCO instances."""
    if isinstance(data, list):
        return _list(data)
    if not isinstance(data, dict):
        return f"a JSON {type(data).__name__}", "Give the file that lists images, annotations and categories."
    return _other_tool(data) or _incomplete(data) or _other_coco(data)


def _list(entries: list[Any]) -> tuple[str, str]:
    first: dict[str, Any] = next((entry for entry in entries if isinstance(entry, dict)), {})
    if "caption" in first:
        return "a list of caption results", _INSTEAD
    if "keypoints" in first and "image_id" in first:
        return "a list of COCO keypoints results", _INSTEAD
    if "score" in first:
        return "a list of detection results", "Results go to --predictions; give the ground truth here."
    if "data" in first and "annotations" in first:
        return "a Label Studio JSON export", "Export it as COCO."
    if "image" in first and "annotations" in first:
        return "a CreateML file", "Export it as COCO."
    return "a list", "Give the file that lists images, annotations and categories."


def _other_tool(data: dict[str, Any]) -> tuple[str, str] | None:
    if "_via_img_metadata" in data or any(_is_via(entry) for entry in data.values()):
        return "a project of the VGG Image Annotator", "Export it as COCO."
    if "shapes" in data and "imagePath" in data:
        return "a LabelMe file", "Export it as COCO."
    if "splits" in data and "decode_policy" in data:
        return "the summary of a normalized dataset", "Give its folder."
    if data.get("type") == "FeatureCollection":
        return "GeoJSON", "Export it as COCO."
    if "objects" in data and "size" in data:
        return "a Supervisely file", "Export it as COCO."
    return None


def _is_via(entry: Any) -> bool:
    return isinstance(entry, dict) and "regions" in entry and "filename" in entry


def _incomplete(data: dict[str, Any]) -> tuple[str, str] | None:
    missing = [name for name in LISTS if name not in data]
    if missing == ["annotations"]:
        return "no annotations: COCO image_info, which lists images only", "Give the file with the ground truth."
    if missing:
        return f"no {' and no '.join(missing)}", "Give the file that lists images, annotations and categories."
    for name in LISTS:
        if not isinstance(data[name], list | Entries):
            return (
                f"{name} is a {type(data[name]).__name__}, not a list",
                f"Make {name} a list, or export it again as COCO.",
            )
    if data["images"] and not data["annotations"] and not data["categories"]:
        found = "empty lists of annotations and categories: COCO image_info, which lists images only"
        return found, "Give the file with the ground truth."
    return None


def _other_coco(data: dict[str, Any]) -> tuple[str, str] | None:
    """COCO's other kinds; keypoints and stuff files whose entries have boxes or regions pass."""
    rows = rows_of(data["annotations"])
    annotations = [entry for _, entry in rows.odd if isinstance(entry, dict)]
    if _some_have("segments_info", annotations):
        return "COCO panoptic, whose masks are PNG files", _INSTEAD
    # Plain rows have boxes.
    if len(rows.plain.number) or any(entry.get(name) for entry in annotations for name in ("bbox", "segmentation")):
        return None
    if _some_have("caption", annotations):
        return "COCO captions", _INSTEAD
    if _some_have("keypoints", annotations):
        return "COCO keypoints without boxes or regions", _INSTEAD
    if annotations and not (_some_have("bbox", annotations) or _some_have("segmentation", annotations)):
        return "labels of whole images: no annotation has a bbox or a segmentation", _INSTEAD
    return None


def _some_have(name: str, entries: Sequence[dict[str, Any]]) -> bool:
    return any(name in entry for entry in entries)
