"""Other formats than COCO."""

from __future__ import annotations

from collections.abc import Mapping

from tests import exports
from tests.bad_inputs.cases import Case, Place

_NAMES = "names: [pit, scratch]\ntrain: images\n"
_PICTURE = exports.picture()
_LABEL = "0 0.5 0.5 0.2 0.2\n"
_VOC = (
    "<annotation><filename>p1.png</filename><size><width>60</width><height>40</height><depth>1</depth></size>"
    "<object><name>pit</name><bndbox><xmin>{x}</xmin><ymin>5</ymin><xmax>20</xmax><ymax>15</ymax></bndbox></object>"
    "</annotation>"
)


def _row(name: str, files: Mapping[str, str | bytes], outcome: str, says: str, form: str) -> Case:
    """Files in a folder beside the six pictures."""

    def given(place: Place) -> list[object]:
        root = place.home / "in" / "folder"
        exports.pictures(root / "images")
        for each, content in files.items():
            place.file(f"folder/{each}", content)
        return ["normalize", root, "--out", place.out, "--format", form]

    return Case(kind="formats", name=f"{form}: {name}", given=given, outcome=outcome, says=says)


def _yolo(name: str, label: str | bytes, says: str, outcome: str = "refused", described: str | bytes = _NAMES) -> Case:
    labels = {f"labels/p{n}.txt": _LABEL for n in range(2, 6)}
    return _row(name, {"data.yaml": described, "labels/p1.txt": label, **labels}, outcome, says, "yolo")


def _xml(name: str, text: str | bytes, says: str) -> Case:
    others = {f"p{n}.xml": _VOC.format(x=2).replace("p1", f"p{n}") for n in range(2, 6)}
    return _row(name, {"p1.xml": text, **others}, "refused", says, "voc")


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CASES = (
    _yolo("words for numbers", "pit 0.5 0.5 0.2 0.2\n", "labels/p1"),
    _yolo("a class that has no name", "7 0.5 0.5 0.2 0.2\n", "a class from 0 to 1"),
    _yolo("a negative class", "-1 0.5 0.5 0.2 0.2\n", "a class from 0 to 1"),
    _yolo("three values", "0 0.5 0.5\n", "4 values"),
    _yolo("predictions", "0 0.5 0.5 0.2 0.2 0.9\n", "predictions, not labels"),
    _yolo("binary", b"\xff\xfe\x00\x01", "labels/p1"),
    _yolo("NaN", "0 nan 0.5 0.2 0.2\n", "box", "quarantined"),
    _yolo("names missing", _LABEL, "names", described="train: images\n"),
    _yolo("names that bomb", _LABEL, "alias", described=_BOMB + "names: [*i]\ntrain: images\n"),
    _yolo("names numbered to a billion", _LABEL, "names", described="names: {1000000000: pit}\ntrain: images\n"),
    _yolo("code in YAML", _LABEL, "python",
         described="names: !!python/object/apply:os.system ['true']\ntrain: images\n"),
    _yolo("a folder that leads out", _LABEL, "below", described="names: [pit, scratch]\ntrain: ../../..\n"),
    _yolo("tabs", _LABEL, "data.yaml", described="names:\n\t- pit\n"),
    _row("a picture whose name is no text", {"data.yaml": _NAMES, "images/caf\udce9.png": _PICTURE}, "refused", "UTF-8",
         "yolo"),
    _row("a class whose name is no text", {"masks/caf\udce9/p1.png": _PICTURE, "masks/pit/p2.png": _PICTURE},
         "refused", "UTF-8", "masks"),
    _xml("cut off", _VOC.format(x=2)[:80], "p1.xml"),
    _xml("entities", '<!DOCTYPE a [<!ENTITY x "y">]>' + _VOC.format(x=2), "entities"),
    _row("no meta.json", {"ds/ann/p1.png.json": "{}"}, "refused", "meta.json", "supervisely"),
    _row("no train.csv", {"other.csv": "a,b\n"}, "refused", "nothing like it", "severstal"),
    _row("other columns", {"train.csv": "a,b\n1,2\n"}, "refused", "nothing like it", "severstal"),
    _row("runs that aren't pairs", {"train.csv": "ImageId,ClassId,EncodedPixels\np1.png,1,1 2 3\n"}, "refused", "pairs",
         "severstal"),
    _row("runs past the end", {"train.csv": "ImageId,ClassId,EncodedPixels\np1.png,1,2399 900\n"}, "refused",
         "runs within",
         "severstal"),
    _row("no annotations.xml", {"x.txt": ""}, "refused", "nothing like it", "cvat"),
    _row("no shapes", {"images/p1.json": "{}"}, "refused", "labelme", "labelme"),
)  # fmt: skip
