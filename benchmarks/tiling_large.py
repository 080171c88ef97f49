"""Tiling pictures of 24 million px: CPU time and memory of cutting them, and of bringing predictions back.

    python benchmarks/tiling_large.py [--pictures 12]

Pictures of 6000 x 4000 px, noise over a texture as JPEGs (quality 92), 40 defects each with a polygon, normalized, then
cut into tiles of 1024 px that overlap by 0.2. Of each tile of test 20 boxes are brought back, and 20 masks. Each step
runs in a process of its own; peak memory is that process's and its children's largest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

from defect_detect import geometry
from defect_detect.data import coco, normalize, tiling, untiling
from defect_detect.job import Tiling
from defect_detect.tables import Predictions, Region

WIDE, HIGH, DEFECTS = 6000, 4000, 40
HOW = Tiling(size=1024)
BOXES = 20
OUTLINE = np.array([(0, 0.5), (0.2, 0.1), (0.5, 0), (0.8, 0.15), (1, 0.5), (0.8, 0.9), (0.5, 1), (0.2, 0.85)])


def make(folder: Path, pictures: int) -> None:
    """`all.json` and `images/`."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for at in range(pictures):
        coarse = Image.fromarray(rng.integers(60, 200, (HIGH // 40, WIDE // 40, 3), np.uint8))
        shades = np.asarray(coarse.resize((WIDE, HIGH), Image.Resampling.BICUBIC), np.int16)
        shades = shades + rng.integers(-8, 9, (HIGH, WIDE, 1), np.int16)
        Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8)).save(folder / "images" / f"{at}.jpg", quality=92)
        images.append({"id": at + 1, "file_name": f"{at}.jpg", "width": WIDE, "height": HIGH})
        size = rng.uniform(10, 600, (DEFECTS, 2))
        corner = rng.uniform(0, 1, (DEFECTS, 2)) * ((WIDE, HIGH) - size)
        for (x, y), (w, h) in zip(corner.tolist(), size.tolist(), strict=True):
            ring = ((x, y) + OUTLINE * (w, h)).ravel().tolist()
            annotations.append({"id": len(annotations) + 1, "image_id": at + 1, "category_id": 1, "bbox": [x, y, w, h],
                                "area": w * h * 0.7, "iscrowd": 0, "segmentation": [ring]})  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "defect"}]}
    (folder / "all.json").write_text(json.dumps(content))


def said(tiles: Path, *, masks: bool) -> Predictions:
    """BOXES things in each tile of test."""
    data = coco.load(tiles, "test")
    rng = np.random.default_rng(1)
    image = np.repeat(np.arange(len(data.images)), BOXES)
    room = data.images.size[image].astype(np.float64)
    size = rng.uniform(4, 120, (len(image), 2))
    corner = rng.uniform(0, 1, (len(image), 2)) * (room - size)
    box = np.concatenate([corner, corner + size], axis=1)
    region: list[Region] = []
    for (x0, y0, x1, y1), (width, height) in zip(box.astype(int).tolist(), room.astype(int).tolist(), strict=True):
        if not masks:
            break
        pixels = np.zeros((height, width), np.bool_)
        pixels[y0 : y1 + 1, x0 : x1 + 1] = True
        region.append(geometry.from_mask(pixels))
    return Predictions(
        image=image, label=np.zeros(len(image), np.int64), box=box, score=rng.random(len(image)),
        region=tuple(region) if masks else None,
    )  # fmt: skip


def work(kind: str, folder: Path) -> None:
    """One step in this process; prints its CPU seconds, its and its children's, how many pictures, the peak in MiB."""
    tiles = next((folder / "tiles").glob("[!.]*"), Path()) if (folder / "tiles").is_dir() else Path()
    predictions = said(tiles, masks=kind == "back, masks") if kind.startswith("back") else None
    import resource

    def spent() -> float:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

    before, started = spent(), time.perf_counter()
    if kind == "normalize":
        made = normalize.normalize(folder / "all.json", images=folder / "images", out=folder / "data")
        count = made.content.images.kept
    elif kind == "cut":
        out = tiling.make(folder / "data", folder / "tiles", HOW)
        count = sum(len(coco.load(folder / "data", split).images) for split in coco.splits(out))
    elif predictions is not None:
        data = coco.load(folder / "data", "test")
        untiling.whole(predictions, coco.load(tiles, "test"), data, most=1000)
        count = len(data.images)
    else:
        raise SystemExit(f"no such work: {kind}")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps([spent() - before, time.perf_counter() - started, count, peak]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--work")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        make(Path(name), arguments.pictures)
        for kind in ("normalize", "cut", "back, boxes", "back, masks"):
            done = subprocess.run(
                [sys.executable, __file__, "--work", kind, "--folder", name], capture_output=True, text=True, check=True
            )
            seconds, wall, count, peak = json.loads(done.stdout.splitlines()[-1])
            print(f"{kind:12} {seconds / count:6.2f} s of CPU, {wall / count:6.2f} s a picture; peak {peak:5.0f} MiB")


if __name__ == "__main__":
    main()
