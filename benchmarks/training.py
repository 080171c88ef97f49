"""Training through the adapter beside the framework called directly with the same settings: pictures a second.

python benchmarks/training.py [--pairs 3] [--epochs 3] [--families yolo ssd mask_rcnn] [--configs a.yaml ...]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import direct_training

from defect_detect.job import Epoch, TrainJob
from defect_detect.tables import Predictions

CONFIGS = Path(__file__).parents[1] / "configs"
LIGHT = {"yolo": "yolo/yolo26n_light.yaml", "ssd": "ssd/*_light.yaml", "mask_rcnn": "maskrcnn/*_light.yaml"}
SAME = {
    "ultralytics": ("options.task=detect", "options.close_mosaic=0"),
    "torchvision": ("options.augment={flip: true, light: 0.0}",),
}
"""Laid over the configs, so that both sides vary pictures alike: mosaic to the end, flips alone."""
WANTED = 0.97
TRAIN, VAL, TEST = 48, 16, 2
Time = tuple[float, float]
"""Seconds by the wall, and of CPU in this process (user and system, all threads)."""


@dataclass(slots=True)
class Clock:
    """A `Watch` that only records when batches and validations ended."""

    started: Time = (0.0, 0.0)
    batches: list[list[Time]] = field(default_factory=lambda: [[]])
    epochs: list[Time] = field(default_factory=list)
    ended: Time = (0.0, 0.0)

    def batch_done(self) -> None:
        """Record the end of a training batch."""
        self.batches[-1].append(now())

    def epoch_done(self) -> None:
        """Record the end of a validation."""
        self.epochs.append(now())
        self.batches.append([])

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        """See `backends.Watch`."""
        del done, of, loss
        self.batch_done()

    def epoch(self, number: int, loss: float, validation: Predictions) -> Epoch:
        """Call every epoch the best, so that each saves a checkpoint; see `backends.Watch`."""
        del loss, validation
        self.epoch_done()
        return Epoch(score=number / 1000, best=True, stop=False)

    def rates(self, epochs: int) -> dict[str, Time]:
        """Training pictures a second, by wall and by CPU.

        epochs  from the end of the first batch to the end of the last validation: set-up is left out
        steps   from the end of each epoch's first batch to the end of its last: validation too is
        call    all of the call: set-up, and what follows the last validation
        """
        rounds = self.batches[:epochs]
        count, size = len(rounds[0]), TRAIN / len(rounds[0])
        steps = [sum(done[-1][k] - done[0][k] for done in rounds) for k in range(2)]
        return {
            "epochs": _each(TRAIN * epochs - size, rounds[0][0], self.epochs[epochs - 1]),
            "steps": (size * (count - 1) * epochs / steps[0], size * (count - 1) * epochs / steps[1]),
            "call": _each(TRAIN * epochs, self.started, self.ended),
        }


def _each(pictures: float, start: Time, end: Time) -> Time:
    return pictures / (end[0] - start[0]), pictures / (end[1] - start[1])


def now() -> Time:
    return time.perf_counter(), time.process_time()


def make(folder: Path) -> Path:
    """A normalized dataset of demo pictures whose train split is whole batches."""
    from defect_detect.data import demo
    from defect_detect.data.normalize import normalize

    source = demo.generate(folder / "demo", images=TRAIN + VAL + TEST)
    content = json.loads(source.read_text())
    source.unlink()
    start = 0
    for split, count in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        images = content["images"][start : start + count]
        ids = {image["id"] for image in images}
        defects = [defect for defect in content["annotations"] if defect["image_id"] in ids]
        (source.parent / f"{split}.json").write_text(json.dumps({**content, "images": images, "annotations": defects}))
        start += count
    return normalize(source.parent, images=source.parent / "images", out=folder / "dataset").root


def ours(job: TrainJob, root: Path, out: Path, clock: Clock) -> None:
    """Training through the adapter."""
    from defect_detect import backends
    from defect_detect.data import coco

    val = coco.load(root, "val").without_truth()
    backends.load(job.framework).train(job, train=coco.load(root, "train"), val=val, out=out, watch=clock)


def direct(job: TrainJob, root: Path, out: Path, clock: Clock) -> None:
    """Training by the framework itself."""
    peer = direct_training.yolo if job.framework == "ultralytics" else direct_training.torchvision
    peer(job, root, out, clock.batch_done, clock.epoch_done)


def measured(job: TrainJob, root: Path, *, through_us: bool) -> dict[str, Time]:
    """Training pictures a second of one training, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(job, root, through_us, theirs))
    process.start()
    theirs.close()
    rates: dict[str, Time] = mine.recv()
    process.join()
    return rates


