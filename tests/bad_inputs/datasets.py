"""COCO files as people's tools and hands leave them."""

# ruff: noqa: ARG005 - a row may put something else in the place of what it is given
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.bad_inputs.cases import Case, coded, normalizing
from tests.exports import Content

Change = Callable[[Content], object]


def put(table: str, at: int, **fields: Any) -> Change:
    """Set fields of one entry."""
    return lambda content: content[table][at].update(fields)


def every(table: str, **fields: Any) -> Change:
    """Set fields of every entry; a function is given the entry."""

    def change(content: Content) -> None:
        for entry in content[table]:
            entry.update({name: value(entry) if callable(value) else value for name, value in fields.items()})

    return change


def without(table: str, field: str) -> Change:
    """Remove a field of every entry."""

    def change(content: Content) -> None:
        for entry in content[table]:
            del entry[field]

    return change


def again(table: str, at: int, **fields: Any) -> Change:
    """List one entry once more, with other fields."""
    return lambda content: content[table].append({**content[table][at], **fields})


def raw(change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of the file."""
    return lambda content: change(coded(content))


def _lost(content: Content) -> None:
    del content["annotations"][0]["bbox"], content["annotations"][0]["segmentation"]


def _bare(box: Any) -> Change:
    """A box that no region can make good."""

    def change(content: Content) -> None:
        content["annotations"][0]["bbox"] = box

    return change


def _row(*arguments: Any, **options: Any) -> Case:
    return normalizing("datasets", *arguments, **options)


def _corners(entry: dict[str, Any]) -> list[float]:
    x, y, w, h = entry["bbox"]
    return [x, y, x + w, y + h]


FILES = (
    _row("empty file", raw(lambda text: b""), "refused", "empty file"),
    _row("blank file", raw(lambda text: b" \n\t"), "refused", "empty file"),
    _row("cut off", raw(lambda text: text[:-40]), "refused", "cut off"),
    _row("cut off inside a string", raw(lambda text: text[:120]), "refused", "expected JSON"),
    _row("bytes after the end", raw(lambda text: text + b"{}"), "refused", "after the end"),
    _row("comma before a bracket", raw(lambda text: text[:-1] + b",}"), "refused", "comma before"),
    _row("byte order mark", raw(lambda text: b"\xef\xbb\xbf" + text), "repaired", "byte order mark", (6, 10)),
    _row("UTF-16", raw(lambda text: text.decode().encode("utf-16")), "refused", "UTF-16"),
    _row("Latin-1", raw(lambda text: text.replace(b"pit", b"p\xfct")), "refused", "UTF-8"),
    _row("zip archive", raw(lambda text: b"PK\x03\x04" + text), "refused", "zip archive"),
    _row("gzip archive", raw(lambda text: b"\x1f\x8b\x08" + text), "refused", "gzip archive"),
    _row("tar archive", raw(lambda text: b"a.json".ljust(257, b"\0") + b"ustar\0" + text), "refused", "tar archive"),
    _row("bzip2 archive", raw(lambda text: b"BZh9" + text), "refused", "bzip2 archive"),
    _row("xz archive", raw(lambda text: b"\xfd7zXZ\0" + text), "refused", "xz archive"),
    _row("7z archive", raw(lambda text: b"7z\xbc\xaf\x27\x1c" + text), "refused", "7z archive"),
    _row("HTML page", raw(lambda text: b"<!DOCTYPE html><html>login</html>"), "refused", "HTML"),
    _row("a picture", raw(lambda text: b"\x89PNG\r\n\x1a\n"), "refused", "PNG picture"),
    _row("AppleDouble", raw(lambda text: b"\x00\x05\x16\x07" + text), "refused", "AppleDouble"),
    _row("binary", raw(lambda text: bytes(range(256)) * 4), "refused", "UTF-8"),
    _row("200,000 brackets", raw(lambda text: b"[" * 200_000), "refused", "levels of nesting"),
    _row("key twice", raw(lambda text: text[:-1] + b', "images": []}'), "refused", "twice"),
    _row("single quotes", raw(lambda text: text.replace(b'"', b"'")), "refused", "expected JSON"),
    _row("a number", raw(lambda text: b"488"), "refused", "a JSON int"),
    _row("null", raw(lambda text: b"null"), "refused", "COCO instances"),
    _row("list of results", lambda c: [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 1}], "refused",
         "detection results"),
    _row("images absent", lambda c: c.pop("images") and None, "refused", "images"),
    _row("annotations absent", lambda c: c.pop("annotations") and None, "refused", "annotations"),
    _row("categories absent", lambda c: c.pop("categories") and None, "refused", "categories"),
    _row("images empty", lambda c: c.update(images=[]), "refused", "images"),
    _row("images an object", lambda c: c.update(images={"1": c["images"][0]}), "refused", "images"),
    _row("annotations a string", lambda c: c.update(annotations="none"), "refused", "annotations"),
    _row("captions", lambda c: c.update(annotations=[{"id": 1, "image_id": 1, "caption": "a"}]), "refused", "captions"),
    _row("a project of VIA", lambda c: {"_via_settings": {}, "_via_img_metadata": {}}, "refused", "VGG"),
    _row("NaN literal for an unused field", put("annotations", 0, area=float("nan")), "repaired", "area", (6, 10)),
    _row("lone surrogate in a name", put("images", 0, file_name="\ud800.png"), "refused", "images"),
    _row("lone surrogate in a class", put("categories", 0, name="\ud800"), "refused", "categories"),
)  # fmt: skip
IDS = (
    _row("image id twice", again("images", 0, file_name="p7.png"), "refused", "ids of one image each"),
    _row("image twice, equal", again("images", 0), "merged", "image listed twice", (6, 10)),
    _row("picture under two ids", again("images", 0, id=9), "refused", "each picture once"),
    _row("image id 0", lambda c: [put("images", 0, id=0)(c), [a.update(image_id=0) for a in c["annotations"]
         if a["image_id"] == 1], None][-1], "repaired", "image id 0", (6, 10)),
    _row("image ids as text", every("images", id=lambda e: str(e["id"])), "repaired", "id as a string", (6, 10)),
    _row("image ids as floats", every("images", id=lambda e: float(e["id"])), "repaired", "id as a float", (6, 10)),
    _row("image id a list", put("images", 0, id=[1]), "quarantined", "", (5, 8)),
    _row("image without id", lambda c: c["images"][0].pop("id") and None, "quarantined", "", (5, 8)),
    _row("image id above 2^53", lambda c: [put("images", 0, id=2**60 + 1)(c), [a.update(image_id=2**60 + 1)
         for a in c["annotations"] if a["image_id"] == 1], None][-1], "sound", "", (6, 10)),
    _row("annotation id twice", put("annotations", 1, id=1), "repaired", "annotation id used twice", (6, 10)),
    _row("annotation id 0", put("annotations", 0, id=0), "repaired", "annotation id 0", (6, 10)),
    _row("annotation id negative", put("annotations", 0, id=-4), "sound", "", (6, 10)),
    _row("annotation without id", without("annotations", "id"), "repaired", "annotation without id", (6, 10)),
    _row("annotation of an unknown image", put("annotations", 0, image_id=99), "quarantined", "unknown image", (6, 9)),
    _row("annotation without image", without("annotations", "image_id"), "refused", "unknown image"),
    _row("annotation of an unknown class", put("annotations", 0, category_id=99), "quarantined", "unknown", (6, 9)),
    _row("annotation null", lambda c: c["annotations"].__setitem__(0, None), "quarantined", "annotation", (6, 9)),
    _row("annotation a number", lambda c: c["annotations"].__setitem__(0, 7), "quarantined", "annotation", (6, 9)),
    _row("exact duplicate", again("annotations", 0, id=99), "merged", "exact duplicate", (6, 10)),
    _row("category id 0", lambda c: [put("categories", 0, id=0)(c), [a.update(category_id=0) for a in c["annotations"]
         if a["category_id"] == 1], None][-1], "repaired", "category id 0", (6, 10)),
    _row("category twice", again("categories", 0), "repaired", "class listed twice", (6, 10)),
    _row("one class under two ids", again("categories", 0, id=7), "repaired", "two ids", (6, 10)),
    _row("one id for two classes", again("categories", 0, name="dent"), "refused", "category"),
    _row("class without a name", lambda c: c["categories"][0].pop("name") and None, "refused", "categories[0]"),
    _row("class named by a number", put("categories", 0, name=7), "refused", "categories[0]"),
    _row("class named by nothing", put("categories", 0, name=""), "refused", "categories[0]"),
    _row("category null", lambda c: c["categories"].__setitem__(0, None), "refused", "categories[0]"),
    _row("category ids with gaps", lambda c: [put("categories", 1, id=90)(c), [a.update(category_id=90)
         for a in c["annotations"] if a["category_id"] == 2], None][-1], "noted", "category ids", (6, 10)),
    _row("classes that differ by case", lambda c: c["categories"].append({"id": 3, "name": "Pit"}), "noted",
         "differ by case", (6, 10)),
)  # fmt: skip
BOXES = (
    _row("box of NaN", put("annotations", 0, bbox=[float("nan"), 6, 20, 10]), "repaired", "box", (6, 10)),
    _row("box of NaN, no region", put("annotations", 0, bbox=[float("nan"), 6, 20, 10]), "quarantined", "box", (6, 29),
         boxes=True),
    _row("box of infinity, no region", put("annotations", 0, bbox=[1, 1, float("inf"), 2]), "quarantined",
         "box", (6, 29),
         boxes=True),
    _row("box of 1e999, no region", raw(lambda text: text.replace(b'"bbox": [', b'"bbox": [1e999, ', 1)
         .replace(b"[1e999, 4", b"[1e999", 1)), "quarantined", "box", (6, 29), boxes=True),
    _row("box of negative width", put("annotations", 0, bbox=[30, 6, -20, 10]), "quarantined", "negative", (6, 29),
         boxes=True),
    _row("box without width", put("annotations", 0, bbox=[30, 6, 0, 10]), "quarantined", "without width", (6, 29),
         boxes=True),
    _row("box of three numbers", _bare([1, 2, 3]), "quarantined", "box", (6, 29), boxes=True),
    _row("box of five numbers", _bare([1, 2, 3, 4, 5]), "quarantined", "box", (6, 29), boxes=True),
    _row("box null", _bare(None), "quarantined", "box missing", (6, 29), boxes=True),
    _row("box an object", _bare({"x": 1}), "quarantined", "box", (6, 29), boxes=True),
    _row("box of true", _bare([True, 1, 5, 5]), "quarantined", "box", (6, 29), boxes=True),
    _row("box of 10^400", raw(lambda text: text.replace(b'"bbox": [', b'"bbox": [1' + b"0" * 400 + b", ", 1)
         .replace(b"0, 56", b"0", 1)), "quarantined", "box", (6, 29), boxes=True),
    _row("box as text", put("annotations", 0, bbox=["6", "6", "20", "10"]), "repaired", "box as text", (6, 10)),
    _row("box missing, region there", lambda c: c["annotations"][0].pop("bbox") and None, "repaired",
         "derived", (6, 10)),
    _row("box and region missing", _lost, "quarantined", "box missing", (6, 9)),
    _row("box past the edge", put("annotations", 0, bbox=[55, 6, 20, 10]), "repaired", "past the edge", (6, 30),
         boxes=True),
    _row("box outside the picture", put("annotations", 0, bbox=[500, 6, 20, 10]), "quarantined", "outside", (6, 29),
         boxes=True),
    _row("ten boxes as corners", every("annotations", bbox=_corners), "refused", "disagree"),
    _row("boxes as shares, unclear", every("annotations", bbox=[0.4, 0.4, 0.1, 0.1]), "refused", "px", boxes=True),
    _row("box and region disagree", put("annotations", 0, bbox=[1, 30, 5, 5]), "quarantined", "disagree", (6, 9)),
    _row("area missing", without("annotations", "area"), "repaired", "area missing", (6, 10)),
    _row("area negative", put("annotations", 0, area=-5), "repaired", "area", (6, 10)),
    _row("area far too large", put("annotations", 0, area=1e12), "repaired", "area", (6, 10)),
    _row("area as text", put("annotations", 0, area="200"), "repaired", "area as text", (6, 10)),
    _row("iscrowd missing", without("annotations", "iscrowd"), "repaired", "iscrowd missing", (6, 10)),
    _row("iscrowd 7", put("annotations", 0, iscrowd=7), "quarantined", "iscrowd", (6, 9)),
)  # fmt: skip
SIZES = (
    _row("size missing", lambda c: c["images"][0].pop("width") and None, "repaired", "size missing", (6, 10)),
    _row("size as text", put("images", 0, width="60", height="40"), "repaired", "size as text", (6, 10)),
    _row("size swapped", put("images", 0, width=40, height=60), "quarantined", "swapped", (5, 8)),
    _row("size wrong", put("images", 0, width=120, height=80), "quarantined", "wrong size", (5, 8)),
    _row("size negative", put("images", 0, width=-60), "repaired", "size", (6, 10)),
    _row("size 2^31", put("images", 0, width=2**31, height=2**31), "repaired", "size", (6, 10)),
    _row("size 0", put("images", 0, width=0, height=0), "repaired", "size", (6, 10)),
    _row("image null", lambda c: c["images"].__setitem__(5, None), "quarantined", "", (5, 10)),
    _row("group a list", put("images", 0, group=["a"]), "sound"),
    _row("--group that no image has", lambda c: None, "refused", "lot", options=("--group", "lot")),
    _row("--severity of an unknown class", lambda c: None, "refused", "dent", options=("--severity", "dent=major")),
    _row("--severity of an unknown level", lambda c: None, "refused", "deadly", options=("--severity", "pit=deadly")),
    _row("--scale of nothing", lambda c: None, "refused", "--scale", options=("--scale", "0/mm")),
    _row("--scale without a unit", lambda c: None, "refused", "--scale", options=("--scale", "48")),
    _row("--accept-below nothing", lambda c: None, "refused", "--accept-below", options=("--accept-below", "pit=-1")),
    _row("--fold 9/3", lambda c: None, "refused", "fold", options=("--fold", "9/3")),
    _row("--fold words", lambda c: None, "refused", "--fold", options=("--fold", "a/b")),
    _row("--group-pattern broken", lambda c: None, "refused", "--group-pattern", options=("--group-pattern", "(")),
    _row("--format unknown", lambda c: None, "refused", "format", options=("--format", "cuneiform")),
    _row("--strict with repairs", put("annotations", 0, id=0), "refused", "strict", options=("--strict",)),
)  # fmt: skip
CASES = (*FILES, *IDS, *BOXES, *SIZES)
