"""A small clean COCO export and its pictures, for tests that spoil one thing of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from defect_detect.data.normalize import Normalized, normalize
from defect_detect.data.repairs import Refused, Repair

Content = dict[str, Any]
WIDTH, HEIGHT = 60, 40


def clean() -> Content:
    """Six pictures, the last without defects; ten defects of two classes with rectangular regions."""
    images = [{"id": n, "file_name": f"p{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(1, 7)]
    annotations = [
        {
            "id": n, "image_id": 1 + n % 5, "category_id": 1 + n % 2, "bbox": [5 + n, 6, 20, 10], "area": 200,
            "iscrowd": 0, "segmentation": [[5 + n, 6, 25 + n, 6, 25 + n, 16, 5 + n, 16]],
        }
        for n in range(1, 11)
    ]  # fmt: skip
    return {
        "info": {}, "licenses": [], "images": images, "annotations": annotations,
        "categories": [{"id": 1, "name": "pit"}, {"id": 2, "name": "scratch"}],
    }  # fmt: skip


def boxes_only() -> Content:
    """The same without regions, and with 30 boxes that differ."""
    content = clean()
    rng = np.random.default_rng(7)
    content["annotations"] = [
        {
            "id": n, "image_id": 1 + n % 5, "category_id": 1 + n % 2,
            "bbox": [int(value) for value in rng.integers((0, 0, 2, 2), (50, 30, 10, 10))],
            "iscrowd": 0, "segmentation": [],
        }
        for n in range(1, 31)
    ]  # fmt: skip
    for annotation in content["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    return content


def picture() -> bytes:
    """A PNG of that size with a white square, as bytes."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[10:20, 10:20] = 255
    Image.fromarray(pixels).save(written := io.BytesIO(), "PNG")
    return written.getvalue()


def pictures(folder: Path) -> Path:
    """The six pictures in `folder`, each with other pixels."""
    folder.mkdir(parents=True)
    for number in range(1, 7):
        noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"p{number}.png")
    return folder


def run(content: object, images: Path | None, folder: Path, **options: Any) -> Normalized:
    """Normalize the content, or the bytes, as `folder`/export.json to `folder`/out."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    folder.mkdir(exist_ok=True)
    (folder / "export.json").write_bytes(raw)
    return normalize(folder / "export.json", images=images, out=folder / "out", **options)


def changed(made: Normalized | Refused) -> list[Repair]:
    """What was done to the input, without what was only noted."""
    return [repair for repair in made.repairs if repair.action != "noted"]


def noted(made: Normalized | Refused) -> set[str]:
    return {repair.what for repair in made.repairs if repair.action == "noted"}
