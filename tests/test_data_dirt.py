"""Dirt in ids, classes, names, pictures and masks, one rule a case: what becomes of it, and that it is said."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detect import geometry
from defect_detect.data import accounts, coco, pixels
from defect_detect.data.normalize import normalize
from defect_detect.data.regions import encode_counts
from defect_detect.data.repairs import Refused
from defect_detect.data.runlengths import runs_of
from defect_detect.errors import DatasetError
from defect_detect.tables import Polygons
from tests import exports
from tests.exports import HEIGHT, WIDTH, Content, changed, clean, noted, run


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("dirt") / "images")


def counts(made: object) -> Counter[str]:
    return Counter(repair.what for repair in changed(made))


# Classes ------------------------------------------------------------------------------------------


def test_a_placeholder_parent_is_left_out(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["categories"] = [{"id": 0, "name": "defects", "supercategory": "none"}] + [
        {**each, "supercategory": "defects"} for each in content["categories"]
    ]
    made = run(content, pictures, tmp_path)
    assert made.content.categories == ["pit", "scratch"]
    assert counts(made)["placeholder parent category, never used"] == 1
    assert coco.load(made.root, "train").categories[0].source_id == 1


def test_a_parent_that_annotations_use_stays(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["categories"][1]["supercategory"] = "pit"
    assert run(content, pictures, tmp_path).content.categories == ["pit", "scratch"]


def test_an_unused_class_stays_and_is_named(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["categories"].append({"id": 7, "name": "délamination"})
    made = run(content, pictures, tmp_path)
    assert made.content.categories[-1] == "délamination"
    assert {"category never used", "class name beyond ASCII", "category ids that are not 1, 2, 3, ..."} <= noted(made)


def test_the_order_of_classes_does_not_matter(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["categories"] += [{"id": 9, "name": "pit"}, {"id": 1, "name": "pit"}]
    content["annotations"][0]["category_id"] = 9
    made = [run({**content, "categories": order}, pictures, tmp_path / str(at))
            for at, order in enumerate((content["categories"], content["categories"][::-1]))]  # fmt: skip
    for split in ("train", "val", "test"):
        assert len({(each.root / f"{split}.json").read_bytes() for each in made}) == 1


@pytest.mark.parametrize(("given", "kept"), [("major", "major"), ("\ud800", None), ("5 of 10", None), (3, None)])
def test_a_severity_of_the_file_counts_if_it_is_one(
    given: object, kept: str | None, pictures: Path, tmp_path: Path
) -> None:
    """The lone surrogate was found by fuzzing: it can't be written."""
    content = clean()
    content["categories"][0]["severity"] = given
    made = run(content, pictures, tmp_path)
    assert coco.load(made.root, "train").categories[0].severity == kept


# Names of pictures --------------------------------------------------------------------------------


def renamed(folder: Path, **names: str) -> Path:
    exports.pictures(folder)
    for number, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").rename(target)
    return folder


@pytest.mark.parametrize(
    ("on_disk", "listed", "rule"),
    [
        ("a b.png", "a%20b.png", "URL-encoded file name"),
        ("a.png", "https://host/x/images/a.png?token=5", "URL for a file name"),
        ("up/a.png", "/data/local-files/?d=up/a.png", "URL for a file name"),
        ("sub/a.png", "/home/ann/data/sub/a.png", "absolute path of another machine"),
        ("a.png", "\\\\server\\share\\a.png", "absolute path of another machine"),
        ("sub/a.png", "sub\\a.png", "backslashes in the file name"),
        (unicodedata.normalize("NFD", "schräg.png"), unicodedata.normalize("NFC", "schräg.png"),
         "file name in another Unicode normal form"),
        ("A.PNG", "a.png", "file name in another case"),
        ("deep/er/a.png", "a.png", "picture in another folder"),
        ("a.png", "wrong/folder/a.png", "picture in another folder"),
        ("a.png", "a", "file name with another extension or none"),
        ("a.png", "a.jpg", "file name with another extension or none"),
        ("a.v2.png", "a.v2", "file name with another extension or none"),
    ],
)  # fmt: skip
def test_names_that_mean_one_file_find_it(on_disk: str, listed: str, rule: str, tmp_path: Path) -> None:
    folder = renamed(tmp_path / "images", p1=on_disk)
    content = clean()
    content["images"][0]["file_name"] = listed
    made = run(content, folder, tmp_path)
    assert counts(made) == {rule: 1}
    assert made.content.images.kept == 6
    found = [file for split in coco.splits(made.root) for file in coco.load(made.root, split).images.file]
    assert f"images/{on_disk}" in found


