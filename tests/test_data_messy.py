"""Real exports and their known faults: what a report says of them. Needs the data folder beside the project."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MESSY = ROOT.parent / "shared" / "data" / "messy"
pytestmark = pytest.mark.skipif(not (MESSY / "MANIFEST.md").is_file(), reason="../shared/data is absent")

# What a report must say (any one of the words) where the manifest has the phrase.
NAMED = {
    "(id matches after str())": ["id as a string"],
    "annotation for an image that is not listed": ["id as a string", "unknown image"],
    "annotation id 0": ["annotation id 0"],
    "category ids not contiguous": ["class listed twice", "category ids that are not 1, 2, 3"],
    "duplicate category id": ["class listed twice"],
    "duplicate category name": ["class listed twice", "class listed under two ids"],
    "file_name not found": ["picture missing", "pictures lie in another folder"],
    "image_id not int": ["id as a string"],
    "category id not int": ["id as a string"],
    "segmentation is a flat list": ["flat polygon list"],
    "absolute path in file_name": ["absolute path of another machine"],
    "bbox ends beyond the image": ["box past the edge", "wrong size", "width and height swapped"],
    "bbox starts before 0": ["box past the edge"],
    "category ids start at 0": ["category id 0"],
    'no top-level "licenses"': ["no top-level 'licenses'"],
    'no top-level "info"': ["no top-level 'info'"],
    "polygon beyond the image": ["polygon past the edge", "wrong size", "width and height swapped"],
    "Roboflow dummy parent category": ["placeholder parent category"],
    # Where ids are text on one side and numbers on the other, the manifest takes classes for unused.
    "category never used": ["category never used", "placeholder parent category", "id as a string"],
    "exact duplicate boxes": ["exact duplicate annotation", "box of another annotation of its class"],
    "not UTF-8": ["AppleDouble"],
    "not parseable": ["expected JSON"],
    "area <= 0": ["area that can't be one"],
    "bbox disagrees with polygon": ["box and region disagree"],
    "bbox zero width/height": ["box without width or height"],
    "non-ASCII category name": ["class name beyond ASCII"],
    "iscrowd 1": ["is a crowd", "crowds (iscrowd 1)"],
    "uncompressed RLE": ["uncompressed run lengths"],
    "segmentation []": ["no regions: boxes only", "box missing: keypoints only"],
    'annotation without "segmentation"': ["no regions: boxes only"],
    "bbox empty list": ["box missing"],
    "blank in file_name": ["blanks or special characters"],
    "annotation without bbox": ["box missing"],
    "annotation without iscrowd": ["iscrowd missing"],
    "annotation without id": ["annotation without id"],
    "category_id not int": ["unknown category"],
    "category_id not in categories": ["id as a string", "unknown category"],
    "duplicate annotation id": ["annotation id used twice"],
    "image without width/height": ["size missing"],
    "area greater than bbox area": ["area slightly larger than its box", "area larger than its box"],
}

# README.md of made/: the one fault of each file.
MADE = {
    "clean.json": None,
    "bom.json": "byte order mark",
    "latin1.json": "expected UTF-8, found byte 0xfc at offset",
    "truncated.json": "cut off",
    "empty.json": "an empty file",
    "duplicate_image_id.json": "ids of one image each, found 1 again",
    "duplicate_annotation_id.json": "annotation id used twice",
    "negative_width.json": "box of negative width or height",
    "zero_height.json": "box without width or height",
    "normalised.json": "numbers between 0 and 1 in every box",
    "box_outside.json": "box outside the picture",
    "segmentation_absent_bbox_absent.json": "box missing",
    "bbox_absent.json": "box missing, derived from the region",
    # The file holds the number 488 and nothing else; polygons of an odd length are in test_data_normalize.py.
    "polygon_odd.json": "a JSON int",
    "polygon_crossing.json": "polygon that crosses itself",
    "rle_uncompressed.json": "uncompressed run lengths",
    "rle_short.json": "run lengths that don't add up",
    "ids_as_strings.json": "id as a string",
    "ids_as_floats.json": "id as a float",
    "categories_absent.json": "found no categories",
    "annotations_absent.json": "COCO image_info",
    "category_case_twins.json": "differ by case or blanks only",
    "category_gap_and_zero.json": "category id 0",
    "wrong_size_declared.json": "wrong size",
    "size_as_strings.json": "size as text or float",
    "missing_one_image.json": "picture missing",
    "windows_absolute.json": "absolute path of another machine",
    "result_list.json": "a list of detection results",
}

PICTURES = [
    "picture unreadable: image file is truncated", "picture unreadable: an empty file",
    "picture unreadable: an HTML page", "PNG called .jpg", "re-encoded as 8-bit PNG: CMYK", "EXIF orientation",
    "re-encoded as 8-bit PNG: 16-bit", "re-encoded as 8-bit PNG: palette", "re-encoded as 8-bit PNG: alpha",
    "blanks or special characters in file names", "under 10 px", "several pages; TIFF",
]  # fmt: skip


def script() -> Any:
    """benchmarks/messy.py, which makes the table of docs/normalization.md."""
    spec = importlib.util.spec_from_file_location("messy", ROOT / "benchmarks" / "messy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["messy"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@functools.cache
def outcome(name: str) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        return script().outcome(MESSY / name, MESSY, Path(scratch) / "out")


def manifest() -> Iterator[tuple[str, list[str]]]:
    """Each file of MANIFEST.md with the phrases that say what is wrong in it."""
    folder = ""
    text = (MESSY / "MANIFEST.md").read_text() if MESSY.is_dir() else ""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("## "):
            folder = line.removeprefix("## ").strip()
        found = re.match(r"- `(.+)` \(", line)
        if found:
            said = lines[at + 1].strip() if at + 1 < len(lines) else ""
            phrases = [known for known in NAMED if known in said] if said.startswith("-") else []
            yield f"{folder}/{found.group(1)}", phrases


@pytest.mark.parametrize(
    ("name", "phrases"), list(manifest()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_the_manifest_says_is_wrong_the_report_names(name: str, phrases: list[str]) -> None:
    said = outcome(name).said
    if "expected COCO instances" in said:  # another kind of file: named as what it is, its entries mean nothing here
        assert re.search("captions|panoptic|labels of whole images|image_info|VGG", said)
        return
    unnamed = [phrase for phrase in phrases if not any(words in said for words in NAMED[phrase])]
    assert not unnamed, said


def test_every_phrase_of_the_manifest_is_looked_for() -> None:
    for line in (MESSY / "MANIFEST.md").read_text().splitlines():
        if line.startswith("  - "):
            # Examples hold anything, brackets and semicolons too: cut up to where the next phrase begins.
            plain = re.sub(r"\(e\.g\. .*?\)+(?=(; [A-Za-z(_]|$))", "", line)
            for phrase in re.findall(r"(?:^  - +|; )([^;]+?): (?:\d|Expecting)", plain):
                assert any(known in phrase for known in NAMED), phrase


@pytest.mark.parametrize("name", MADE)
def test_the_one_fault_of_a_made_file_is_named(name: str) -> None:
    made = outcome(f"made/{name}")
    fault = MADE[name]
    if fault is None:
        assert not made.refused
        assert {action for action, _ in made.rules} <= {"noted"}
    else:
        assert fault in made.said


def test_nothing_else_is_made_of_the_made_files() -> None:
    for name in MADE:
        made = outcome(f"made/{name}")
        actions = {what for action, what in made.rules if action in ("repaired", "quarantined", "merged")}
        assert len(actions) <= 2, (name, actions)
        assert len(made.refused) <= 1


def test_odd_pictures_are_named_one_by_one() -> None:
    said = outcome("made/bad_pictures/annotations.json").said
    assert [each for each in PICTURES if each not in said] == []


def test_all_files_of_the_folder_are_in_the_table() -> None:
    text = (ROOT / "docs" / "normalization.md").read_text()
    for path in script().files(MESSY):
        assert f"| {path.relative_to(MESSY).as_posix()} |" in text


def test_the_users_files_were_not_touched() -> None:
    for name in ("made/clean.json", "made/bad_pictures/annotations.json"):
        before = {path: (path.stat().st_mtime_ns, path.stat().st_nlink) for path in (MESSY / name).parent.rglob("*")}
        outcome.__wrapped__(name)
        assert before == {path: (path.stat().st_mtime_ns, path.stat().st_nlink) for path in before}