def _measure(job: TrainJob, root: Path, through_us: bool, answer: Connection) -> None:  # noqa: FBT001 - Process passes it so
    import torch

    if job.framework == "ultralytics":
        import ultralytics.models.yolo.detect  # noqa: F401 - its import is not what is measured

        from defect_detect.backends._ultralytics import environment

        environment.start(1)
    else:
        import torchvision.models.detection  # noqa: F401 - nor is this
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(started=now())
        (ours if through_us else direct)(job, root, Path(folder), clock)
        clock.ended = now()
    assert torch.get_num_threads() == 1
    answer.send(clock.rates(job.settings.epochs))


def compared(job: TrainJob, root: Path, pairs: int) -> bool:
    """Measure `pairs` pairs and print them; whether the median ratio is at least WANTED."""
    print(f"\n{job.detector} ({job.framework}), {TRAIN} pictures x {job.settings.epochs} epochs", flush=True)
    print(f"{'':10}{'ours':>8}{'direct':>8}  ratio: CPU  wall | steps: CPU  wall | call: CPU  wall")
    ratios: list[list[float]] = []
    for pair in range(pairs):
        order = (True, False) if pair % 2 == 0 else (False, True)
        taken = {through_us: measured(job, root, through_us=through_us) for through_us in order}
        own, peer = taken[True], taken[False]
        ratios.append([own[part][k] / peer[part][k] for part in ("epochs", "steps", "call") for k in (1, 0)])
        print(f"  pair {pair + 1:2} {own['epochs'][1]:8.2f}{peer['epochs'][1]:8.2f}  {_row(ratios[-1])}", flush=True)
    for name, of in (("median", statistics.median), ("min", min), ("max", max)):
        print(f"  {name:23}  {_row([of(column) for column in zip(*ratios, strict=True)])}")
    return statistics.median(row[0] for row in ratios) >= WANTED


def _row(ratios: Sequence[float]) -> str:
    epochs, steps, call = (f"{ratios[k]:6.3f}{ratios[k + 1]:6.3f}" for k in (0, 2, 4))
    return f"     {epochs} |      {steps} |     {call}"


def jobs(paths: Sequence[Path], epochs: int) -> list[TrainJob]:
    from defect_detect import config

    made = []
    for path in paths:
        same = SAME[config.read(path).framework]
        common = (f"epochs={epochs}", "patience=1000", "weights=none", "device=cpu", "threads=1", "workers=0")
        read = config.read(path, [*common, "amp=false", *same])
        made.append(
            TrainJob(
                detector=read.name, framework=read.framework, model=read.model, dataset="", seed=0,
                settings=read.settings, options=read.options,
            )
        )  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--families", nargs="+", choices=LIGHT, default=list(LIGHT))
    parser.add_argument("--configs", nargs="+", type=Path, help="instead of the families' light ones")
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    paths = arguments.configs or [path for name in arguments.families for path in sorted(CONFIGS.glob(LIGHT[name]))]
    found = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "ultralytics", "numpy")}
    print(
        {"python": platform.python_version(), **found}, "1 thread, pictures a second by CPU time, ratios ours / direct"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder))
        fair = [compared(job, root, arguments.pairs) for job in jobs(paths, arguments.epochs)]
    if not all(fair):
        raise SystemExit(f"a median ratio is below {WANTED}")


if __name__ == "__main__":
    main()
