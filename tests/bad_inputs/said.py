"""Predictions and the manifests beside them."""

# ruff: noqa: ARG005 - a row may put something else in the place of what it is given
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.bad_inputs.cases import Case, Place, coded

Entries = list[dict[str, Any]]


def _evaluating(place: Place, path: object, *options: object) -> list[object]:
    return ["evaluate", place.sound.dataset, "--predictions", f"a:val={place.sound.said['val']}", f"a:test={path}",
            "--out", place.out, "--no-fiftyone", "--resamples", "20", *options]  # fmt: skip


def _row(name: str, change: Callable[[Entries], object], outcome: str, says: str = "") -> Case:
    def given(place: Place) -> list[object]:
        entries = json.loads(place.sound.said["test"].read_bytes())
        made = change(entries)
        return _evaluating(place, place.file("test.json", entries if made is None else made))

    return Case(kind="predictions", name=name, given=given, outcome=outcome, says=says)


def _first(**fields: Any) -> Callable[[Entries], object]:
    return lambda entries: entries[0].update(fields)


def _all(**fields: Any) -> Callable[[Entries], object]:
    return lambda entries: [entry.update(fields) for entry in entries] and None


NAN, INF = float("nan"), float("inf")
PREDICTIONS = (
    _row("every box NaN", _all(bbox=[NAN] * 4), "refused", "bbox"),
    _row("a box of NaN", _first(bbox=[NAN, 1, 2, 3]), "refused", "[0].bbox"),
    _row("a box of infinity", _first(bbox=[1, 1, INF, 3]), "refused", "[0].bbox"),
    _row("a box of 1e999", lambda e: coded(e).replace(b'"bbox": [', b'"bbox": [1e999], "x": [', 1), "refused",
         "[0].bbox"),
    _row("a box of 10^400", _first(bbox=[1, 1, 10**400, 3]), "refused", "[0].bbox"),
    _row("a box of 1e300", _first(bbox=[1, 1, 1e300, 3]), "refused", "[0].bbox"),
    _row("a box of negative width", _first(bbox=[9, 9, -3, 3]), "refused", "[0].bbox"),
    _row("a box of three numbers", _first(bbox=[1, 2, 3]), "refused", "[0].bbox"),
    _row("a box of text", _first(bbox=["a", "b", "c", "d"]), "refused", "[0].bbox"),
    _row("a box null", _first(bbox=None), "refused", "[0].bbox"),
    _row("no box", lambda e: e[0].pop("bbox") and None, "refused", "[0].bbox"),
    _row("every score NaN", _all(score=NAN), "refused", "score"),
    _row("score above 1", _first(score=1.5), "refused", "[0].score"),
    _row("score in percent", _all(score=87), "refused", "score"),
    _row("score negative", _first(score=-0.1), "refused", "[0].score"),
    _row("score as text", _first(score="0.9"), "refused", "[0].score"),
    _row("score true", _first(score=True), "refused", "[0].score"),
    _row("no score", lambda e: e[0].pop("score") and None, "refused", "[0].score"),
    _row("unknown image", _first(image_id=987654), "refused", "987654"),
    _row("unknown class", _first(category_id=987654), "refused", "987654"),
    _row("class 0", _all(category_id=0), "refused", "category_id"),
    _row("image a list", _first(image_id=[1]), "refused", "image_id"),
    _row("image null", _first(image_id=None), "refused", "image_id"),
    _row("file of another split", _first(file_name="train/none.png"), "refused", "none.png"),
    _row("unknown class name", _first(category_name="scrtch"), "refused", "scrtch"),
    _row("entry a number", lambda e: e.__setitem__(0, 7), "refused", "a prediction"),
    _row("entry null", lambda e: e.__setitem__(0, None), "refused", "a prediction"),
    _row("a dataset", lambda e: {"images": [], "annotations": []}, "refused", "dataset, not what"),
    _row("an object", lambda e: {"predictions": e}, "refused", "a list of predictions"),
    _row("cut off", lambda e: coded(e)[:-9], "refused", "cut off"),
    _row("empty file", lambda e: b"", "refused", "empty file"),
    _row("not UTF-8", lambda e: coded(e) + b"\xff", "refused", "UTF-8"),
    _row("key twice", lambda e: coded(e).replace(b'"score"', b'"score": 0.1, "score"', 1), "refused", "twice"),
    _row("100,000 brackets", lambda e: b"[" * 100_000, "refused", "levels"),
    _row("a pickle", lambda e: b"\x80\x04\x95\x00", "refused", "UTF-8"),
    _row("segmentation in some", _first(segmentation=[[1, 1, 9, 1, 9, 9]]), "refused",
         "in every prediction or in none"),
    _row("segmentation of NaN", _all(segmentation=[[1, 1, 9, 1, 9, NAN]]), "refused", "segmentation"),
    _row("run lengths too short", _all(segmentation={"size": [64, 64], "counts": [5]}), "refused", "segmentation"),
    _row("run lengths of 2e9", _all(segmentation={"size": [2**31, 2**31], "counts": "0"}), "refused", "segmentation"),
    _row("20,000 faults", lambda e: [7] * 20_000, "refused", "more than 1,000"),
    _row("no predictions", lambda e: [], "sound", "100"),
    _row("byte order mark", lambda e: b"\xef\xbb\xbf" + coded(e), "sound"),
    _row("ids as text", lambda e: [x.update(image_id=str(x["image_id"])) for x in e] and None, "sound"),
    _row("each twice", lambda e: e + e, "sound"),
)  # fmt: skip


