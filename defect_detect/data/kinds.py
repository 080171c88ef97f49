"""What a JSON file is, when it isn't COCO instances: recognised, named, and what to do about it."""

from __future__ import annotations

from typing import Any

from defect_detect.data.rows import Entries, rows_of

LISTS = ("images", "annotations", "categories")
_INSTEAD = "Export instances (boxes or masks) instead."
_TELLING = frozenset({"segments_info", "caption", "keypoints", "bbox", "segmentation"})


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
    # Plain rows have boxes.
    drawn, any_, have = len(rows.plain.number) > 0, False, set[str]()
    for entry in rows.odd.objects():
        any_ = True
        have |= entry.keys() & _TELLING
        drawn = drawn or bool(entry.get("bbox") or entry.get("segmentation"))
    found = ""
    if "segments_info" in have:
        found = "COCO panoptic, whose masks are PNG files"
    elif drawn or not any_:
        return None
    elif "caption" in have:
        found = "COCO captions"
    elif "keypoints" in have:
        found = "COCO keypoints without boxes or regions"
    elif not have & {"bbox", "segmentation"}:
        found = "labels of whole images: no annotation has a bbox or a segmentation"
    return (found, _INSTEAD) if found else None
