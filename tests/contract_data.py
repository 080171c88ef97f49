"""The pictures that the contract suite trains on, and what it tries to mislead backends with."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detect.data import coco, normalize
from defect_detect.geometry import from_mask, to_rle

SIDE, CLASSES = 96, ("square", "disc")
COUNTS = {"train": 12, "val": 4, "test": 5}


def dataset(root: Path) -> Path:
    """A normalized dataset: a third of the pictures without defects, one of 28 px, a crowd and an ignored defect."""
    source = root.with_name("source")
    number = 0
    for split, count in COUNTS.items():
        rng = np.random.default_rng(len(split))
        (source / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for row in range(count):
            number += 1
            width, height = (28, 40) if (split, row) == ("train", 3) else (SIDE, SIDE - 8 * (row % 3))
            grey, name = rng.normal(128, 8, (height, width)), f"{split}/{row}.png"
            y, x = np.mgrid[:height, :width]
            for label in range(2) if row % 3 else ():
                cx, cy, r = rng.uniform(20, 70), rng.uniform(20, 60), rng.uniform(6, 14)
                mask = (abs(x - cx) < r) & (abs(y - cy) < r) if label == 0 else np.hypot(x - cx, y - cy) < r
                grey[mask] += 80 - 160 * label
                rle = to_rle(from_mask(mask), width, height)
                annotations.append({
                    "id": len(annotations) + 1, "image_id": number, "category_id": label + 1,
                    "segmentation": {"size": [height, width], "counts": rle.counts.decode()},
                    "bbox": [cx - r, cy - r, 2 * r, 2 * r], "area": float(mask.sum()),
                    "iscrowd": int((split, row, label) == ("train", 4, 0)),
                    "ignore": int((split, row, label) == ("train", 5, 1)),
                })  # fmt: skip
            Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(source / "images" / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
        names = [{"id": k, "name": name} for k, name in enumerate(CLASSES, 1)]
        content = {"images": images, "annotations": annotations, "categories": names}
        (source / f"{split}.json").write_text(json.dumps(content))
    return normalize.normalize(source, images=source / "images", out=root).root


def broken(home: Path, data: Path) -> Path:
    """The dataset with a picture of test and one of train that are none."""
    root = home / "broken"
    shutil.copytree(data, root)
    for split in ("test", "train"):
        (root / coco.load(root, split).images.file[1]).write_bytes(b"no picture")
    return root


def nothing(home: Path, data: Path) -> Path:
    """The dataset with a test split without pictures."""
    root = home / "nothing"
    shutil.copytree(data, root)
    test = coco.load(root, "test").without_truth()
    none = np.zeros(0, np.int64)
    coco.write(dataclasses.replace(test, images=test.images.take(none)))
    return root


def foreign() -> bytes:
    """A file as torch saves one, of no weights of anybody's."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state": {}}, protocol=2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()
