"""The demo data: equal bytes for equal arguments, exact masks, a third defect-free."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from defect_detect.data import demo
from defect_detect.data.flaws import FLAWS
from defect_detect.data.surfaces import SURFACES
from defect_detect.errors import DatasetError

TOOL = Path(__file__).parents[1] / "tools" / "make_demo.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    demo.generate(out, images=48, size=96, seed=5)
    return out


@pytest.fixture(scope="module")
def export(made):
    return json.loads((made / "annotations.json").read_text())


def _hashes(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_equal_arguments_give_equal_bytes(made, tmp_path):
    demo.generate(tmp_path / "again", images=48, size=96, seed=5)

    assert _hashes(made) == _hashes(tmp_path / "again")


def test_another_seed_gives_other_pictures(tmp_path):
    demo.generate(tmp_path / "one", images=6, size=64, seed=5)
    demo.generate(tmp_path / "other", images=6, size=64, seed=6)
    one, other = _hashes(tmp_path / "one"), _hashes(tmp_path / "other")

    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_a_third_of_the_pictures_is_defect_free(export):
    defective = {annotation["image_id"] for annotation in export["annotations"]}

    assert len(export["images"]) - len(defective) == 16


@pytest.mark.parametrize("images", [1, 2, 3, 7, 8, 23, 24, 300, 301])
def test_a_third_is_defect_free_at_any_number(images):
    plan = demo._plan(images, seed=0)

    assert len(plan) == images
    assert abs(plan.count(False) - images / 3) <= 1


def test_categories_and_lines_all_occur(export):
    names = {category["id"]: category["name"] for category in export["categories"]}
    drawn = Counter(names[annotation["category_id"]] for annotation in export["annotations"])

    assert set(drawn) == set(FLAWS) == {"scratch", "pit", "stain", "crack"}
    assert {image["line"] for image in export["images"]} == set(SURFACES)
    assert {image["camera"] for image in export["images"]} == set(demo.CAMERAS)


def test_a_group_is_a_part_seen_by_both_cameras(export):
    groups = Counter(image["group"] for image in export["images"])
    lines = {(image["group"], image["line"]) for image in export["images"]}

    assert set(groups.values()) == {2}
    assert len(lines) == len(groups)


def test_pictures_are_what_the_export_says(made, export):
    assert {image["file_name"] for image in export["images"]} == {path.name for path in (made / "images").iterdir()}
    for image in export["images"]:
        with Image.open(made / "images" / image["file_name"]) as picture:
            assert (picture.size, picture.mode) == ((image["width"], image["height"]), "RGB")


def test_boxes_and_areas_are_those_of_the_masks(export):
    for annotation in export["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"])
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = annotation["bbox"]

        assert mask.shape == (96, 96)
        assert (x, y) == (columns[0], rows[0])
        assert (x + width, y + height) == (columns[-1] + 1, rows[-1] + 1)
        assert annotation["area"] == mask.sum() >= 12


def test_defects_of_a_picture_do_not_overlap(export):
    covered = {image["id"]: np.zeros((96, 96), int) for image in export["images"]}
    for annotation in export["annotations"]:
        covered[annotation["image_id"]] += coco_mask.decode(annotation["segmentation"])

    assert max(mask.max() for mask in covered.values()) == 1


@pytest.mark.parametrize("part", range(12))
def test_masks_hold_every_pixel_that_a_defect_changed(part):
    flawed = demo.photograph(3, part, 0, 128, defective=True)
    sound = demo.photograph(3, part, 0, 128, defective=False)
    changed = (flawed.pixels != sound.pixels).any(axis=2)
    masks = [mask for _, mask, _ in flawed.defects]

    assert not sound.defects
    assert not (changed & ~np.any(masks, axis=0)).any()
    for mask in masks:
        assert changed[mask].mean() > 0.7


def test_some_masks_have_holes():
    from scipy import ndimage

    rng = np.random.default_rng(0)
    plain = np.full((160, 160, 3), 120.0)
    masks = [FLAWS["stain"](rng, plain, 0.8)[1] for _ in range(40)]

    assert any((ndimage.binary_fill_holes(mask) & ~mask).sum() > 20 for mask in masks)


@pytest.mark.parametrize("name", FLAWS)
def test_flaws_change_only_their_mask_and_come_in_many_sizes(name):
    rng = np.random.default_rng(1)
    plain = np.full((160, 160, 3), 120.0)
    areas = []
    for _ in range(30):
        painted, mask = FLAWS[name](rng, plain, 0.7)
        assert (painted[~mask] == plain[~mask]).all()
        areas.append(mask.sum())

    assert np.percentile(areas, 90) > 2 * np.percentile(areas, 10)


def test_faint_defects_are_among_them(export):
    contrast = [annotation["contrast"] for annotation in export["annotations"]]

    assert min(contrast) < 1.5
    assert max(contrast) > 5


def test_progress_counts_every_picture(tmp_path):
    seen = []
    demo.generate(tmp_path, images=4, size=64, progress=lambda done, of: seen.append((done, of)))

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_all_bad_arguments_are_reported_at_once(tmp_path):
    with pytest.raises(DatasetError) as caught:
        demo.generate(tmp_path, images=0, size=10)

    assert {fault.where for fault in caught.value.faults} == {"images", "size"}
    assert not list(tmp_path.iterdir())


def test_another_dataset_is_not_overwritten(tmp_path):
    (tmp_path / "annotations.json").write_text('{"images": []}')

    with pytest.raises(DatasetError, match="another dataset"):
        demo.generate(tmp_path, images=2, size=64)
    assert (tmp_path / "annotations.json").read_text() == '{"images": []}'


def test_the_tool_writes_a_demo_and_names_it(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "out"), "--images", "3", "--size", "64"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert Path(ran.stdout.strip()) == tmp_path / "out" / "annotations.json"
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


def test_the_tool_refuses_with_2_and_no_traceback(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path), "--size", "8"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "at least 64 px" in ran.stderr
    assert "Traceback" not in ran.stderr
