"""A normalized dataset that somebody edited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_inputs.cases import Case, Place, coded, edited

Content = dict[str, Any]


def _row(name: str, change: Callable[[Content], object], says: str, *, file: str = "test.json") -> Case:
    def given(place: Place) -> list[object]:
        root = place.copy(place.sound.dataset, "dataset")
        edited(root / file, change)
        return _evaluating(place, root)

    return Case(kind="splits", name=name, given=given, outcome="refused", says=says)


def _evaluating(place: Place, root: Path) -> list[object]:
    said = place.sound.said
    return ["evaluate", root, "--predictions", f"a:val={said['val']}", f"a:test={said['test']}", "--out", place.out,
            "--no-fiftyone", "--resamples", "20"]  # fmt: skip


def _defect(**fields: Any) -> Callable[[Content], object]:
    return lambda content: content["annotations"][0].update(fields)


def _image(**fields: Any) -> Callable[[Content], object]:
    return lambda content: content["images"][0].update(fields)


def _info(**fields: Any) -> Callable[[Content], object]:
    return lambda content: content["info"].update(fields)


def _moved(content: Content) -> None:
    box = content["annotations"][0]["bbox"]
    box[0] = box[0] - 1 if box[0] >= 1 else box[0] + 0.5
    box[2] = max(box[2] - 1, 0.5)


def _cut(content: Content) -> bytes:
    return coded(content)[:-50]


def _removed(place: Place) -> list[object]:
    root = place.copy(place.sound.dataset, "dataset")
    (root / "test.json").unlink()
    return _evaluating(place, root)


def _exchanged(place: Place) -> list[object]:
    root = place.copy(place.sound.dataset, "dataset")
    (root / "test.json").write_bytes((root / "val.json").read_bytes())
    return _evaluating(place, root)


NAN = float("nan")
CASES = (
    _row("a box moved by a pixel", _moved, "a changed one"),
    _row("a defect removed", lambda c: c["annotations"].pop() and None, "a changed one"),
    _row("a defect made a crowd", _defect(iscrowd=1), "a changed one"),
    _row("a defect ignored", _defect(ignore=1), "a changed one"),
    _row("an image removed", lambda c: c["images"].pop() and None, "test.json"),
    _row("a class renamed", lambda c: c["categories"][0].update(name="dent"), "a changed one"),
    _row("another fingerprint", _info(fingerprint="0" * 64), "a changed one"),
    _row("a picture exchanged", _image(sha256="0" * 64), "a changed one"),
    _row("a box of NaN", _defect(bbox=[NAN, 1, 2, 3]), "test.json"),
    _row("a box of negative width", _defect(bbox=[9, 9, -3, 3]), "without width or height"),
    _row("a box outside", _defect(bbox=[900, 9, 3, 3]), "inside its picture"),
    _row("a box of 1e300", _defect(bbox=[1, 1, 1e300, 1e300]), "inside its picture"),
    _row("a box of text", _defect(bbox="1 2 3 4"), "test.json"),
    _row("an area negative", _defect(area=-5), "area"),
    _row("an area of NaN", _defect(area=NAN), "test.json"),
    _row("iscrowd 7", _defect(iscrowd=7), "iscrowd"),
    _row("annotation id 0", _defect(id=0), "an id below 1"),
    _row("annotation id twice", lambda c: c["annotations"][1].update(id=c["annotations"][0]["id"]), "twice"),
    _row("annotation of no image", _defect(image_id=987654), "leads nowhere"),
    _row("annotation of no class", _defect(category_id=99), "leads nowhere"),
    _row("run lengths too short", _defect(segmentation={"size": [64, 64], "counts": "5"}), "no region"),
    _row("run lengths of 2e9", _defect(segmentation={"size": [2**31, 2**31], "counts": "0"}), "test.json"),
    _row("run lengths a number", _defect(segmentation=7), "test.json"),
    _row("a polygon of NaN", _defect(segmentation=[[1, 1, 9, 1, 9, NAN]]), "test.json"),
    _row("a polygon outside", _defect(segmentation=[[1, 1, 9, 1, 9, 9999]]), "no region"),
    _row("a polygon of two points", _defect(segmentation=[[1, 1, 9, 1]]), "no region"),
    _row("image id twice", lambda c: c["images"][1].update(id=c["images"][0]["id"]), "test.json"),
    _row("picture twice", lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]), "twice"),
    _row("a picture elsewhere", _image(file_name="../../../etc/passwd"), "names no picture"),
    _row("an absolute picture", _image(file_name="/etc/passwd"), "names no picture"),
    _row("a width of 0", _image(width=0), "0 x"),
    _row("a width of 10^30", _image(width=10**30), "test.json"),
    _row("an image id of text", _image(id="1"), "test.json"),
    _row("a damaged summary", lambda c: c.pop("images") and None, "dataset.json", file="dataset.json"),
    _row("category ids turned", lambda c: c["categories"].reverse(), "category ids"),
    _row("a severity of another kind", lambda c: c["categories"][0].update(severity="deadly"), "deadly"),
    _row("a scale of 0", _info(scale=0), "scale"),
    _row("another schema", _info(schema=99), "schema"),
    _row("another writer", _info(normalized_by="me"), "me"),
    _row("cut off", _cut, "test.json"),
    _row("not UTF-8", lambda c: coded(c).replace(b"file_name", b"file_n\xffme"), "test.json"),
    _row("attributes of another kind", _defect(attributes={"a": [1]}), "test.json"),
    _row("a summary with other counts", lambda c: c["splits"]["test"].update(defects=1), "other counts",
         file="dataset.json"),
    _row("a summary with other classes", lambda c: c.update(categories=["x"]), "other classes", file="dataset.json"),
    _row("a summary that names another split", lambda c: c["splits"].update({"../x": c["splits"]["test"]}), "../x",
         file="dataset.json"),
    Case(kind="splits", name="a split removed", given=_removed, outcome="refused", says="test"),
    Case(kind="splits", name="val in the place of test", given=_exchanged, outcome="refused", says="info.split"),
)  # fmt: skip
