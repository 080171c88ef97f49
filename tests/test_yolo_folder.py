"""The folder for YOLO trainers: read back by our reader and by ultralytics', right where its converter is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from defect_detect import geometry
from defect_detect.data import coco, formats, yolo_folder
from defect_detect.data.formats import yolo
from defect_detect.data.records import SCHEMA, DatasetFile, SplitSummary, Tally
from defect_detect.errors import DatasetError
from defect_detect.tables import Dataset, Polygons
from tests.scenes import dataset

WIDTH, HEIGHT = 96, 64


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    format_ = "PNG" if path.suffix.lower() in (".png", "") else "JPEG"
    shades = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(shades).save(path, format_)


def normalized(root: Path, files, *, image=(), label=(), box=(), region=None, crowd=None, ignore=None) -> Dataset:
    """A normalized dataset of one split, `train`, on disk."""
    made = dataset(image=image, label=label, box=box, images=len(files), region=region, crowd=crowd, ignore=ignore)
    names = tuple(f"images/{name}" for name in files)
    images = replace(made.images, file=names, size=np.tile(np.array([WIDTH, HEIGHT]), (len(files), 1)))
    made = replace(made, root=root, split="train", images=images)
    for at, name in enumerate(names):
        picture(root / name, at)
    made = coco.write(made)
    summary = SplitSummary(fingerprint=made.fingerprint, images=len(files), defect_free=0, defects=len(made.defects),
                           quarantined_images=0, quarantined_defects=0)  # fmt: skip
    content = DatasetFile(
        schema=SCHEMA, source="s", input="", decode_policy="", scale=None, unit="px", severity={},
        categories=[each.name for each in made.categories], regions=made.has_masks, images=Tally(),
        annotations=Tally(), splits={"train": summary},
    )  # fmt: skip
    (root / "dataset.json").write_bytes(msgspec.json.encode(content))
    return made


def read_by_ultralytics(folder: Path) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
    """Each picture's labels (N, 5) class, centre, size and its rings as shares, by its name below images/train/."""
    from ultralytics.data.utils import img2label_paths, verify_image_label

    pictures = sorted(str(path) for path in (folder / "images" / "train").rglob("*.*") if path.is_file())
    found = {}
    for name, label in zip(pictures, img2label_paths(pictures), strict=True):
        _, rows, _, segments, _, missing, _, _, corrupt, message = verify_image_label(
            (name, label, "", False, 2, 0, 0, False)
        )
        assert (missing, corrupt) == (0, 0), message
        found[str(Path(name).relative_to(folder / "images" / "train"))] = rows, segments
    return found


def read_by_us(folder: Path) -> dict[str, list[dict]]:
    """Annotations by picture, below images/train/."""
    (source,), _ = formats.read(yolo, folder)
    name = {each["id"]: each["file_name"].removeprefix("images/train/") for each in source.data["images"]}
    found: dict[str, list[dict]] = {each: [] for each in name.values()}
    for each in source.data["annotations"]:
        found[name[each["image_id"]]].append(each)
    return found


# ---- where convert_coco is wrong -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("ultralytics")
def test_pictures_of_one_stem_keep_their_own_labels(tmp_path):
    normalized(
        tmp_path / "d", ("a.jpg", "a.png", "b/A.png", "b/a.jpg"), image=(0, 1, 2), label=(0, 1, 0),
        box=((0, 0, 10, 10), (20, 20, 40, 40), (1, 1, 3, 3)),
    )  # fmt: skip
    made = yolo_folder.write(tmp_path / "d", tmp_path / "y")
    read = {name: rows[:, 0].tolist() for name, (rows, _) in read_by_ultralytics(tmp_path / "y").items()}
    assert read == {"a.jpg": [0.0], "a_png.png": [1.0], "b/A.png": [0.0], "b/a_jpg.jpg": []}
    renamed = {"images/train/a_png.png": "images/a.png", "images/train/b/a_jpg.jpg": "images/b/a.jpg"}
    assert json.loads((tmp_path / "y" / "renamed.json").read_text()) == renamed
    assert made.renamed == 2


