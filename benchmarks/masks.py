"""Judging masks (truth in polygons, predictions in run lengths) beside the segm run of the COCO libraries.

python benchmarks/masks.py [--images 1000] [--runs 5]

Each work goes from the files to its figures: ours to the misses at 101 thresholds (IoU 0.5) and to the twelve figures
of mask AP; a peer's to its twelve figures. CPU time, one thread, in turn; ratios are the median over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

timing.one_thread()

import numpy as np

from defect_detect import geometry, masks, native
from defect_detect.data import coco, predictions
from defect_detect.evaluation import average_precision, matching
from defect_detect.evaluation.judged import Rule
from defect_detect.tables import Category, Dataset, Defects, Images, Polygons, Predictions

CLASSES = 6
DEFECTS = 4
PREDICTIONS = 10
WIDTH, HEIGHT = 1024, 768
THRESHOLDS = np.linspace(0, 1, 101)


def outline(rng: np.random.Generator, centre: np.ndarray, radius: float, points: int) -> Polygons:
    """A bumpy ring around the centre."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    reach = radius * rng.uniform(0.6, 1, points)
    ring = centre + np.stack([np.cos(angle), np.sin(angle)], axis=1) * reach[:, None]
    return Polygons(rings=(np.clip(ring.round(2), 0, (WIDTH, HEIGHT)),))


def make(root: Path, images: int) -> None:
    """One split with polygons, 30 % of the images empty, and a detector's run lengths."""
    rng = np.random.default_rng(0)
    image = np.sort(rng.choice(np.flatnonzero(rng.random(images) >= 0.3), images * DEFECTS))
    count = len(image)
    centre = rng.uniform(90, (WIDTH - 90, HEIGHT - 90), (count, 2))
    radius = rng.uniform(4, 90, count)
    region = tuple(outline(rng, c, r, int(rng.integers(8, 40))) for c, r in zip(centre, radius, strict=True))
    label = rng.integers(0, CLASSES, count)
    size = np.tile(np.array([WIDTH, HEIGHT]), (images, 1))
    names = tuple(f"images/{row:06d}.png" for row in range(images))
    truth = Dataset(
        root=root,
        split="test",
        categories=tuple(Category(id=k + 1, name=f"class{k}", source_id=k + 1) for k in range(CLASSES)),
        images=Images(
            file=names, id=np.arange(1, images + 1), size=size, group=np.array(names), source_id=tuple(range(images))
        ),
        defects=Defects(
            image=image,
            label=label,
            box=np.stack([geometry.region_box(one) for one in region]),
            area=masks.areas(masks.Masks(region=region, size=size[image])),
            crowd=np.zeros(count, np.bool_),
            ignore=np.zeros(count, np.bool_),
            region=region,
            id=np.arange(1, count + 1),
            source_id=tuple(range(count)),
        ),
    )
    coco.write(truth, coco.Origin(sha256=["0" * 64] * images, source_split=["test"] * images, source_file=names))
    hit = np.flatnonzero(rng.random(count) < 0.8)
    noise = images * PREDICTIONS - len(hit)
    moved = [Polygons(rings=(np.clip(region[row].rings[0] + rng.normal(0, 2, 2), 0, (WIDTH, HEIGHT)),)) for row in hit]
    apart = rng.uniform(90, (WIDTH - 90, HEIGHT - 90), (noise, 2))
    moved += [outline(rng, c, float(rng.uniform(4, 90)), 20) for c in apart]
    coded = tuple(geometry.to_rle(one, WIDTH, HEIGHT) for one in moved)
    said = Predictions(
        image=np.concatenate([image[hit], rng.integers(0, images, noise)]),
        label=np.concatenate([label[hit], rng.integers(0, CLASSES, noise)]),
        box=np.stack([geometry.region_box(one) for one in coded]),
        score=np.concatenate([rng.beta(4, 2, len(hit)), rng.beta(1, 4, noise)]),
        region=coded,
    )
    predictions.write(
        root / "said.json", said.take(masks.areas(masks.Masks(region=coded, size=size[said.image])) > 0), truth
    )


def misses(root: Path) -> Any:
    """The number of missed defects at each of 101 thresholds."""
    truth = coco.load(root, "test")
    said = predictions.read(root / "said.json", truth, ids="normalized")
    found_at = matching.match(truth, said, Rule(geometry="mask")).found_at
    return np.searchsorted(np.sort(found_at), THRESHOLDS)


def ours(root: Path) -> Any:
    """Mask AP and AR."""
    truth = coco.load(root, "test")
    said = predictions.read(root / "said.json", truth, ids="normalized")
    return average_precision.average_precision(truth, said, "mask")


def peer(module: str) -> Callable[[Path], Any]:
    """Files to the twelve segm figures of a library with pycocotools' interface."""

    def run(root: Path) -> Any:
        library = importlib.import_module(module)
        truth = library.COCO(str(root / "test.json"))
        said = truth.load_res if hasattr(truth, "load_res") else truth.loadRes
        judged = library.COCOeval(truth, said(str(root / "said.json")), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        return judged.stats

    return run


def pycocotools(root: Path) -> Any:
    """The reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(root / "test.json"))
    judged = COCOeval(truth, truth.loadRes(str(root / "said.json")), "segm")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    works: dict[str, Callable[[Path], Any]] = {"misses": misses, "ours": ours}
    for module, name in (("ultrafast_pycocotools", "ultrafast-pycocotools"), ("hotcoco", "hotcoco")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            works[name] = peer(module)
    works["pycocotools"] = pycocotools
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "msgspec", *list(works)[2:])}
    print(versions, "1 thread,", arguments.images, "images, compiled:", native.compiled is not None)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, arguments.images)
        seconds, answers = timing.taken(
            {name: (lambda work=work: work(root)) for name, work in works.items()}, arguments.runs
        )
    # Where results have boxes too, loadRes takes the box's area for the mask's, which moves AP by size: not compared.
    own = answers["ours"]
    figures = [own.ap, own.ap50, own.ap75, own.ar1, own.ar10, own.ar100]
    for name in list(works)[2:]:
        np.testing.assert_allclose(figures, np.array(answers[name])[[0, 1, 2, 6, 7, 8]], rtol=0, atol=1e-9)
    for against in ("misses", "ours"):
        print(f"\n{timing.table(seconds, against)}")


if __name__ == "__main__":
    main()
