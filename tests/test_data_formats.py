"""Other formats in: one scene, written the way each tool writes it, must come out as the same COCO."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from defect_detect.data import formats
from defect_detect.data.formats import bitmaps, cvat, labelme, masks, severstal, supervisely, voc, yolo
from defect_detect.data.formats.found import ellipse
from defect_detect.errors import ConfigError, DatasetError

WIDTH, HEIGHT = 60, 40
SCRATCH = [4, 6, 20, 10]  # x y width height
PIT = [[30.0, 10.0], [50.0, 10.0], [50.0, 30.0], [30.0, 30.0]]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)).save(path)
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(importer: object, path: Path) -> tuple[dict, Path]:
    sources, root = formats.read(importer, path)
    assert len(sources) == 1
    return sources[0].data, root


def boxes(data: dict) -> dict[str, list]:
    """File -> (class, box) of every annotation, the box around the region where there is one."""
    names = {each["id"]: each["name"] for each in data["categories"]}
    sizes = {each["id"]: each["file_name"] for each in data["images"]}
    found: dict[str, list] = {each["file_name"]: [] for each in data["images"]}
    for each in data["annotations"]:
        box = each.get("bbox") or around(each["segmentation"])
        found[sizes[each["image_id"]]].append((names[each["category_id"]], [round(value, 4) for value in box]))
    return found


def around(region: object) -> list[float]:
    if isinstance(region, dict):
        return coco_mask.toBbox(region).tolist()
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in region])
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def pixels_of(region: dict) -> np.ndarray:
    return coco_mask.decode(region).astype(bool)


def test_yolo_reads_boxes_polygons_and_defect_free_pictures(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "images" / "all" / f"{name}.png")
    write(tmp_path / "data.yaml", "path: /somewhere/else\nnames: {0: scratch, 1: pit}\ntrain: images/all\n")
    ring = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in PIT)
    write(tmp_path / "labels/all/a.txt", f"0 {14 / WIDTH} {11 / HEIGHT} {20 / WIDTH} {10 / HEIGHT}\n1 {ring}\n")
    write(tmp_path / "labels/all/b.txt", "\n")
    data, root = read(yolo, tmp_path)
    assert root == tmp_path
    assert boxes(data) == {
        "images/all/a.png": [("scratch", SCRATCH), ("pit", [30, 10, 20, 20])],
        "images/all/b.png": [],
        "images/all/c.png": [],
    }
    assert [each["name"] for each in data["categories"]] == ["scratch", "pit"]


def test_yolo_keeps_its_splits_and_roboflows_way_of_naming_them(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        picture(tmp_path / split / "images" / "a.png")
        write(tmp_path / split / "labels" / "a.txt", "0 0.5 0.5 0.1 0.1\n")
    write(tmp_path / "data.yaml",
          "names: [scratch]\ntrain: ../train/images\nval: ../valid/images\ntest: ../test/images\n")  # fmt: skip
    sources, _ = formats.read(yolo, tmp_path)
    assert [(each.split, len(each.data["images"]), len(each.data["annotations"])) for each in sources] == [
        ("test", 1, 1), ("train", 1, 1), ("val", 1, 1),
    ]  # fmt: skip


def test_yolo_whose_train_and_val_are_one_folder_is_read_once(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.1 0.1\n")
    write(tmp_path / "data.yaml", "names: [scratch]\ntrain: images\nval: images\n")
    data, _ = read(yolo, tmp_path)
    assert (len(data["images"]), len(data["annotations"])) == (1, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "a class from 0 to 0"),
        ("0 0.5 0.5 0.1 0.1 0.9", "predictions, not labels"),
        ("scratch 0.5 0.5 0.1 0.1", "a class number"),
        ("0 0.5 0.5", "4 values"),
    ],
)
def test_yolo_names_the_line_that_can_not_be(tmp_path: Path, line: str, message: str) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "data.yaml", "names: [scratch]\ntrain: images\n")
    write(tmp_path / "labels" / "a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DatasetError, match=message) as error:
        formats.read(yolo, tmp_path)
    assert "labels/a.txt:2" in str(error.value)


def voc_file(box: tuple[int, int, int, int]) -> str:
    corners = "".join(
        f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )  # fmt: skip
    return (
        "<annotation><filename>a.png</filename><size><width>60</width><height>40</height></size><object>"
        f"<name>scratch</name><difficult>1</difficult><bndbox>{corners}</bndbox></object></annotation>"
    )


def test_voc_counts_corners_from_one_and_the_last_pixel_in(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.png")
    write(tmp_path / "Annotations" / "a.xml", voc_file((5, 7, 24, 16)))
    data, _ = read(voc, tmp_path)
    assert boxes(data) == {"JPEGImages/a.png": [("scratch", SCRATCH)]}
    assert data["annotations"][0]["difficult"] == "1"


def test_voc_of_tools_that_count_from_zero(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "a.xml", voc_file((0, 6, 24, 16)))
    data, _ = read(voc, tmp_path)
    assert boxes(data) == {"a.png": [("scratch", [0, 6, 24, 10])]}


def test_voc_pictures_listed_without_a_file_are_defect_free(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "JPEGImages" / f"{name}.png")
    write(tmp_path / "Annotations" / "a.xml", voc_file((5, 7, 24, 16)))
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        write(tmp_path / "ImageSets" / "Main" / f"{split}.txt", f"{name}\n")
    sources, _ = formats.read(voc, tmp_path)
    assert {each.split: boxes(each.data) for each in sources} == {
        "train": {"JPEGImages/a.png": [("scratch", SCRATCH)]}, "val": {"JPEGImages/b.png": []},
        "test": {"JPEGImages/c.png": []},
    }  # fmt: skip


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", '<!DOCTYPE annotation [<!ENTITY a "b">]><annotation>&a;</annotation>')
    with pytest.raises(DatasetError, match="entities"):
        formats.read(voc, tmp_path)


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def test_labelme_reads_every_shape_that_has_an_area(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    mask = base64.b64encode(png(np.eye(5, dtype=bool))).decode()
    shapes = [
        {"label": "scratch", "shape_type": "rectangle", "points": [[24, 16], [4, 6]]},
        {"label": "pit", "shape_type": "polygon", "points": PIT, "flags": {"deep": True}},
        {"label": "pit", "shape_type": "circle", "points": [[30, 20], [30, 25]]},
        {"label": "pit", "shape_type": "mask", "points": [[57, 10], [62, 15]], "mask": mask},
        {"label": "scratch", "shape_type": "line", "points": [[0, 0], [9, 9]]},
        {"label": "crack", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4]], "group_id": 1},
        {"label": "crack", "shape_type": "polygon", "points": [[8, 0], [12, 0], [12, 4]], "group_id": 1},
    ]
    write(tmp_path / "a.json", json.dumps(
        {"version": "5", "imagePath": "..\\x\\a.png", "imageWidth": WIDTH, "imageHeight": HEIGHT, "shapes": shapes}
    ))  # fmt: skip
    data, _ = read(labelme, tmp_path)
    by_place = {each["from"].rpartition(" ")[2]: each for each in data["annotations"]}
    assert by_place["shapes[0]"]["bbox"] == SCRATCH
    assert by_place["shapes[1]"]["segmentation"] == [[v for point in PIT for v in point]]
    assert by_place["shapes[1]"]["deep"] is True
    x, y, w, h = around(by_place["shapes[2]"]["segmentation"])
    assert (x + w / 2, y + h / 2) == pytest.approx((30, 20))
    cut = pixels_of(by_place["shapes[3]"]["segmentation"])
    assert cut.sum() == 3
    assert cut[10, 57]
    assert cut[12, 59]
    assert not {"bbox", "segmentation"} & by_place["shapes[4]"].keys()
    assert len(by_place["shapes[5]"]["segmentation"]) == 2
    assert "shapes[6]" not in by_place


def test_a_polygon_of_an_ellipse_has_its_area() -> None:
    x, y = np.reshape(ellipse((10, 20), (3, 7)), (-1, 2)).T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(np.pi * 3 * 7)


def test_cvat_reads_boxes_polygons_masks_and_attributes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "images" / name)
    write(tmp_path / "annotations.xml", f"""<annotations><meta><job><labels>
      <label><name>pit</name></label><label><name>scratch</name></label></labels></job></meta>
      <image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">
        <box label="scratch" xtl="4" ytl="6" xbr="24" ybr="16" occluded="1"><attribute name="line">A</attribute></box>
        <polygon label="pit" points="30,10;50,10;50,30;30,30"/>
        <mask label="pit" rle="1,2,2,1" left="10" top="20" width="3" height="2"/>
        <box label="pit" xtl="20" ytl="10" xbr="30" ybr="14" rotation="90"/>
        <ellipse label="pit" cx="30" cy="20" rx="5" ry="8"/>
        <polyline label="scratch" points="1,1;9,9"/></image>
      <image id="1" name="b.png" width="{WIDTH}" height="{HEIGHT}"/></annotations>""")  # fmt: skip
    data, root = read(cvat, tmp_path)
    assert root == tmp_path / "images"
    assert [each["name"] for each in data["categories"]] == ["pit", "scratch"]
    found = boxes({**data, "annotations": [each for each in data["annotations"] if len(each) > 5 and
                                           {"bbox", "segmentation"} & each.keys()]})  # fmt: skip
    assert found["b.png"] == []
    assert found["a.png"][:4] == [
        ("scratch", SCRATCH), ("pit", [30, 10, 20, 20]), ("pit", [11, 20, 2, 2]), ("pit", [23, 7, 4, 10]),
    ]  # fmt: skip
    assert data["annotations"][0]["line"] == "A"
    assert data["annotations"][0]["occluded"] is True
    inside = pixels_of(data["annotations"][2]["segmentation"])
    assert inside[20:22, 10:13].tolist() == [[False, True, True], [False, False, True]]
    assert not {"bbox", "segmentation"} & data["annotations"][5].keys()


def test_cvat_tracks_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "annotations.xml", "<annotations><track/></annotations>")
    with pytest.raises(DatasetError, match="CVAT for images"):
        formats.read(cvat, tmp_path)


def test_supervisely_reads_holes_and_bitmaps(tmp_path: Path) -> None:
    write(tmp_path / "meta.json", json.dumps({"classes": [{"title": "pit"}, {"title": "scratch"}], "tags": []}))
    picture(tmp_path / "ds" / "img" / "a.png")
    data = base64.b64encode(zlib.compress(png(np.ones((2, 3), bool)))).decode()
    hole = [[36, 16], [44, 16], [44, 24], [36, 24]]
    objects = [
        {"classTitle": "scratch", "geometryType": "rectangle", "points": {"exterior": [[4, 6], [23, 15]]}},
        {"classTitle": "pit", "geometryType": "polygon", "points": {"exterior": PIT, "interior": [hole]},
         "tags": [{"name": "lot", "value": "7"}]},
        {"classTitle": "pit", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [58, 5]}},
        {"classTitle": "pit", "geometryType": "point", "points": {"exterior": [[1, 1]], "interior": []}},
    ]  # fmt: skip
    write(tmp_path / "ds" / "ann" / "a.png.json", json.dumps(
        {"size": {"width": WIDTH, "height": HEIGHT}, "tags": [{"name": "line", "value": "B"}], "objects": objects}
    ))  # fmt: skip
    coco, _ = read(supervisely, tmp_path)
    first, second, third, fourth = coco["annotations"]
    assert first["bbox"] == SCRATCH
    mask = pixels_of(second["segmentation"])
    assert mask[12, 40]
    assert not mask[20, 40]
    assert mask.sum() == 20 * 20 - 8 * 8
    assert second["lot"] == "7"
    assert np.argwhere(pixels_of(third["segmentation"])).tolist() == [[5, 58], [5, 59], [6, 58], [6, 59]]
    assert not {"bbox", "segmentation"} & fourth.keys()
    assert coco["images"][0]["line"] == "B"


@pytest.mark.parametrize("joined", [False, True])
def test_severstal_runs_go_down_the_columns_from_pixel_one(tmp_path: Path, joined: bool) -> None:  # noqa: FBT001 - a case
    for name in ("a.png", "b.png"):
        picture(tmp_path / "train_images" / name)
    head, key = ("ImageId_ClassId,EncodedPixels", "a.png_3") if joined else ("ImageId,ClassId,EncodedPixels", "a.png,3")
    write(tmp_path / "train.csv", f"{head}\n{key},1 2 {HEIGHT + 1} 1\n")
    data, _ = read(severstal, tmp_path)
    assert [each["file_name"] for each in data["images"]] == ["a.png", "b.png"]
    mask = pixels_of(data["annotations"][0]["segmentation"])
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [1, 0]]
    assert data["categories"][0]["name"] == "3"


@pytest.mark.parametrize("runs", ["1", "0 4", "1 -2", "2400 2", "one two"])
def test_severstal_runs_that_can_not_be_are_refused(tmp_path: Path, runs: str) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "train.csv", f"ImageId,ClassId,EncodedPixels\na.png,3,{runs}\n")
    with pytest.raises(DatasetError, match=r"a\.png"):
        formats.read(severstal, tmp_path)


def mask_picture(path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[6:16, 4:24] = 255
    mask[16, 24] = 255
    mask[30:32, 50:53] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def test_mvtec_folders_and_their_good_ones(tmp_path: Path) -> None:
    for name in ("train/good/000.png", "test/good/000.png", "test/scratch/000.png", "test/dent/000.png"):
        picture(tmp_path / name)
    mask_picture(tmp_path / "ground_truth" / "scratch" / "000_mask.png")
    data, _ = read(masks, tmp_path)
    marked = {**data, "annotations": [each for each in data["annotations"] if "segmentation" in each]}
    assert boxes(marked) == {
        "train/good/000.png": [], "test/good/000.png": [], "test/dent/000.png": [],
        "test/scratch/000.png": [("scratch", [4, 6, 21, 11]), ("scratch", [50, 30, 3, 2])],
    }  # fmt: skip
    assert [each["from"] for each in data["annotations"] if "segmentation" not in each] == ["test/dent/000.png"]


def test_a_folder_of_masks_for_each_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
    mask_picture(tmp_path / "masks" / "scratch" / "a.png")
    mask_picture(tmp_path / "masks" / "pit" / "a_mask.png")
    data, _ = read(masks, tmp_path)
    assert {name: len(found) for name, found in boxes(data).items()} == {"images/a.png": 4, "images/b.png": 0}


def test_runs_along_the_rows_fill_the_box() -> None:
    assert bitmaps.from_rows([0, 1, 2, 1], 2, 2).tolist() == [[True, False], [False, True]]
    with pytest.raises(ValueError, match="fill"):
        bitmaps.from_rows([3], 2, 2)
    with pytest.raises(ValueError, match="fill"):
        bitmaps.from_rows([10**6], 10**6, 10**6)


def test_formats_are_told_apart(tmp_path: Path) -> None:
    picture(tmp_path / "yolo" / "images" / "a.png")
    write(tmp_path / "yolo" / "labels" / "a.txt", "")
    write(tmp_path / "voc" / "a.xml", "<annotation/>")
    write(tmp_path / "cvat" / "annotations.xml", "<annotations/>")
    write(tmp_path / "labelme" / "a.json", '{"shapes": []}')
    write(tmp_path / "supervisely" / "meta.json", "{}")
    write(tmp_path / "supervisely" / "ds" / "ann" / "a.json", "{}")
    write(tmp_path / "severstal" / "train.csv", "ImageId,ClassId,EncodedPixels\n")
    (tmp_path / "masks" / "test").mkdir(parents=True)
    (tmp_path / "masks" / "ground_truth").mkdir()
    for name in formats.NAMES[2:]:
        found = formats.recognise(tmp_path / name)
        assert found is not None
        assert name == found.NAME
        assert formats.recognise(tmp_path / name, "coco") is None
    write(tmp_path / "coco.json", "{}")
    assert formats.recognise(tmp_path / "coco.json") is None
    with pytest.raises(DatasetError, match="nothing like it"):
        formats.recognise(tmp_path / "voc", "yolo")
    with pytest.raises(ConfigError, match="--format"):
        formats.recognise(tmp_path / "voc", "vok")
    write(tmp_path / "yolo" / "annotations.xml", "<annotations/>")
    with pytest.raises(DatasetError, match="yolo and cvat"):
        formats.recognise(tmp_path / "yolo")
