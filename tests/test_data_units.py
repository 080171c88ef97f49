"""Sampling units by pattern and by look, folds, leaks of equal pixels, and other formats through `normalize`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detect.data import coco
from defect_detect.data.normalize import normalize
from defect_detect.errors import DatasetError
from tests.exports import clean, pictures, run

TOOL = Path(__file__).parents[1] / "tools" / "normalize.py"


def splits(root: Path) -> dict[str, str]:
    """Split of each picture, by its name."""
    return {Path(name).name: split for split in coco.splits(root) for name in coco.load(root, split).images.file}


def units(root: Path) -> dict[str, str]:
    listed = [coco.load(root, split).images for split in coco.splits(root)]
    return {
        Path(name).name: str(group) for images in listed for name, group in zip(images.file, images.group, strict=True)
    }


def boards(folder: Path, count: int = 12) -> Path:
    """A COCO file of `count` boards, two pictures each: the second one the first, a little brighter."""
    images = folder / "images"
    images.mkdir(parents=True)
    listed, marked = [], []
    for board in range(count):
        coarse = np.random.default_rng(board).integers(30, 200, (10, 10)).astype(np.uint8)
        shown = np.asarray(Image.fromarray(coarse).resize((120, 120), Image.Resampling.BICUBIC))
        for take in range(2):
            name = f"b{board:02d}_{take}.png"
            Image.fromarray(shown + 9 * take).save(images / name)
            listed.append({"id": len(listed) + 1, "file_name": name, "width": 120, "height": 120})
            marked.append({"id": len(listed), "image_id": len(listed), "category_id": 1, "bbox": [9, 9, 20, 20]})
    path = folder / "export.json"
    path.write_text(json.dumps({"images": listed, "annotations": marked, "categories": [{"id": 1, "name": "pit"}]}))
    return path


def test_a_pattern_on_the_file_name_names_the_part(tmp_path: Path) -> None:
    made = normalize(boards(tmp_path), images=None, out=tmp_path / "out", pattern=r"b(\d+)_")
    assert units(made.root)["b03_1.png"] == "03"
    of = splits(made.root)
    assert all(of[f"b{board:02d}_0.png"] == of[f"b{board:02d}_1.png"] for board in range(12))


def test_a_pattern_without_a_group_takes_all_that_it_matches(tmp_path: Path) -> None:
    made = normalize(boards(tmp_path), images=None, out=tmp_path / "out", pattern=r"b\d+")
    assert units(made.root)["b03_1.png"] == "b03"


def test_a_pattern_that_misses_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none in 2: b03_0\.png, b03_1\.png"):
        normalize(boards(tmp_path), images=None, out=tmp_path / "out", pattern=r"b(?!03)\d+")
    with pytest.raises(DatasetError, match="regular expression"):
        normalize(tmp_path / "export.json", images=None, out=tmp_path / "out", pattern="(")
    with pytest.raises(DatasetError, match="both"):
        normalize(tmp_path / "export.json", images=None, out=tmp_path / "out", pattern="b", group="lot")


def test_pictures_that_look_alike_are_one_unit(tmp_path: Path) -> None:
    source = boards(tmp_path)
    apart = splits(normalize(source, images=None, out=tmp_path / "apart").root)
    assert any(apart[f"b{board:02d}_0.png"] != apart[f"b{board:02d}_1.png"] for board in range(12))
    made = normalize(source, images=None, out=tmp_path / "out", alike=16)
    of, unit = splits(made.root), units(made.root)
    for board in range(12):
        assert of[f"b{board:02d}_0.png"] == of[f"b{board:02d}_1.png"]
        assert unit[f"b{board:02d}_1.png"] == f"b{board:02d}_0.png"
    assert len(set(unit.values())) == 12


def test_groups_of_their_own_stay_but_what_looks_alike_is_not_torn_apart(tmp_path: Path) -> None:
    source = boards(tmp_path)
    content = json.loads(source.read_text())
    for each in content["images"]:
        each["lot"] = each["file_name"][:2] + each["file_name"][4]  # boards 0x and 1x, first and second takes
    source.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="at least 3"):
        normalize(source, images=None, out=tmp_path / "out", group="lot", alike=16)


def test_every_picture_is_test_in_one_fold(tmp_path: Path) -> None:
    source = boards(tmp_path)
    counts = Counter[str]()
    for number in (1, 2, 3, 4):
        root = normalize(source, images=None, out=tmp_path / str(number), pattern=r"b\d+", fold=(number, 4)).root
        counts.update(name for name, split in splits(root).items() if split == "test")
    assert set(counts.values()) == {1}
    assert len(counts) == 24


def test_the_same_pixels_in_two_ready_splits_are_a_leak(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images")
    Image.open(images / "p1.png").save(images / "p4.bmp")
    content = clean()
    content["images"][3]["file_name"] = "p4.bmp"
    for split, first in (("train", 0), ("val", 2), ("test", 3)):
        some = content["images"][first : first + (2 if split != "test" else 3)][: 2 if split == "train" else 1]
        ids = {each["id"] for each in some}
        (tmp_path / f"{split}.json").write_text(json.dumps({
            **content, "images": some, "annotations": [a for a in content["annotations"] if a["image_id"] in ids],
        }))  # fmt: skip
    with pytest.raises(DatasetError, match=r"no content in two splits.*p1\.png and p4\.bmp"):
        normalize(tmp_path, images=images, out=tmp_path / "out")


def test_the_same_pixels_under_two_names_stay_in_one_split(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images")
    for number in (2, 3):
        Image.open(images / "p1.png").save(images / f"p{number}.bmp")
    content = clean()
    for number in (2, 3):
        content["images"][number - 1]["file_name"] = f"p{number}.bmp"
    made = run(content, images, tmp_path / "in")
    of = splits(made.root)
    assert of["p1.png"] == of["p2.bmp"] == of["p3.bmp"]


def test_a_yolo_folder_becomes_a_dataset(tmp_path: Path) -> None:
    images = pictures(tmp_path / "yolo" / "images")
    labels = tmp_path / "yolo" / "labels"
    labels.mkdir()
    for picture in images.glob("p[1-5].png"):
        (labels / f"{picture.stem}.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (tmp_path / "yolo" / "data.yaml").write_text("names: [pit, scratch]\ntrain: images\n")
    made = subprocess.run(
        [sys.executable, TOOL, tmp_path / "yolo", "--out", tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert "scratch" in made.stdout + (tmp_path / "out" / "dataset.json").read_text()
    data = [coco.load(tmp_path / "out", split) for split in coco.splits(tmp_path / "out")]
    assert sum(len(each.images) for each in data) == 6
    assert sum(int(each.defect_free.sum()) for each in data) == 1
    boxes = np.concatenate([each.defects.box for each in data])
    assert np.allclose(boxes, [22.5, 10, 37.5, 30])
    assert {each.categories[label].name for each in data for label in each.defects.label} == {"scratch"}


def test_a_format_that_it_is_not_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "in" / "images")
    asked = [sys.executable, TOOL, tmp_path / "in", "--out", tmp_path / "out", "--format", "voc"]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "Pascal VOC" in refused.stderr
    assert not (tmp_path / "out").exists()
