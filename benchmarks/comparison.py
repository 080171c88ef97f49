"""The complete comparison of 3 detectors on boxes: seconds, CPU seconds and peak memory, stage by stage.

python benchmarks/comparison.py [--images 1000 5000 20000] [--resamples 10000] [--policy 'fppi<=0.1']

Validation and test have as many images each, 4 defects and 10 predictions an image, 30 % of the images empty. The set
is made in memory and matched, then judged by `compare.compare`: everything that a comparison without masks holds, with
both kinds of interval. Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import math
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 6
DEFECTS = 4
PREDICTIONS = 10
WIDTH, HEIGHT = 1024, 768
DETECTORS = {"a": 0.86, "b": 0.80, "c": 0.78}
"""Name -> share of the defects that it finds at some score."""
LEAST = 0.05
"""CPU seconds from which on a stage is told; those indented are parts of `compare`, some of each other."""


def make(images: int, split: str) -> Any:
    """A split of boxes, and the predictions of each detector by name."""
    from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

    offset = images if split == "test" else 0
    rng = np.random.default_rng([images, offset])
    image = np.sort(rng.choice(np.flatnonzero(rng.random(images) >= 0.3), images * DEFECTS))
    count = len(image)
    label, box = rng.integers(0, CLASSES, count), _boxes(rng, count)
    names = tuple(f"images/{split}{row:06d}.png" for row in range(images))
    ids = np.arange(1, images + 1) + offset
    truth = Dataset(
        root=Path("generated"),
        split=split,
        categories=tuple(Category(id=k + 1, name=f"class{k}", source_id=k + 1) for k in range(CLASSES)),
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
            id=np.arange(1, count + 1) + offset * DEFECTS,
            source_id=tuple(range(count)),
        ),
    )
    said = {}
    for name, recall in DETECTORS.items():
        hit = rng.random(count) < recall
        near = np.clip(box[hit] + rng.normal(0, 3, (int(hit.sum()), 4)), 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        noise = images * PREDICTIONS - len(near)
        said[name] = Predictions(
            image=np.concatenate([image[hit], rng.integers(0, images, noise)]),
            label=np.concatenate([label[hit], rng.integers(0, CLASSES, noise)]),
            box=np.vstack([near, _boxes(rng, noise)]),
            score=np.concatenate([rng.beta(4, 2, len(near)), rng.beta(1, 4, noise)]),
        )
    return truth, said


def _boxes(rng: np.random.Generator, count: int) -> Any:
    corner = rng.uniform(0, (WIDTH - 120, HEIGHT - 120), (count, 2))
    return np.hstack([corner, corner + rng.uniform(8, 120, (count, 2))])


class Clock:
    """Seconds and CPU seconds by stage."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[float, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside, added to what the stage took before."""
        wall, busy = time.perf_counter(), time.process_time()
        yield
        before = self.taken.get(name, (0.0, 0.0))
        self.taken[name] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - busy)

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, its calls timed as a stage."""

        def wrapped(*args: Any, **more: Any) -> Any:
            with self.stage(name):
                return work(*args, **more)

        return wrapped


def run(images: int, resamples: int, policy: str, answer: Connection) -> None:
    """Judge one size and send {stage: (seconds, CPU seconds)} and the peak in MiB."""
    from defect_detect.evaluation import compare, matching
    from defect_detect.evaluation.comparison import DatasetFacts
    from defect_detect.evaluation.judged import Contender, Run
    from defect_detect.evaluation.operating import parse_policy

    clock = Clock()
    (val, said_val), (test, said_test) = make(images, "val"), make(images, "test")
    with clock.stage("match"):
        contenders = [
            Contender(name=name, runs=(
                Run(
                    seed=0, test=matching.evaluate(test, said_test[name]),
                    validation=matching.evaluate(val, said_val[name]), manifest=None,
                ),
            ))
            for name in DETECTORS
        ]  # fmt: skip
    facts = DatasetFacts(
        name="generated", fingerprints={}, categories=[], images={}, units={}, defective={}, defect_free={}, defects={},
        masks=False, quarantined={}, scale=None, unit="px",
    )  # fmt: skip
    for name in _watched(compare):
        setattr(compare, name, clock.timed(f"  {name}", getattr(compare, name)))
    with clock.stage("compare"):
        compare.compare(
            contenders,
            policy=parse_policy(policy, {"escape": 100.0, "overkill": 1.0}, 0.01),
            facts=facts,
            versions={},
            resamples=resamples,
        )
    answer.send((clock.taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _watched(module: Any) -> list[str]:
    """The functions that `compare` calls, its own among them but for the outermost two."""
    names = []
    for name, value in vars(module).items():
        if not callable(value) or isinstance(value, type):
            continue
        origin = getattr(value, "__module__", "")
        if origin.startswith("defect_detect.evaluation") and name not in ("compare", "_detector"):
            names.append(name)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--policy", default="fppi<=0.1")
    arguments = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "scipy")}
    threads = os.environ.get("OMP_NUM_THREADS", "as many as there are CPUs")
    print(f"{versions}, threads: {threads}, {arguments.resamples:,} resamples, {arguments.policy}")
    context = multiprocessing.get_context("spawn")
    whole: list[tuple[int, float, float]] = []
    for images in arguments.images:
        mine, theirs = context.Pipe()
        process = context.Process(target=run, args=(images, arguments.resamples, arguments.policy, theirs))
        process.start()
        theirs.close()
        taken, peak = mine.recv()
        process.join()
        print(f"\n{images:,} images: peak {peak:,.0f} MiB")
        for stage, (wall, busy) in sorted(taken.items(), key=lambda one: -one[1][1]):
            if busy >= LEAST:
                print(f"  {stage:34} {wall:8.2f} s {busy:8.2f} CPU s")
        whole.append((images, taken["match"][1] + taken["compare"][1], peak))
    for (fewer, less, small), (more, most, large) in itertools.pairwise(whole):
        growth = math.log(more / fewer)
        print(
            f"\n{fewer:,} to {more:,} images: CPU time grows with exponent {math.log(most / less) / growth:.2f}, "
            f"peak memory with {math.log(large / small) / growth:.2f}"
        )


if __name__ == "__main__":
    main()