@pytest.mark.usefixtures("ultralytics")
def test_folders_called_images_and_odd_suffixes_find_their_labels(tmp_path):
    files = ("images/a.png", "x/images/images/b.png", "c.v1/d", "e.jfif", "f.JPG")
    normalized(tmp_path / "d", files, image=range(5), label=[0] * 5, box=[(0, 0, 9, 9 + at) for at in range(5)])
    yolo_folder.write(tmp_path / "d", tmp_path / "y")
    read = read_by_ultralytics(tmp_path / "y")
    assert set(read) == {"images_/a.png", "x/images_/images_/b.png", "c.v1/d.png", "e.jfif.jpg", "f.JPG"}
    assert all(len(rows) == 1 for rows, _ in read.values())


@pytest.mark.parametrize("name", ["../../out.png", "/out.png", "x/../../../out.png"])
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path, name):
    normalized(tmp_path / "d", ("a.png",), image=(0,), label=(0,), box=((0, 0, 9, 9),))
    tampered = (tmp_path / "d" / "train.json").read_text().replace('"a.png"', json.dumps(name), 1)
    (tmp_path / "d" / "train.json").write_text(tampered)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="names no picture below"):
        yolo_folder.write(tmp_path / "d", tmp_path / "y")
    assert sorted(tmp_path.rglob("*")) == before


def test_category_zero_becomes_class_zero(tmp_path):
    """ultralytics' converter takes 1 from it: class -1. Here normalization has numbered the classes."""
    for name in ("train", "val", "test"):
        picture(tmp_path / "src" / "images" / f"{name}.png", len(name))
        (tmp_path / "src" / f"{name}.json").write_text(json.dumps({
            "images": [{"id": 0, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [8, 8, 16, 16]}],
            "categories": [{"id": 0, "name": "crack"}, {"id": 5, "name": "pit"}],
        }))  # fmt: skip
    root = Path(__file__).parents[1]
    out, yolo_out = tmp_path / "d", tmp_path / "y"
    for tool in (["normalize.py", str(tmp_path / "src"), "--out", str(out)],
                 ["export.py", str(out), "--out", str(yolo_out)]):  # fmt: skip
        done = subprocess.run([sys.executable, "tools/" + tool[0], *tool[1:]], cwd=root, capture_output=True, text=True,
                              env={**os.environ, "DEFECT_DETECT_CACHE": "off"}, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "3 images, 3 defects" in done.stdout
    for split in ("train", "val", "test"):
        assert (yolo_out / "labels" / split / f"{split}.txt").read_text() == "0 0.16666667 0.25 0.16666667 0.25\n"
    sources, _ = formats.read(yolo, yolo_out)
    assert [source.split for source in sources] == ["test", "train", "val"]
    assert sources[0].data["categories"] == [{"id": 1, "name": "crack"}, {"id": 2, "name": "pit"}]


def test_crowds_and_ignored_defects_are_left_out_and_counted(tmp_path):
    normalized(tmp_path / "d", ("a.png", "b.png"), image=(0, 0, 0), label=(0, 1, 1),
               box=((0, 0, 9, 9), (10, 10, 20, 20), (30, 30, 40, 40)), crowd=(False, True, False),
               ignore=(False, False, True))  # fmt: skip
    made = yolo_folder.write(tmp_path / "d", tmp_path / "y")
    assert (made.images, made.defects, made.left_out) == (2, 1, 2)
    assert (tmp_path / "y" / "labels" / "train" / "b.txt").read_bytes() == b""


def test_nothing_is_overwritten_and_what_is_asked_for_must_be_there(tmp_path):
    normalized(tmp_path / "d", ("a.png",))
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="an empty or new folder"):
        yolo_folder.write(tmp_path / "d", tmp_path / "y")
    with pytest.raises(DatasetError, match="regions, for labels with rings"):
        yolo_folder.write(tmp_path / "d", tmp_path / "z", segment=True)
    with pytest.raises(DatasetError, match="val"):
        yolo_folder.write(tmp_path / "d", tmp_path / "z", splits=["val"])
    assert not (tmp_path / "z").exists()
    assert (tmp_path / "y" / "mine.txt").read_text() == "mine"


# ---- round trips ---------------------------------------------------------------------------------------------------


@st.composite
def box_rows(draw):
    """Image, label and box of some defects of two pictures; no two alike, since ultralytics keeps one of them."""
    side = st.floats(0, 1, allow_nan=False).map(lambda share: round(share, 6))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), side, side, side, side), max_size=6))
    found = []
    for image, label, x, y, w, h in rows:
        x0, y0 = x * (WIDTH - 0.5), y * (HEIGHT - 0.5)
        found.append((image, label, (x0, y0, x0 + 0.5 + w * (WIDTH - 0.5 - x0), y0 + 0.5 + h * (HEIGHT - 0.5 - y0))))
    return list(
        {
            (image, label, tuple(round(side, 2) for side in box)): (image, label, box) for image, label, box in found
        }.values()
    )