def _path(name: str, path: str, says: str) -> Case:
    return Case(kind="predictions", name=name, outcome="refused", says=says,
                given=lambda place: _evaluating(place, path.replace("HOME", str(place.home))))  # fmt: skip


PATHS = (
    _path("no such file", "HOME/none.json", "nothing at"),
    _path("a folder", "HOME", "a file"),
    _path("a device", "/dev/zero", "a file"),
)


def _argument(name: str, texts: tuple[str, ...], says: str) -> Case:
    def given(place: Place) -> list[object]:
        said = [text.replace("TEST", str(place.sound.said["test"])).replace("VAL", str(place.sound.said["val"]))
                for text in texts]  # fmt: skip
        return ["evaluate", place.sound.dataset, "--predictions", *said, "--out", place.out, "--no-fiftyone"]

    return Case(kind="predictions", name=name, given=given, outcome="refused", says=says)


ARGUMENTS = (
    _argument("no name", ("TEST",), "NAME:val=FILE"),
    _argument("name that leads out", ("../a=TEST",), "NAME:val=FILE"),
    _argument("name twice", ("a=TEST", "a:test=TEST"), "twice"),
    _argument("val only", ("a:val=VAL",), "predictions on test"),
    _argument("unknown split", ("a:dev=TEST",), "NAME:val=FILE"),
    _argument("test given as val", ("a:val=TEST", "a:test=TEST"), "image_id"),
)


def _manifest(name: str, change: Callable[[dict[str, Any]], object], says: str, outcome: str = "refused") -> Case:
    """The manifest beside copied predictions of our own is spoilt."""

    def given(place: Place) -> list[object]:
        home = next((place.sound.comparison / "runs").iterdir()) / "predictions" / "test"
        content = json.loads((home / "manifest.json").read_bytes())
        made = change(content)
        place.copy(home / "predictions.json", "said/predictions.json")
        path = place.file("said/manifest.json", content if made is None else made)
        return _evaluating(place, path.with_name("predictions.json"), "--policy", "score=0.5")

    return Case(kind="manifests", name=name, given=given, outcome=outcome, says=says)


def _set(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update(fields)


MANIFESTS = (
    _manifest("empty", lambda c: b"", "manifest.json"),
    _manifest("cut off", lambda c: coded(c)[:-30], "manifest.json"),
    _manifest("not UTF-8", lambda c: coded(c).replace(b"classical", b"cl\xffssical"), "manifest.json"),
    _manifest("a list", lambda c: [c], "manifest.json"),
    _manifest("field missing", lambda c: c.pop("score_floor") and None, "score_floor"),
    _manifest("unknown field", _set(speed=9), "speed"),
    _manifest("score floor as text", _set(score_floor="0"), "score_floor"),
    _manifest("images negative as text", _set(images="-3"), "images"),
    _manifest("key twice", lambda c: coded(c).replace(b'"detector"', b'"detector": "b", "detector"', 1), "twice"),
    _manifest("of another dataset", _set(dataset_fingerprint="0" * 64), "another dataset"),
    _manifest("of another file", _set(predictions_sha256="0" * 64), "", "sound"),
)  # fmt: skip
CASES = (*PREDICTIONS, *PATHS, *ARGUMENTS, *MANIFESTS)