def test_a_name_that_could_mean_two_files_is_missing(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "images", p1="x/a.png")
    (folder / "y").mkdir()
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "y" / "a.png")
    content = clean()
    content["images"][0]["file_name"] = "a.png"
    made = run(content, folder, tmp_path)
    assert made.content.images.dropped == {"picture missing: several files may be meant": 1}


def test_a_loose_match_never_takes_a_file_that_is_listed_itself(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"][0]["file_name"] = "P2.png"
    made = run(content, pictures, tmp_path)
    assert made.content.images.dropped == {"picture missing": 1}


def test_a_mask_of_the_same_stem_is_not_the_picture(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "images", p1="masks/a.png")
    content = clean()
    content["images"][0]["file_name"] = "a.jpg"
    assert run(content, folder, tmp_path).content.images.dropped == {"picture missing": 1}


def test_apple_double_files_are_no_pictures(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "images", p1="._p1.png")
    content = clean()
    made = run(content, folder, tmp_path)
    assert made.content.images.dropped == {"picture missing": 1}
    content["images"][0]["file_name"] = "._p1.png"
    made = run(content, folder, tmp_path / "again")
    assert made.content.images.dropped == {"picture is an AppleDouble file, which holds no pixels": 1}


def test_names_that_differ_by_case_only_are_refused(tmp_path: Path) -> None:
    folder = renamed(tmp_path / "images", p1="P2.png")
    content = clean()
    content["images"][0]["file_name"] = "P2.png"
    with pytest.raises(DatasetError, match="differ by more than case"):
        run(content, folder, tmp_path)


def test_pictures_are_looked_for_around_the_file(tmp_path: Path) -> None:
    exports.pictures(tmp_path / "data" / "val2017")
    (tmp_path / "data" / "annotations").mkdir()
    made = run(clean(), None, tmp_path / "data" / "annotations")
    assert [each.before for each in made.repairs] == ["../val2017"]


def test_without_pictures_everything_else_is_still_named(tmp_path: Path) -> None:
    content = clean()
    content["images"][0]["id"] = "1"
    content["annotations"][0]["bbox"] = [-3, 6, 29, 10]
    content["annotations"][1]["segmentation"] = [[1, 2, 3]]
    content["annotations"][2]["image_id"] = 99
    with pytest.raises(Refused, match="6 of the listed files are missing") as caught:
        run(content, None, tmp_path)
    assert {
        "id as a string", "box past the edge", "malformed region: a polygon with an odd number of values",
        "annotation of an unknown image", "picture missing",
    } <= {repair.what for repair in caught.value.repairs}  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_all_refusals_come_at_once(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"][0]["file_name"] = "../p1.png"
    content["images"][2]["id"] = 2
    content["categories"].append({"id": 1, "name": "dent"})
    with pytest.raises(DatasetError) as caught:
        run(content, pictures, tmp_path, accept_below={"bump": 3})
    assert len(caught.value.faults) == 4


# The same thing twice -----------------------------------------------------------------------------


def test_exact_duplicates_are_merged_and_others_are_not(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"].append({**content["annotations"][0], "id": 50})
    other = [[6, 6, 26, 6, 26, 16]]
    content["annotations"].append({**content["annotations"][0], "id": 51, "segmentation": other})
    made = run(content, pictures, tmp_path)
    assert [(each.where, each.action, each.after) for each in changed(made)] == [
        ("export.json: annotations[10]", "merged", "export.json: annotations[0]")
    ]
    assert made.content.annotations.dropped == {"exact duplicate annotation": 1}
    assert (made.content.annotations.kept, made.content.annotations.merged) == (11, 1)
    assert "box of another annotation of its class, with another region" in noted(made)


def test_an_image_listed_twice_in_two_ways_is_refused(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"].append({**content["images"][0], "group": "lot 7"})
    with pytest.raises(DatasetError, match="listed twice"):
        run(content, pictures, tmp_path)


def test_copies_of_a_picture_are_named(tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "images")
    (folder / "p5.png").write_bytes((folder / "p4.png").read_bytes())
    made = run(clean(), folder, tmp_path)
    assert "picture under two names, byte for byte" in noted(made)


def test_two_regions_of_one_box_stay_two_defects_without_their_regions(pictures: Path, tmp_path: Path) -> None:
    """Found by fuzzing: as boxes only they are alike, and were merged when they were normalized again."""
    content = clean()
    first = content["annotations"][0]
    # One whose region sorts before the first's, and a dozen that had no id and are called #1, #2, ...
    content["annotations"] += [
        {**first, "id": 50, "segmentation": [[10, 6, 26, 6, 26, 16, 6, 16]]},
        *({**first, "id": None, "segmentation": [[6, 6, 26, 6, 26, 16, 6, 15.9 - n / 9]]} for n in range(12)),
        {**content["annotations"][1], "id": 51, "bbox": [1, 1, 5, 5], "segmentation": []},
    ]
    made = run(content, pictures, tmp_path)
    assert not made.content.regions
    assert made.content.annotations.kept == len(content["annotations"])
    again = normalize(made.root, images=None, out=tmp_path / "again")
    assert changed(again) == []
    for split in coco.splits(made.root):
        first, second = (
            json.loads((root / f"{split}.json").read_bytes())["annotations"] for root in (made.root, again.root)
        )
        assert first == second


# Pictures -----------------------------------------------------------------------------------------


def save_16_bit(path: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 257 * 9, np.uint16)).save(path)


def save_pages(path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))])


