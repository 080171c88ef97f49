"""Training and predicting through the adapters beside the frameworks called directly: pictures a second, in pairs.

python benchmarks/throughput.py [--pairs 3] [--epochs 3] [--frameworks ultralytics torchvision mmdet] [--only TEXT]

Needs the frameworks in the interpreter that runs it. CPU time of one process on one thread; a non-zero exit status
if a median is below 0.97.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import io
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import direct

from defect_detect import config, runner
from defect_detect.job import Epoch, TrainJob
from defect_detect.tables import Predictions
from defect_detect.watching import Watching

CONFIGS = Path(__file__).parents[1] / "configs"
CONFIGURED: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    "ultralytics": [("yolo/yolo26n_light.yaml", ("options.task=detect", "options.close_mosaic=0"))],
    "torchvision": [
        ("ssd/ssd_light.yaml", ("options.augment={flip: true, light: 0.0}",)),
        ("maskrcnn/mask_rcnn_light.yaml", ("options.augment={flip: true, light: 0.0}",)),
    ],
    "mmdet": [
        ("ssd/mmdet_ssd300.yaml", ("model=ssdlite320", "image_size=320")),
        ("maskrcnn/mmdet_mask_rcnn_r50_fpn.yaml", ("image_size=160",)),
    ],
    "detectron2": [("maskrcnn/detectron2_mask_rcnn_light.yaml", ())],
}
"""Configs, with what makes both sides vary pictures alike, and small enough for a CPU."""
COMMON = (
    "patience=1000", "weights=none", "device=cpu", "threads=1", "workers=0", "amp=false", "batch=8", "score_floor=0.05",
    "on_out_of_memory=fail",
)  # fmt: skip
WANTED = 0.97
TRAIN, VAL, TEST = 96, 16, 96
Time = tuple[float, float]
"""Seconds by the wall, and of CPU in this process (user and system, all threads)."""
Rates = dict[str, Time]


def now() -> Time:
    return time.perf_counter(), time.process_time()


@dataclass(slots=True)
class Clock:
    """When batches and epochs of a training, or pictures of a prediction, were done."""

    batches: list[list[Time]] = field(default_factory=lambda: [[]])
    epochs: list[Time] = field(default_factory=list)
    pictures: list[tuple[int, Time]] = field(default_factory=list)

    def batch_done(self) -> None:
        """Record the end of a training batch."""
        self.batches[-1].append(now())

    def epoch_done(self) -> None:
        """Record that an epoch is validated and kept."""
        self.epochs.append(now())
        self.batches.append([])

    def predicted(self, done: int) -> None:
        """Record that `done` pictures are predicted on."""
        self.pictures.append((done, now()))

    def training(self, epochs: int) -> Rates:
        """Training pictures a second.

        epochs  from the end of the first epoch, validated and kept, to that of the last: set-up is left out
        steps   from the end of each epoch's first batch to the end of its last: validating and keeping too are
        """
        rounds = self.batches[:epochs]
        count, size = len(rounds[0]), TRAIN / len(rounds[0])
        steps = [sum(done[-1][k] - done[0][k] for done in rounds) for k in range(2)]
        return {
            "epochs": _each(TRAIN * (epochs - 1), self.epochs[0], self.epochs[epochs - 1]),
            "steps": (size * (count - 1) * epochs / steps[0], size * (count - 1) * epochs / steps[1]),
        }

    def predicting(self) -> Rates:
        """Pictures a second after the first batch."""
        (first, start), (last, end) = self.pictures[0], self.pictures[-1]
        return {"predict": _each(last - first, start, end)}


def _each(pictures: float, start: Time, end: Time) -> Time:
    return pictures / (end[0] - start[0]), pictures / (end[1] - start[1])


class Timed(Watching):
    """The worker's own watch, judging and keeping as it does; every epoch is called the best, so each is written."""

    def __init__(self, out: Path, clock: Clock) -> None:
        super().__init__(io.BytesIO(), out)
        self.clock = clock

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        """See `Watching`."""
        super().batch(done, of, loss)
        if self.truth is None:
            self.clock.predicted(done)
        else:
            self.clock.batch_done()

    def epoch(self, number: int, loss: float, validation: Predictions) -> Epoch:
        """See `Watching`."""
        return Epoch(score=super().epoch(number, loss, validation).score, best=True, stop=False)

    def keep(self, state: Any, best: Any) -> Path:
        """See `Watching`."""
        kept = super().keep(state, best)
        self.clock.epoch_done()
        return kept


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


def through_us(job: TrainJob, root: Path, out: Path, clock: Clock, checkpoint: Path | None) -> None:
    """Training through the adapter, or, with a checkpoint, predicting."""
    from defect_detect import backends
    from defect_detect.data import coco

    backend, watch = backends.load(job.framework), Timed(out, clock)
    if checkpoint is None:
        val = coco.load(root, "val")
        watch.watch(job, val, {})
        backend.train(job, train=coco.load(root, "train"), val=val.without_truth(), out=out, watch=watch)
        return
    batch = direct.AT_ONCE[job.framework]
    test = coco.load(root, "test").without_truth()
    backend.predict(job, checkpoint, test, device="cpu", batch=batch, watch=watch)


