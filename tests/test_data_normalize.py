"""Each rule of normalization: what is repaired, what is left out, what is refused."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from defect_detect.data import coco
from defect_detect.data.normalize import normalize
from defect_detect.data.repairs import Refused, Repair
from defect_detect.errors import DatasetError, DefectDetectError
from defect_detect.report.normalized import print_normalized, print_refused
from tests import exports
from tests.exports import Content, changed, clean, run

_REMOVE = object()


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("data") / "images")


def change(at: int = 0, **fields: Any) -> Callable[[Content], None]:
    def apply(content: Content) -> None:
        for name, value in fields.items():
            if value is _REMOVE:
                del content["annotations"][at][name]
            else:
                content["annotations"][at][name] = value

    return apply


def change_image(at: int = 0, **fields: Any) -> Callable[[Content], None]:
    return lambda content: content["images"][at].update(fields)


def texts(content: Content) -> None:
    for image in content["images"]:
        image["id"] = str(image["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = float(annotation["image_id"])


REPAIRED = {
    "ids of another type": (texts, {"id as a string": 6, "id as a float": 10}),
    "annotation id 0": (change(id=0), {"annotation id 0": 1}),
    "annotation id twice": (change(id=2), {"annotation id used twice": 2}),
    "annotation without id": (change(id=_REMOVE), {"annotation without id": 1}),
    "no area": (change(area=_REMOVE), {"area missing": 1}),
    "area NaN": (change(area=float("nan")), {"area that can't be one": 1}),
    "no iscrowd": (change(iscrowd=_REMOVE), {"iscrowd missing": 1}),
    "iscrowd as bool": (change(iscrowd=False), {"iscrowd as text, float or bool": 1}),
    "no bbox": (change(bbox=_REMOVE), {"box missing, derived from the region": 1}),
    "zero box with region": (change(bbox=[6, 6, 0, 10]), {"box without width or height, derived from the region": 1}),
    "past the edge": (change(bbox=[-1, 6, 27, 10]), {"box past the edge": 1}),
    "flat polygon": (change(segmentation=[6, 6, 26, 6, 26, 16, 6, 16]), {"flat polygon list": 1}),
    "point pairs": (
        change(segmentation=[[[6, 6], [26, 6], [26, 16], [6, 16]]]), {"polygon of point pairs": 1}
    ),
    "size missing": (lambda c: c["images"][0].pop("width"), {"size missing": 1}),
    "size of nothing": (change_image(5, width=28, height=28), {"wrong size": 1}),
    "size as text": (change_image(width="60"), {"size as text or float": 1}),
    "path not shortest": (change_image(file_name="./p1.png"), {"file name not in its shortest form": 1}),
    "windows": (change_image(file_name="C:\\a\\p1.png"), {"absolute path of another machine": 1}),
    "class under two ids": (
        lambda c: c["categories"].append({"id": 9, "name": "pit"}), {"class listed under two ids": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REPAIRED)
def test_repairs(case: str, pictures: Path, tmp_path: Path) -> None:
    spoil, expected = REPAIRED[case]
    content = clean()
    spoil(content)
    made = run(content, pictures, tmp_path)
    counts: dict[str, int] = {}
    for repair in changed(made):
        counts[repair.what] = counts.get(repair.what, 0) + 1
        assert repair.action == "repaired"
    assert counts == expected
    assert made.content.annotations.kept == 10
    assert made.content.images.kept == 6
    with pytest.raises(DatasetError):
        normalize(tmp_path / "export.json", images=pictures, out=tmp_path / "strict", strict=True)


QUARANTINED = {
    "NaN box": (change(bbox=[1, 2, float("nan"), 4], segmentation=[]), "box that is not four finite numbers"),
    "three numbers": (change(bbox=[1, 2, 3], segmentation=[]), "box that is not four finite numbers"),
    "negative width": (change(bbox=[26, 6, -20, 10], segmentation=[]), "box of negative width or height"),
    "no height": (change(bbox=[26, 6, 20, 0], segmentation=[]), "box without width or height"),
    "outside": (change(bbox=[600, 6, 20, 10], segmentation=[]), "box outside the picture"),
    "no box at all": (change(bbox=_REMOVE, segmentation=_REMOVE), "box missing"),
    "box elsewhere": (change(bbox=[40, 30, 5, 5]), "box and region disagree"),
    "crowd of 7": (change(iscrowd=7), "iscrowd that is neither 0 nor 1"),
    "odd polygon": (change(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "malformed region"),
    "two points": (change(segmentation=[[1, 2, 3, 4]]), "malformed region"),
    "polygon of NaN": (change(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "malformed region"),
    "polygon at 1e300": (change(segmentation=[[1, 2, 3, 4, 5, 1e300]]), "malformed region"),
    "short run lengths": (change(segmentation={"size": [40, 60], "counts": [100, 10]}), "malformed region"),
    "turned run lengths": (change(segmentation={"size": [60, 40], "counts": [2300, 100]}), "malformed region"),
    "unknown image": (change(image_id=77), "annotation of an unknown image"),
    "unknown class": (change(category_id=77), "annotation of an unknown category"),
    "not an object": (lambda c: c["annotations"].__setitem__(0, 5), "annotation that is not an object"),
}


@pytest.mark.parametrize("case", QUARANTINED)
def test_quarantines(case: str, pictures: Path, tmp_path: Path) -> None:
    spoil, expected = QUARANTINED[case]
    content = clean()
    spoil(content)
    made = run(content, pictures, tmp_path)
    assert [repair.what.partition(":")[0] for repair in changed(made)] == [expected]
    assert changed(made)[0].where.startswith("export.json: annotations[0]")
    assert made.content.annotations.quarantined == 1
    assert made.content.annotations.kept == 9
    assert made.content.images.kept == 6


def all_boxes(convert: Callable[[list[float]], list[float]]) -> Callable[[Content], None]:
    def apply(content: Content) -> None:
        for annotation in content["annotations"]:
            annotation["bbox"], annotation["segmentation"] = convert(annotation["bbox"]), []

    return apply


def resized(content: Content) -> None:
    for image in content["images"]:
        image.update(width=120, height=80)
    for annotation in content["annotations"]:
        annotation["bbox"], annotation["segmentation"] = [70, 50, 30, 20], []


REFUSED = {
    "one id, two files": (change_image(id=2), "ids of one image each"),
    "one file, two ids": (change_image(file_name="p2.png"), "each picture once"),
    "out of the root": (change_image(file_name="../p1.png"), "leads out of the picture folder"),
    "NUL in a name": (change_image(file_name="p1\0.png"), "no file name can have"),
    "no annotations": (lambda c: c.pop("annotations"), "found no annotations"),
    "categories as a mapping": (lambda c: c.update(categories={}), "categories is a dict"),
    "captions": (lambda c: c.update(annotations=[{"caption": "x"}]), "COCO captions"),
    "one category id, two names": (
        lambda c: c["categories"].append({"id": 1, "name": "dent"}), "category 1 to be 'dent' everywhere, found 'pit'"
    ),
    "shares of the picture": (all_boxes(lambda b: [v / 100 for v in b]), "between 0 and 1"),
    "corners": (all_boxes(lambda b: [b[0] + 30, b[1] + 20, 59, 39]), "look like corners"),
    "resized after labelling": (resized, "resized or turned after labelling"),
    "no picture found": (
        lambda c: [image.update(file_name=f"x{image['id']}") for image in c["images"]], "6 of the listed files"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, pictures: Path, tmp_path: Path) -> None:
    spoil, expected = REFUSED[case]
    content = clean()
    spoil(content)
    with pytest.raises(DatasetError, match=expected):
        run(content, pictures, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "empty file"),
        (b'{"images": [', "cut off"),
        (b'{"images": [1,\n  ]}', r"export.json:2:3: expected JSON, found a comma before"),
        (b'{"images": [], "images": []}', "'images' twice"),
        (b'{"a": "\xfc"}', "offset 7"),
        (b"[" * 200_000, "200,000 levels"),
        (b'[{"image_id": 1, "score": 0.5}]', "list of detection results"),
        (b"5", "a JSON int"),
    ],
)
def test_what_is_not_coco_instances(raw: bytes, expected: str, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=expected):
        run(raw, pictures, tmp_path)


def test_a_byte_order_mark_is_taken_off(pictures: Path, tmp_path: Path) -> None:
    made = run(b"\xef\xbb\xbf" + json.dumps(clean()).encode(), pictures, tmp_path)
    assert [repair.what for repair in changed(made)] == ["byte order mark"]


def test_links_out_of_the_picture_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(1, 7):
        Image.new("L", (60, 40), number).save(tmp_path / f"p{number}.png")
        (tmp_path / "images" / f"p{number}.png").symlink_to(tmp_path / f"p{number}.png")
    with pytest.raises(DatasetError, match="a link that leads out"):
        run(clean(), tmp_path / "images", tmp_path)


def test_two_images_of_one_id_and_file_are_one(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"].append(dict(content["images"][0]))
    made = run(content, pictures, tmp_path)
    assert [(repair.what, repair.action) for repair in changed(made)] == [("image listed twice", "merged")]
    assert (made.content.images.given, made.content.images.merged) == (7, 1)
    assert made.content.images.kept == 6
    assert made.content.annotations.kept == 10


def test_a_size_in_doubt_leaves_the_image_out(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"][0].update(width=61, height=41)
    made = run(content, pictures, tmp_path)
    assert changed(made)[0].what == "wrong size: boxes fit both"
    assert made.content.images.quarantined == 1
    assert made.content.annotations.quarantined == 2


def test_a_size_that_boxes_prove_wrong_is_repaired(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    for image in content["images"]:
        image.update(width=28, height=28)
    made = run(content, pictures, tmp_path)
    assert {repair.what for repair in changed(made)} == {"wrong size"}
    assert made.content.images.repaired == 6


def ready(folder: Path, pictures: Path) -> dict[str, Content]:
    """Three files that each number their images from 1, as many real datasets do."""
    contents = {}
    for at, split in enumerate(("train", "val", "test")):
        content = clean()
        names = [f"p{1 + 2 * at}.png", f"p{2 + 2 * at}.png"]
        content["images"] = [{**content["images"][n], "file_name": name} for n, name in enumerate(names)]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] < 3]
        contents[split] = content
    (folder / "images").symlink_to(pictures)
    return contents


def write(folder: Path, contents: dict[str, Content]) -> Path:
    for split, content in contents.items():
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def test_ready_splits_stay_as_they_are(pictures: Path, tmp_path: Path) -> None:
    made = normalize(write(tmp_path, ready(tmp_path, pictures)), images=None, out=tmp_path / "out")
    for at, split in enumerate(("train", "val", "test")):
        data = coco.load(made.root, split)
        assert data.images.file == (f"images/p{1 + 2 * at}.png", f"images/p{2 + 2 * at}.png")
        assert data.images.source_id == (1, 2)
    assert changed(made) == []
    assert "image ids used in several splits, numbered anew" in {repair.what for repair in made.repairs}


def test_leaks_between_ready_splits_are_refused(pictures: Path, tmp_path: Path) -> None:
    contents = ready(tmp_path, pictures)
    leaky = copy.deepcopy(contents)
    leaky["test"]["images"][0]["file_name"] = "p1.png"
    with pytest.raises(DatasetError, match=r"no picture in two splits, found p1.png"):
        normalize(write(tmp_path, leaky), images=None, out=tmp_path / "out")
    leaky = copy.deepcopy(contents)
    leaky["train"]["images"][0]["group"] = leaky["val"]["images"][1]["group"] = "lot 7"
    with pytest.raises(DatasetError, match=r"train.json and val.json: expected no group in two splits"):
        normalize(write(tmp_path, leaky), images=None, out=tmp_path / "out")


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"expected train.json, val.json and test.json, found train.json"):
        normalize(tmp_path, images=None, out=tmp_path / "out")


def test_wrong_options_are_all_reported(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        run(clean(), pictures, tmp_path, scale=0, severity={"pit": "bad", "dent": "minor"}, accept_below={"x": 1},
            group="lot")  # fmt: skip
    assert len(caught.value.faults) == 5


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70) | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["p1.png", "../p1.png", "/p2.png", "1"]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_field_nothing_but_our_errors_comes_out(
    data: st.DataObject, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = clean()
    entries = [*content["images"], *content["annotations"], *content["categories"], content]
    for _ in range(data.draw(st.integers(1, 4))):
        entry = data.draw(st.sampled_from(entries))
        entry[data.draw(st.sampled_from([*entry, "group", "ignore", "attributes"]))] = data.draw(_VALUES)
    try:
        made = run(content, pictures, tmp_path_factory.mktemp("fuzz"))
    except DefectDetectError:
        return
    for split in coco.splits(made.root):
        loaded = coco.load(made.root, split)
        assert np.isfinite(loaded.defects.box).all()


def test_file_names_are_no_markup(pictures: Path, tmp_path: Path) -> None:
    source = tmp_path / "[red]a[" / "x].json"
    source.parent.mkdir()
    content = clean()
    content["annotations"][0]["id"] = 0
    source.write_text(json.dumps(content))
    made = normalize(source, images=pictures, out=tmp_path / "[bold]out[")
    console = Console(file=io.StringIO(), width=200)
    print_normalized(made, console)
    print_refused(Refused([], [Repair(where="[/a]", what="[/b]", before=1, after=2)]), console)
    said = console.file.getvalue()
    assert "x].json: annotations[0].id" in said
    assert "[/a]" in said
    assert "[bold]out[" in said


def test_the_tool_says_what_it_did_and_what_is_wrong(pictures: Path, tmp_path: Path) -> None:
    tool = [sys.executable, str(Path(__file__).parents[1] / "tools" / "normalize.py")]
    (tmp_path / "export.json").write_text(json.dumps(clean()))
    arguments = [str(tmp_path / "export.json"), "--images", str(pictures), "--out", str(tmp_path / "out")]
    done = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "defect-free" in done.stdout

    content = clean()
    content["images"][0]["file_name"] = "../p1.png"
    content["annotations"][0]["bbox"] = [-3, 6, 29, 10]
    (tmp_path / "export.json").write_text(json.dumps(content))
    refused = subprocess.run([*tool, *arguments[:-1], str(tmp_path / "b")], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "box past the edge" in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("error: export.json: images[0].file_name: expected a name below")

    refused = subprocess.run([*tool, *arguments, "--scale", "many/mm"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "error: --scale: expected PX/UNIT, such as 48/mm, found 'many/mm'\n"
