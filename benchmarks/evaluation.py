"""Judging 3 detectors on 5,000 images x 10 predictions: time and peak memory, beside pycocotools on the same files.

python benchmarks/evaluation.py [--images 5000] [--runs 3]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

CLASSES = 6
DEFECTS = 4
PREDICTIONS = 10
WIDTH, HEIGHT = 1024, 768
DETECTORS = ("a", "b", "c")


def make(root: Path, images: int) -> None:
    """A normalized dataset (val and test) of boxes, 30 % of the images empty, and three detectors' results."""
    from defect_detect.data import coco, predictions
    from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

    rng = np.random.default_rng(0)
    categories = tuple(Category(id=k + 1, name=f"class{k}", source_id=k + 1) for k in range(CLASSES))
    for offset, split in enumerate(("val", "test")):
        defective = np.flatnonzero(rng.random(images) >= 0.3)
        image = np.sort(rng.choice(defective, images * DEFECTS))
        count = len(image)
        corner = rng.uniform(0, (WIDTH - 120, HEIGHT - 120), (count, 2))
        box = np.hstack([corner, corner + rng.uniform(8, 120, (count, 2))])
        label = rng.integers(0, CLASSES, count)
        names = tuple(f"images/{split}{row:06d}.png" for row in range(images))
        ids = np.arange(1, images + 1) + offset * images
        truth = Dataset(
            root=root,
            split=split,
            categories=categories,
            images=Images(
                file=names,
                id=ids,
                size=np.tile(np.array([WIDTH, HEIGHT]), (images, 1)),
                group=np.array(names),
                source_id=tuple(ids.tolist()),
            ),
            defects=Defects(
                image=image,
                label=label,
                box=box,
                area=(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]),
                crowd=np.zeros(count, bool),
                ignore=np.zeros(count, bool),
                region=None,
                id=np.arange(1, count + 1) + offset * count,
                source_id=tuple(range(count)),
            ),
        )
        # Judging never opens a picture, so there are none.
        coco.write(truth, coco.Origin(sha256=["0" * 64] * images, source_split=[split] * images, source_file=names))
        for name in DETECTORS:
            hit = rng.random(count) < 0.8
            near = np.clip(box[hit] + rng.normal(0, 3, (int(hit.sum()), 4)), 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
            noise = images * PREDICTIONS - len(near)
            start = rng.uniform(0, (WIDTH - 120, HEIGHT - 120), (noise, 2))
            said = Predictions(
                image=np.concatenate([image[hit], rng.integers(0, images, noise)]),
                label=np.concatenate([label[hit], rng.integers(0, CLASSES, noise)]),
                box=np.vstack([near, np.hstack([start, start + rng.uniform(8, 120, (noise, 2))])]),
                score=np.concatenate([rng.beta(4, 2, len(near)), rng.beta(1, 4, noise)]),
            )
            said = said.take((said.box[:, 2:] > said.box[:, :2] + 1).all(axis=1))
            predictions.write(root / f"{name}-{split}.json", said, truth)


def whole_comparison(root: Path) -> None:
    """Files to verdict: matching, rates, FROC, AP, 2,000 resamples for both intervals, all pairs."""
    from defect_detect.data import coco, predictions
    from defect_detect.evaluation import compare, matching, operating
    from defect_detect.evaluation.comparison import DatasetFacts
    from defect_detect.evaluation.judged import Contender, Run
    from defect_detect.facts import versions

    data = {split: coco.load(root, split) for split in ("val", "test")}
    contenders = []
    for name in DETECTORS:
        said = {
            s: matching.evaluate(d, predictions.read(root / f"{name}-{s}.json", d, ids="normalized"))
            for s, d in data.items()
        }
        run = Run(seed=0, test=said["test"], validation=said["val"], manifest=None)
        contenders.append(Contender(name=name, runs=(run,)))
    facts = DatasetFacts(
        name="generated", fingerprints={}, categories=[], images={}, units={}, defective={}, defect_free={}, defects={},
        masks=False, quarantined={}, scale=None, unit="px",
    )  # fmt: skip
    compare.compare(
        tuple(contenders), policy=operating.parse_policy("fppi<=0.1"), facts=facts, versions=versions(), resamples=2000
    )


def misses(root: Path) -> None:
    """Files to misses: reading, matching and the FN rate of three detectors on test."""
    from defect_detect.data import coco, predictions
    from defect_detect.evaluation import froc, matching

    data = coco.load(root, "test")
    for name in DETECTORS:
        froc.froc(matching.evaluate(data, predictions.read(root / f"{name}-test.json", data, ids="normalized")))


def pycocotools(root: Path) -> None:
    """Files to the 12 COCO figures of three detectors on test."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "test.json"))
        for name in DETECTORS:
            judged = COCOeval(truth, truth.loadRes(str(root / f"{name}-test.json")), "bbox")
            judged.evaluate()
            judged.accumulate()
            judged.summarize()


def measured(work: Callable[[Path], None], root: Path) -> tuple[float, float]:
    """Seconds and peak MiB of `work` in a process of its own, imports not counted in the seconds."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(work, root, theirs))
    process.start()
    result: tuple[float, float] = mine.recv()
    process.join()
    return result


def _measure(work: Callable[[Path], None], root: Path, answer: Connection) -> None:
    import pycocotools.cocoeval  # noqa: F401 - its import is not what is measured

    import defect_detect.comparing  # noqa: F401

    started = time.perf_counter()
    work(root)
    seconds = time.perf_counter() - started
    answer.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    print(
        {name: importlib.metadata.version(name) for name in ("numpy", "pycocotools")},
        "1 thread,",
        arguments.images,
        "images",
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, arguments.images)
        works = (misses, whole_comparison, pycocotools)
        taken: dict[str, list[tuple[float, float]]] = {work.__name__: [] for work in works}
        for _ in range(arguments.runs):
            for work in works:
                taken[work.__name__].append(measured(work, root))
    for work in works:
        seconds, memory = (statistics.median(column) for column in zip(*taken[work.__name__], strict=True))
        print(f"{work.__name__:18} {seconds:8.2f} s {memory:8.0f} MiB   {work.__doc__}")
    for name in ("misses", "whole_comparison"):
        ratios = [peer[0] / own[0] for own, peer in zip(taken[name], taken["pycocotools"], strict=True)]
        print(f"pycocotools / {name}: {statistics.median(ratios):.1f}x")


if __name__ == "__main__":
    main()