def directly(job: TrainJob, root: Path, out: Path, clock: Clock, checkpoint: Path | None) -> None:
    """The same by the framework itself."""
    if checkpoint is None:
        direct.train(job, root, out, clock.batch_done, clock.epoch_done)
    else:
        direct.predict(job, root, checkpoint, clock.predicted)


def measured(work: Callable[..., None], job: TrainJob, root: Path, checkpoint: Path | None) -> Rates:
    """Pictures a second, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(work, job, root, checkpoint, theirs))
    process.start()
    theirs.close()
    rates: Rates = mine.recv()
    process.join()
    return rates


def _measure(work: Callable[..., None], job: TrainJob, root: Path, checkpoint: Path | None, answer: Connection) -> None:
    direct.start(job.framework)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        warnings.simplefilter("ignore")
        clock = Clock()
        work(job, root, Path(folder), clock, checkpoint)
    assert torch.get_num_threads() == 1
    answer.send(clock.training(job.settings.epochs) if checkpoint is None else clock.predicting())


def trained(job: TrainJob, root: Path, folder: Path) -> Path:
    """A checkpoint of the adapter's, made in a process of its own: both sides predict with its weights."""
    out = folder / job.detector
    out.mkdir()
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(job, root, out))
    process.start()
    process.join()
    return out / "checkpoint.pt"


def _train(job: TrainJob, root: Path, out: Path) -> None:
    direct.start(job.framework)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        through_us(job, root, out, Clock(), None)


def compared(job: TrainJob, root: Path, pairs: int, folder: Path) -> bool:
    """Measure `pairs` pairs and print them; whether both median ratios are at least WANTED."""
    print(f"\n{job.detector} ({job.framework}), {TRAIN} pictures x {job.settings.epochs} epochs, {TEST} predicted on")
    print(f"{'':10}{'training: ours, direct':>24}  ratio  steps   {'predicting: ours, direct':>24}  ratio", flush=True)
    checkpoint, ratios = trained(job, root, folder), []
    for pair in range(pairs):
        order = (through_us, directly) if pair % 2 == 0 else (directly, through_us)
        told: dict[str, dict[str, float]] = {}
        for work in order:
            both = measured(work, job, root, None) | measured(work, job, root, checkpoint)
            told[work.__name__] = {name: rate[1] for name, rate in both.items()}
        own, peer = told["through_us"], told["directly"]
        ratio = [own[part] / peer[part] for part in ("epochs", "steps", "predict")]
        ratios.append(ratio)
        print(
            f"  pair {pair + 1:2} {own['epochs']:12.2f}{peer['epochs']:12.2f} {ratio[0]:7.3f}{ratio[1]:7.3f}"
            f"   {own['predict']:12.2f}{peer['predict']:12.2f} {ratio[2]:7.3f}",
            flush=True,
        )
    columns = list(zip(*ratios, strict=True))
    for name, of in (("median", statistics.median), ("least", min), ("most", max)):
        row = [of(column) for column in columns]
        print(f"  {name:8}{'':25} {row[0]:7.3f}{row[1]:7.3f}   {'':24} {row[2]:7.3f}", flush=True)
    return all(statistics.median(columns[k]) >= WANTED for k in (0, 2))


def jobs(frameworks: Sequence[str], epochs: int, only: str) -> list[TrainJob]:
    made = []
    for framework in frameworks:
        for name, same in CONFIGURED[framework]:
            if only not in name:
                continue
            read = config.read(CONFIGS / name, [f"epochs={epochs}", *COMMON, *same])
            made.append(
                TrainJob(
                    detector=f"{read.name} {read.model}", framework=framework, model=read.model, dataset="", seed=0,
                    settings=read.settings, options=read.options,
                )
            )  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--frameworks", nargs="+", choices=CONFIGURED, default=list(CONFIGURED))
    parser.add_argument("--only", default="", metavar="TEXT", help="configs whose path has this in it")
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs takes at least 2: the first is not counted")
    # Both sides as a worker is started: its threads, and what it asks of the C library.
    os.environ.update(runner.scrubbed(1))
    here = [name for name in arguments.frameworks if importlib.util.find_spec(name)]
    print("absent here:", ", ".join(sorted(set(arguments.frameworks) - set(here))) or "none")
    versions = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy", *here)}
    print({"python": platform.python_version(), **versions}, "1 thread, pictures a CPU second, ratios ours / direct")
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder))
        fair = [
            compared(job, root, arguments.pairs, Path(folder)) for job in jobs(here, arguments.epochs, arguments.only)
        ]
    if not all(fair):
        raise SystemExit(f"a median ratio is below {WANTED}")


if __name__ == "__main__":
    main()