def nearest(boxes: list, ours: list) -> float:
    """The largest distance, px, of a side in the pairing of equal (class, box) order."""
    assert Counter(label for label, _ in boxes) == Counter(label for label, _ in ours)
    left, worst = list(boxes), 0.0
    for label, box in ours:
        apart = [np.abs(np.subtract(other, box)).max() if same == label else np.inf for same, other in left]
        best = int(np.argmin(apart))
        worst = max(worst, apart[best])
        left.pop(best)
    return worst


@pytest.mark.usefixtures("ultralytics")
@settings(max_examples=30, deadline=None)
@given(rows=box_rows())
def test_boxes_come_back_within_a_hundredth_of_a_px(tmp_path_factory, rows):
    tmp_path = tmp_path_factory.mktemp("round")
    files = ("a.png", "sub/b.png")
    normalized(tmp_path / "d", files, image=[r[0] for r in rows], label=[r[1] for r in rows], box=[r[2] for r in rows])
    yolo_folder.write(tmp_path / "d", tmp_path / "y")
    theirs, ours = read_by_ultralytics(tmp_path / "y"), read_by_us(tmp_path / "y")
    for at, file in enumerate(files):
        truth = [(label, box) for image, label, box in rows if image == at]
        scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        labels = theirs[file][0] * (1, *scale)
        read = [(int(c), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)) for c, x, y, w, h in labels.tolist()]
        assert nearest(read, truth) < 0.01
        read = [(each["category_id"] - 1, corners(each["bbox"])) for each in ours[file]]
        assert nearest(read, truth) < 0.01


def corners(xywh) -> tuple[float, float, float, float]:
    x, y, w, h = xywh
    return x, y, x + w, y + h