def save_turned(path: Path) -> None:
    turned = Image.new("RGB", (HEIGHT, WIDTH), (9, 9, 9))
    exif = turned.getexif()
    exif[0x0112] = 8
    turned.save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "save", "why"),
    [
        ("a.png", save_16_bit, "16-bit"),
        ("a.png", lambda path: Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, 0)).save(path), "alpha"),
        ("a.png", lambda path: Image.new("LA", (WIDTH, HEIGHT), (9, 5)).save(path), "alpha"),
        ("a.png", lambda path: Image.new("P", (WIDTH, HEIGHT)).save(path), "palette"),
        ("a.png", lambda path: Image.new("1", (WIDTH, HEIGHT)).save(path), "1-bit"),
        ("a.jpg", lambda path: Image.new("CMYK", (WIDTH, HEIGHT)).save(path), "CMYK"),
        ("a.jpg", save_turned, "EXIF orientation 8"),
        ("a.tif", lambda path: Image.new("L", (WIDTH, HEIGHT)).save(path), "TIFF"),
        ("a.tiff", save_pages, "several pages; TIFF"),
        ("a.webp", lambda path: Image.new("RGB", (WIDTH, HEIGHT)).save(path), "WEBP"),
        ("a.gif", lambda path: Image.new("L", (WIDTH, HEIGHT)).save(path), "palette; GIF"),
    ],
)  # fmt: skip
def test_pictures_that_decoders_see_differently_are_re_encoded(
    name: str, save: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    folder = exports.pictures(tmp_path / "images")
    save(folder / name)
    content = clean()
    content["images"][5]["file_name"] = name
    made = run(content, folder, tmp_path)
    assert f"picture re-encoded as 8-bit PNG: {why}" in noted(made)
    target = next(
        made.root / file for split in coco.splits(made.root) for file in coco.load(made.root, split).images.file
        if file.startswith("images/a.")
    )  # fmt: skip
    assert pixels.header(target).plain
    assert (pixels.read(target) == pixels.read(folder / name)).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_and_colour_pictures_stay_as_they_are(mode: str, tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "images")
    Image.new(mode, (WIDTH, HEIGHT)).save(folder / "p6.png")
    made = run(clean(), folder, tmp_path)
    assert not any("re-encoded" in each for each in noted(made))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty file"), (b"<!DOCTYPE html><html>", "an HTML page"), (b"\x00" * 50, "not one"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: the picture was not downloaded"),
        (b"\x00\x05\x16\x07\x00", "an AppleDouble file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n", "not one"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_left_out_and_named(content: bytes, why: str, tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "images")
    (folder / "p6.png").write_bytes(content)
    made = run(clean(), folder, tmp_path)
    assert made.content.images.dropped == {f"picture unreadable: {why}": 1}


def test_truncated_pictures_are_left_out(tmp_path: Path) -> None:
    folder = exports.pictures(tmp_path / "images")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / "a.jpg")
    for name in ("a.jpg", "p6.png"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    content = clean()
    content["images"][4]["file_name"] = "a.jpg"
    made = run(content, folder, tmp_path)
    assert made.content.images.quarantined == 2
    assert all(what.startswith("picture unreadable") for what in made.content.images.dropped)


# Masks --------------------------------------------------------------------------------------------


def mask_of(content: Content, at: int = 0) -> np.ndarray:
    ring = np.array(content["annotations"][at]["segmentation"][0], float).reshape(-1, 2)
    return geometry.to_mask(Polygons(rings=(ring,)), WIDTH, HEIGHT)


MASKS = {
    "plain": (lambda mask: {"size": [HEIGHT, WIDTH], "counts": runs_of(mask)}, {}),
    "compressed": (lambda mask: {"size": [HEIGHT, WIDTH], "counts": encode_counts(runs_of(mask)).decode()}, {}),
    "along rows": (
        lambda mask: {"size": [HEIGHT, WIDTH], "counts": runs_of(mask.T)}, {"run lengths along rows": 1}
    ),
    "size turned": (
        lambda mask: {"size": [WIDTH, HEIGHT], "counts": runs_of(mask)}, {"size of run lengths turned": 1}
    ),
    "transposed": (lambda mask: {"size": [WIDTH, HEIGHT], "counts": runs_of(mask.T)}, {"run lengths along rows": 1}),
    "Python's bytes": (
        lambda mask: {"size": [HEIGHT, WIDTH], "counts": str(encode_counts(runs_of(mask)))},
        {"run lengths as Python writes bytes": 1},
    ),
    "no size": (lambda mask: {"counts": runs_of(mask)}, {"run lengths without their size": 1}),
    "size as text": (
        lambda mask: {"size": [str(HEIGHT), float(WIDTH)], "counts": runs_of(mask)},
        {"size of run lengths as text or float": 1},
    ),
    "in a list": (lambda mask: [{"size": [HEIGHT, WIDTH], "counts": runs_of(mask)}], {"run lengths in a list": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", MASKS)
def test_masks_in_every_form_are_the_same_mask(case: str, pictures: Path, tmp_path: Path) -> None:
    write, expected = MASKS[case]
    content = clean()
    mask = mask_of(content)
    content["annotations"][0]["segmentation"] = write(mask)
    made = run(content, pictures, tmp_path)
    assert counts(made) == expected
    found = [
        geometry.to_mask(region, WIDTH, HEIGHT)
        for split in coco.splits(made.root)
        for data in [coco.load(made.root, split)]
        for region, source in zip(data.defects.region or (), data.defects.source_id, strict=True)
        if source == 1
    ]
    assert len(found) == 1
    assert (found[0] == mask).all()


def test_a_mask_of_another_size_is_left_out(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["segmentation"] = {"size": [20, 30], "counts": [100, 500]}
    made = run(content, pictures, tmp_path)
    assert made.content.annotations.dropped == {"malformed region: run lengths over another size": 1}
    assert "[20, 30], but the picture is [40, 60]" in changed(made)[0].detail


def test_polygons_that_cross_themselves_are_named(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["segmentation"] = [[6, 6, 26, 16, 26, 6, 6, 16]]
    made = run(content, pictures, tmp_path)
    assert [each.where for each in made.repairs if "crosses itself" in each.what] == [
        "export.json: annotations[0].segmentation"
    ]
    assert made.content.annotations.kept == 10


@pytest.mark.parametrize(
    ("area", "rule"),
    [("200", "area as text"), (900, "area larger than its box"), (-1, "area that can't be one"), ([], None)],
)
def test_areas(area: object, rule: str | None, pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["area"] = area
    made = run(content, pictures, tmp_path)
    assert counts(made) == {rule or "area that can't be one": 1}


def test_numbers_as_text(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["bbox"] = ["6", "6.0", "20", "1e1"]
    made = run(content, pictures, tmp_path)
    assert counts(made) == {"box as text": 1}
    content["annotations"][0]["bbox"] = ["6", "6", "twenty", "10"]
    made = run(content, pictures, tmp_path / "b")
    assert counts(made) == {"box that is not four finite numbers, derived from the region": 1}


# Files as a whole ---------------------------------------------------------------------------------


def test_keypoints_are_named_and_their_boxes_used(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    for annotation in content["annotations"]:
        annotation["keypoints"] = [1, 2, 2]
    content["annotations"][0] |= {"bbox": [], "segmentation": []}
    made = run(content, pictures, tmp_path)
    assert made.content.annotations.dropped == {"box missing: keypoints only": 1}
    assert any(each.startswith("COCO keypoints") for each in noted(made))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_literals_that_json_does_not_have_are_named(literal: str, pictures: Path, tmp_path: Path) -> None:
    text = json.dumps(clean()).replace('"bbox": [6, 6, 20, 10]', f'"bbox": [6, {literal}, 20, 10]', 1)
    made = run(text.encode(), pictures, tmp_path)
    assert f"{literal} literal, which JSON does not have" in noted(made)
    assert counts(made) == {"box that is not four finite numbers, derived from the region": 1}


def test_crowds_are_named(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["iscrowd"] = 1
    assert "crowds (iscrowd 1): no miss of one is ever counted" in noted(run(content, pictures, tmp_path))


def test_strict_names_everything_and_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["annotations"][0]["bbox"] = [-3, 6, 29, 10]
    content["annotations"][1]["image_id"] = 99
    content["annotations"].append({**content["annotations"][2], "id": 77})
    content["images"][3]["id"] = "4"
    with pytest.raises(DatasetError) as caught:
        run(content, pictures, tmp_path, strict=True)
    wheres = [fault.where for fault in caught.value.faults]
    assert wheres == [
        "export.json: images[3].id", "export.json: annotations[1].image_id", "export.json: annotations[0].bbox",
        "export.json: annotations[10]",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["export.json"]


# The books ----------------------------------------------------------------------------------------


def test_the_books_balance_and_say_why(pictures: Path, tmp_path: Path) -> None:
    content = clean()
    content["images"][5]["file_name"] = "gone.png"
    content["annotations"][0]["image_id"] = 99
    content["annotations"][1]["bbox"] = [-3, 6, 29, 10]
    content["annotations"].append({**content["annotations"][2], "id": 77})
    made = run(content, pictures, tmp_path)
    images, defects = made.content.images, made.content.annotations
    assert (images.given, images.kept, images.dropped) == (6, 5, {"picture missing": 1})
    assert (defects.given, defects.kept, defects.repaired) == (11, 9, 1)
    assert defects.dropped == {"annotation of an unknown image": 1, "exact duplicate annotation": 1}
    written = [json.loads((made.root / f"{split}.json").read_bytes()) for split in coco.splits(made.root)]
    assert sum(len(each["annotations"]) for each in written) == 9


@pytest.mark.parametrize("fault", ["lost", "twice", "both"])
def test_books_that_do_not_balance_stop_everything(
    fault: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from defect_detect.data import normalize as module

    real = module.take

    def careless(*arguments: object) -> object:
        taken = real(*arguments)
        log = arguments[-1]
        if fault == "lost":
            taken.sound = taken.sound.take(np.arange(1, len(taken.sound)))
        elif fault == "twice":
            log.quarantined("export.json: annotations[3]", "made up", None)
            log.quarantined("export.json: annotations[3].bbox", "made up", None)
        else:
            taken.given_annotations += 1
            log.quarantined(taken.sound.where(0), "made up", None)
        return taken

    monkeypatch.setattr(module, "take", careless)
    with pytest.raises(accounts.BooksError, match="annotations don't add up"):
        run(clean(), pictures, tmp_path)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["export.json"]


def test_a_dataset_of_boxes_only_is_named(pictures: Path, tmp_path: Path) -> None:
    made = run(exports.boxes_only(), pictures, tmp_path)
    assert "no regions: boxes only" in noted(made)
    assert changed(made) == []
    assert normalize(made.root, images=None, out=tmp_path / "again").repairs == ()
