"""What a normalized dataset promises (defect_detect/data/README.md), line by line, on a dirty input."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detect.data import coco, pixels
from defect_detect.data.normalize import Normalized, normalize
from defect_detect.errors import DatasetError

SPLITS = ("train", "val", "test")


def export(folder: Path, *, images: int = 12) -> dict[str, list[dict[str, object]]]:
    """Pictures on disk and a clean COCO export of them: two classes, every third image defect-free."""
    (folder / "images" / "sub").mkdir(parents=True, exist_ok=True)
    listed, annotations = [], []
    for number in range(images):
        name = f"sub/p{number:02}.png" if number % 2 else f"p{number:02}.jpg"
        pixels_of = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels_of).save(folder / "images" / name)
        listed.append({"id": 10 + number, "file_name": name, "width": 60, "height": 40, "line": f"L{number % 4}"})
        for part in range(number % 3):
            x, y = 5 + number, 4 + 9 * part
            annotations.append({
                "id": 100 + len(annotations), "image_id": 10 + number, "category_id": 7 if part else 3,
                "bbox": [x, y, 12.5, 8], "area": 100, "iscrowd": 0,
                "segmentation": [[x, y, x + 12.5, y, x + 12.5, y + 8, x, y + 8]],
            })  # fmt: skip
    categories = [{"id": 7, "name": "pit"}, {"id": 3, "name": "scratch"}]
    return {"images": listed, "annotations": annotations, "categories": categories}


def run(folder: Path, content: object, out: str = "out", **options: object) -> Normalized:
    (folder / "export.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return normalize(folder / "export.json", images=folder / "images", out=folder / out, **options)


def dirty(folder: Path) -> dict[str, list[dict[str, object]]]:
    content = export(folder)
    Image.fromarray(np.zeros((40, 60), np.uint16) + 40_000).save(folder / "images" / "deep.png")
    (folder / "images" / "broken.jpg").write_bytes((folder / "images" / "p00.jpg").read_bytes()[:300])
    turned = Image.new("RGB", (60, 40), (200, 10, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "images" / "turned.jpg", exif=exif)
    content["images"] += [
        {"id": 50, "file_name": ".\\deep.png", "width": 60, "height": 40},
        {"id": 51, "file_name": "broken.jpg", "width": 60, "height": 40},
        {"id": 52, "file_name": "turned.jpg", "width": 60, "height": 40},
        {"id": 53, "file_name": "gone.jpg", "width": 60, "height": 40},
    ]  # fmt: skip
    add = content["annotations"].append
    add(
        {
            "id": 1,
            "image_id": 50,
            "category_id": 3,
            "bbox": [50, 30, 20, 20],
            "segmentation": [[50, 30, 70, 30, 70, 50]],
        }
    )
    add({"id": 1, "image_id": 50, "category_id": 3, "bbox": [1, 1, float("nan"), 4], "iscrowd": 0, "area": 4})
    add({"id": 0, "image_id": 51, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 0, "area": 4})
    add({"id": 3, "image_id": 999, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 0, "area": 4})
    add({"id": 4, "image_id": 50, "category_id": 8, "bbox": [1, 1, 4, 4], "iscrowd": 0, "area": 4})
    return content


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Normalized:
    return run(tmp_path, dirty(tmp_path))


def load(made: Normalized) -> list[coco.Dataset]:
    return [coco.load(made.root, split) for split in coco.splits(made.root)]


def test_the_dirty_export_is_really_dirty(made: Normalized) -> None:
    actions = {(repair.action, repair.what.partition(":")[0]) for repair in made.repairs}
    assert {
        ("repaired", "backslashes in the file name"), ("repaired", "box past the edge"),
        ("repaired", "polygon past the edge"), ("repaired", "size before EXIF orientation"),
        ("repaired", "iscrowd missing"), ("repaired", "area missing"), ("quarantined", "picture missing"),
        ("quarantined", "picture unreadable"), ("quarantined", "annotation of an unknown image"),
        ("quarantined", "annotation of an unknown category"), ("noted", "picture re-encoded as 8-bit PNG"),
        ("quarantined", "box that is not four finite numbers"),
    } <= actions  # fmt: skip


def test_labels_follow_the_category_ids(made: Normalized) -> None:
    for data in load(made):
        assert [(c.id, c.name, c.source_id) for c in data.categories] == [(1, "scratch", 3), (2, "pit", 7)]


def test_ids_count_from_one_across_the_splits(made: Normalized) -> None:
    for table in ("images", "defects"):
        ids = [id_ for data in load(made) for id_ in getattr(data, table).id.tolist()]
        assert ids == list(range(1, len(ids) + 1))


def test_boxes_are_finite_inside_and_have_an_area(made: Normalized) -> None:
    for data in load(made):
        box, size = data.defects.box, data.images.size[data.defects.image]
        assert np.isfinite(box).all()
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= size).all()
        assert (box[:, 2:] > box[:, :2]).all()


def test_regions_for_all_or_none(tmp_path: Path) -> None:
    content = export(tmp_path)
    assert all(data.has_masks for data in load(run(tmp_path, content, "with")))

    content["annotations"][0]["segmentation"] = []
    made = run(tmp_path, content, "without")

    assert not any(data.has_masks for data in load(made))
    changed = [r.what for r in made.repairs if r.action != "noted"]
    assert changed == ["regions for some defects only: the dataset becomes boxes only"]


def test_sizes_are_the_files_own_and_the_files_are_plain(made: Normalized) -> None:
    for data in load(made):
        for name, size in zip(data.images.file, data.images.size.tolist(), strict=True):
            head = pixels.header(data.root / name)
            assert [head.width, head.height] == size
            assert head.plain


def test_pictures_keep_their_pixels(made: Normalized, tmp_path: Path) -> None:
    names = {name: data for data in load(made) for name in data.images.file}
    assert (pixels.read(made.root / "images/deep.png") == round(40_000 / 257)).all()
    assert (pixels.read(made.root / "images/turned.jpg.png") == pixels.read(tmp_path / "images/turned.jpg")).all()
    assert "images/turned.jpg.png" in names
    assert names["images/turned.jpg.png"].images.attribute["source_file"].tolist().count("turned.jpg") == 1
    ours, theirs = made.root / "images/p00.jpg", tmp_path / "images/p00.jpg"
    assert ours.read_bytes() == theirs.read_bytes()
    assert not ours.samefile(theirs)
    assert theirs.stat().st_nlink == 1


def test_images_without_defects_are_kept(made: Normalized) -> None:
    free = [name for data in load(made) for name in np.array(data.images.file)[data.defect_free]]
    assert set(free) == {"images/p00.jpg", "images/sub/p03.png", "images/p06.jpg", "images/sub/p09.png",
                         "images/turned.jpg.png"}  # fmt: skip


def test_an_image_whose_every_annotation_is_out_is_out(tmp_path: Path) -> None:
    content = export(tmp_path)
    content["annotations"][0]["bbox"] = [5, 5, 0, 0]
    content["annotations"][0]["segmentation"] = []
    made = run(tmp_path, content)
    assert all("images/sub/p01.png" not in data.images.file for data in load(made))
    assert made.content.images.quarantined == 1
    assert not (made.root / "images/sub/p01.png").exists()


def test_paths_are_posix_below_the_root_unique_and_exist(made: Normalized) -> None:
    names = [name for data in load(made) for name in data.images.file]
    assert len(names) == len(set(names))
    for name in names:
        assert "\\" not in name
        assert ".." not in name
        assert (made.root / name).is_file()


def test_splits_are_disjoint_by_group(tmp_path: Path) -> None:
    content = export(tmp_path)
    for number, image in enumerate(content["images"]):
        image["group"] = f"part{number // 2}"
    groups = [set(data.images.group.tolist()) for data in load(run(tmp_path, content))]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6


def test_copies_of_a_picture_stay_in_one_split(tmp_path: Path) -> None:
    content = export(tmp_path)
    for number in range(6):
        (tmp_path / "images" / f"copy{number}.jpg").write_bytes((tmp_path / "images/p02.jpg").read_bytes())
        content["images"].append({"id": 90 + number, "file_name": f"copy{number}.jpg", "width": 60, "height": 40})
    holding = [data.split for data in load(run(tmp_path, content)) if "images/p02.jpg" in data.images.file]
    for data in load(run(tmp_path, content)):
        copies = sum(name.startswith("images/copy") for name in data.images.file)
        assert copies == (6 if data.split in holding else 0)


def test_the_order_of_the_input_does_not_matter(tmp_path: Path) -> None:
    content = export(tmp_path)
    first = run(tmp_path, content, "a")
    shuffled = copy.deepcopy(content)
    for entries in shuffled.values():
        random.Random(5).shuffle(entries)  # noqa: S311 - a test's shuffle, not a secret
    second = run(tmp_path, shuffled, "b")
    for name in (*(f"{split}.json" for split in SPLITS), "repairs.jsonl"):
        assert (first.root / name).read_bytes() == (second.root / name).read_bytes()


def test_everything_adds_up(made: Normalized) -> None:
    assert (made.content.images.given, made.content.annotations.given) == (16, 12 + 5)
    for tally, kept in ((made.content.images, "images"), (made.content.annotations, "defects")):
        assert tally.given == tally.kept + tally.quarantined
        assert tally.kept == sum(len(getattr(data, kept)) for data in load(made))
    lines = (made.root / "repairs.jsonl").read_text().splitlines()
    assert len(lines) == len(made.repairs)
    assert all(
        {"where", "what", "before", "after", "action", "split", "detail"} == json.loads(line).keys() for line in lines
    )


def test_quarantined_defects_are_counted_by_split(made: Normalized) -> None:
    where = next(data.split for data in load(made) if "images/deep.png" in data.images.file)
    assert {split: each.quarantined_defects for split, each in made.content.splits.items()} == {
        split: 2 * (split == where) for split in SPLITS
    }


def test_normalizing_the_result_changes_nothing(made: Normalized, tmp_path: Path) -> None:
    again = normalize(made.root, images=None, out=tmp_path / "again")
    assert again.repairs == ()
    for split in SPLITS:
        assert (made.root / f"{split}.json").read_bytes() == (again.root / f"{split}.json").read_bytes()
    assert {s: each.fingerprint for s, each in made.content.splits.items()} == {
        s: each.fingerprint for s, each in again.content.splits.items()
    }


def test_the_users_files_stay_as_they_were(tmp_path: Path) -> None:
    content = dirty(tmp_path)

    def hashes() -> dict[Path, str]:
        files = (tmp_path / "images").rglob("*.*")
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = hashes()
    run(tmp_path, content)
    assert hashes() == before


def test_the_same_input_is_not_done_twice_and_nothing_foreign_is_touched(tmp_path: Path) -> None:
    content = export(tmp_path)
    assert not run(tmp_path, content).reused
    assert run(tmp_path, content).reused
    with pytest.raises(DatasetError, match="another input"):
        run(tmp_path, content, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(DatasetError, match="not ours"):
        run(tmp_path, content, "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_changed_picture_is_another_input(tmp_path: Path) -> None:
    content = export(tmp_path)
    first = run(tmp_path, content, "a")
    (tmp_path / "images/p00.jpg").unlink()
    Image.new("RGB", (60, 40)).save(tmp_path / "images/p00.jpg")
    second = run(tmp_path, content, "b")
    prints = [{s: each.fingerprint for s, each in made.content.splits.items()} for made in (first, second)]
    assert sum(prints[0][split] != prints[1][split] for split in SPLITS) == 1


def test_nothing_is_left_behind_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        run(tmp_path, dirty(tmp_path), strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "images"]


def test_strict_reports_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        run(tmp_path, dirty(tmp_path), strict=True)
    loose = run(tmp_path, dirty(tmp_path))
    assert len(caught.value.faults) == sum(repair.action != "noted" for repair in loose.repairs)


def test_attributes_group_severity_and_limits_are_kept(tmp_path: Path) -> None:
    content = export(tmp_path)
    content["annotations"][0] |= {"occluded": True, "attributes": {"depth": 0.5}}
    made = run(
        tmp_path, content, group="line", scale=10.0, unit="mm", severity={"pit": "critical"},
        accept_below={"scratch": 1.3},
    )  # fmt: skip
    data = load(made)
    assert {str(group) for each in data for group in each.images.group} == {"L0", "L1", "L2", "L3"}
    assert (data[0].scale, data[0].unit) == (10, "mm")
    assert [category.severity for category in data[0].categories] == [None, "critical"]
    for each in data:
        assert (each.defects.ignore == (each.defects.label == 0)).all()
        assert each.images.attribute["line"].tolist() == each.images.group.tolist()
    marked = next(each for each in data if "depth" in each.defects.attribute)
    depth = marked.defects.attribute["depth"]
    assert depth[~np.isnan(depth)].tolist() == [0.5]
    assert marked.defects.attribute["occluded"].tolist().count("True") == 1