@st.composite
def masks(draw):
    """A mask of up to four bars, some of them cut out again: several parts, holes, touching corners."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for at in range(draw(st.integers(1, 4))):
        x, y = draw(st.integers(0, WIDTH - 13)), draw(st.integers(0, HEIGHT - 13))
        w, h = draw(st.integers(12, 60)), draw(st.integers(12, 40))
        mask[y : y + h, x : x + w] = at % 2 == 0 or draw(st.booleans())
        if draw(st.booleans()) and w > 20 and h > 20:
            mask[y + 6 : y + h - 6, x + 6 : x + w - 6] = False
    if not mask.any():
        mask[10:30, 10:30] = True
    return mask


def area_iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def drawn(ring) -> np.ndarray:
    """The ring rasterized as the COCO tools do: a bridge there and back cancels out."""
    return geometry.to_mask(Polygons(rings=(np.asarray(ring, float).reshape(-1, 2),)), WIDTH, HEIGHT)


@pytest.mark.usefixtures("ultralytics")
@settings(max_examples=40, deadline=None)
@given(mask=masks())
def test_masks_with_parts_and_holes_come_back(tmp_path_factory, mask):
    tmp_path = tmp_path_factory.mktemp("masks")
    region = geometry.from_mask(mask)
    box = geometry.region_box(region)
    normalized(tmp_path / "d", ("a.png",), image=(0,), label=(1,), box=(box,), region=(region,))
    yolo_folder.write(tmp_path / "d", tmp_path / "y")
    rows, (ring,) = read_by_ultralytics(tmp_path / "y")["a.png"]
    assert rows[0, 0] == 1
    assert area_iou(drawn(ring * (WIDTH, HEIGHT)), mask) >= 0.99
    ((own,),) = read_by_us(tmp_path / "y").values()
    assert area_iou(drawn(own["segmentation"][0]), mask) >= 0.99
    _, x, y, w, h = (rows[0] * (1, WIDTH, HEIGHT, WIDTH, HEIGHT)).tolist()
    assert np.abs(np.subtract((x - w / 2, y - h / 2, x + w / 2, y + h / 2), box)).max() <= 0.5


@st.composite
def rings(draw):
    """A region of one to three rings, parts that may overlap, each at least 1 px wide and high."""
    across, down = st.floats(0, WIDTH, width=32), st.floats(0, HEIGHT, width=32)
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        ring = np.array(draw(st.lists(st.tuples(across, down), min_size=3, max_size=7)), float)
        x, y = np.minimum(ring.min(axis=0), (WIDTH - 2, HEIGHT - 2))
        parts.append(np.vstack([ring, [(x, y), (x + 2, y + 2)]]))
    return Polygons(rings=tuple(parts))


@settings(max_examples=25, deadline=None)
@given(mask=masks(), polygon=rings())
def test_detectron2_dicts_keep_boxes_and_masks(tmp_path_factory, mask, polygon):
    tmp_path = tmp_path_factory.mktemp("dicts")
    data = _both_kinds(tmp_path, mask, polygon)
    (record,) = detectron2_dicts(tmp_path / "d" / "train.json", tmp_path / "d" / "images")
    assert Path(record["file_name"]).is_file()
    by_label = {each["category_id"]: each for each in record["annotations"]}
    assert len(by_label) == 2
    for row, label in enumerate(data.defects.label.tolist()):
        assert np.abs(np.subtract(corners(by_label[label]["bbox"]), data.defects.box[row])).max() < 1e-9
        found = by_label[label]["segmentation"]
        decoded = found if isinstance(found, dict) else coco_mask.merge(coco_mask.frPyObjects(found, HEIGHT, WIDTH))
        original = geometry.to_mask(data.defects.region[row], WIDTH, HEIGHT)
        assert np.array_equal(coco_mask.decode(decoded).astype(bool), original)


def detectron2_dicts(json_file: Path, image_root: Path) -> list[dict]:
    """The records that detectron2's documentation says `load_coco_json` makes ("Use Custom Datasets").

    Rebuilt after that page, since detectron2 is not a dependency: ids mapped to 0..K-1 in their order, bbox
    XYWH_ABS, polygons of fewer than 3 points left out and instances without any with them, run lengths kept.
    """
    with contextlib.redirect_stdout(None):
        api = COCO(str(json_file))
    contiguous = {id_: at for at, id_ in enumerate(sorted(api.getCatIds()))}
    records = []
    for image in api.loadImgs(sorted(api.imgs)):
        objects = []
        for annotation in api.imgToAnns[image["id"]]:
            region = annotation["segmentation"]
            if isinstance(region, list):
                region = [ring for ring in region if len(ring) % 2 == 0 and len(ring) >= 6]
                if not region:
                    continue
            objects.append({"iscrowd": annotation["iscrowd"], "bbox": annotation["bbox"], "segmentation": region,
                            "category_id": contiguous[annotation["category_id"]]})  # fmt: skip
        records.append({"file_name": str(image_root / image["file_name"]), "height": image["height"],
                        "width": image["width"], "image_id": image["id"], "annotations": objects})  # fmt: skip
    return records


@settings(max_examples=25, deadline=None)
@given(mask=masks(), polygon=rings())
def test_mmdet_reads_our_file_as_it_is(tmp_path_factory, mask, polygon):
    """By pycocotools, as mmdet's CocoDataset.parse_data_info reads it: boxes cut to the picture, at least 1 px."""
    tmp_path = tmp_path_factory.mktemp("mmdet")
    data = _both_kinds(tmp_path, mask, polygon)
    with contextlib.redirect_stdout(None):
        api = COCO(str(tmp_path / "d" / "train.json"))
    names = [each["name"] for each in api.loadCats(api.getCatIds())]
    assert names == [each.name for each in data.categories]
    for row, annotation in enumerate(api.loadAnns(api.getAnnIds())):
        x, y, w, h = annotation["bbox"]
        assert max(0, min(x + w, WIDTH) - max(x, 0)) * max(0, min(y + h, HEIGHT) - max(y, 0)) > 0
        assert annotation["area"] > 0
        assert min(w, h) >= 1
        assert np.abs(np.subtract((x, y, x + w, y + h), data.defects.box[row])).max() < 1e-9
        original = geometry.to_mask(data.defects.region[row], WIDTH, HEIGHT)
        assert np.array_equal(api.annToMask(annotation).astype(bool), original)


def _both_kinds(tmp_path: Path, mask: np.ndarray, polygon: Polygons) -> Dataset:
    region = (geometry.from_mask(mask), polygon)
    boxes = [geometry.region_box(each) for each in region]
    return normalized(tmp_path / "d", ("a.png",), image=(0, 0), label=(0, 1), box=boxes, region=region)
