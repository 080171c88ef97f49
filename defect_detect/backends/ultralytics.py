"""YOLO by ultralytics: detection, and instance segmentation where the dataset has masks.

ultralytics trains; what it sees (our arrays), how each epoch is judged (the watch), what is kept (one
checkpoint without code) and how predictions are made are ours, so that they are the same for every
framework. `_ultralytics/` holds the parts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._ultralytics import detecting, environment, network, options, training, weights
from defect_detect.errors import DefectDetectError, Fault, RunFailed, Unsupported
from defect_detect.job import Epoch, PredictOutcome, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions

requires = ("ultralytics>=8.4,<9", "torch>=2.5", "torchvision>=0.20", "opencv-python")

models = MappingProxyType({
    f"{family}{scale}": Capabilities(family="yolo", masks=True, pretrained=True)
    for family in ("yolo11", "yolo26", "yolov8")
    for scale in "nsm"
})  # fmt: skip

_CHECKPOINT = "checkpoint.pt"


def train(job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
    """Train as `backends.Backend` says; nothing but the checkpoint stays in `out`.

    Crowd and ignored ground truth isn't taught, so its place counts as background. Defects under 2 px
    at the network's scale are dropped by ultralytics' augmentation.
    """
    _known(job)
    threads = environment.start(job.settings.threads)
    device = environment.device(job.settings.device)
    task = job.options.get("task") or ("segment" if train.has_masks else "detect")
    if task == "segment" and not train.has_masks:
        found = "segment for a dataset without masks"
        raise Unsupported(Fault(where="options.task", expected="detect", found=found))
    names = [category.name for category in train.categories]
    if job.settings.workers and device == "cpu":
        print("ultralytics loads pictures in the training process on a CPU; `workers` has no effect")  # noqa: T201  the log
    seen: set[str] = set()
    with _scratch(out) as folder, _translated("training"):
        arguments = options.arguments(job, task=task, folder=folder, device=device)
        size = 0

        def judge(number: int, loss: float, averaged: Any) -> Epoch:
            said, _ = _detect(job, averaged, val, size=size, task="detect", device=device, batch=job.settings.batch)
            verdict = watch.epoch(number, loss, said)
            if verdict.best:
                saved = network.Saved(model=job.model, task=task, names=names, image_size=size)
                network.save(out / _CHECKPOINT, averaged, saved)
            return verdict

        trainer = training.trainer(arguments, train=train, val=val, seen=seen, judge=judge, report=watch.batch)
        environment.use_threads(threads)
        size = detecting.padded(1, 1, job.settings.image_size)[0]
        trainer.model = network.build(job.model, task, names)
        suffix = "-seg" if task == "segment" else ""
        initial = weights.initialize(trainer.model, job.settings.weights, job.model + suffix)
        trainer.train()
        count = network.parameters(trainer.ema.ema)
    free = {str(train.root / name) for name, free in zip(train.images.file, train.defect_free, strict=True) if free}
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(seen),
        defect_free_seen=len(seen & free),
        parameters=count,
        initial_weights=initial,
        masks="regions" if task == "segment" else "none",
        deterministic=device == "cpu" and job.options.get("deterministic", True) is True,
    )


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """Predict as `backends.Backend` says; regions when the checkpoint is one of a segmentation model."""
    _known(job)
    environment.start(0)  # the prediction's own threads, by its environment
    where = environment.device(device)
    trained, saved = network.load(checkpoint)
    names = [category.name for category in data.categories]
    if (saved.model, saved.names) != (job.model, names):
        msg = f"{checkpoint} is of {saved.model} for {saved.names}, not of {job.model} for {names}"
        raise RunFailed(msg)
    choice = options.suppression(job.options)
    trained.end2end = choice["nms"] is False
    end2end = bool(trained.end2end)
    trained.fuse(verbose=False)
    trained.to(where)
    of = len(data.images)
    with _translated("prediction"):
        said, seconds = _detect(
            job, trained, data, size=saved.image_size, task=saved.task, device=where, batch=batch,
            done=lambda number: watch.batch(number, of),
        )  # fmt: skip
    words = f"long side {saved.image_size}, padded to multiples of 32"
    return said, PredictOutcome(nms_iou=None if end2end else choice["iou"], input_size=words, latency=seconds)


def _detect(
    job: TrainJob, trained: Any, data: Dataset, *, size: int, task: str, device: str, batch: int, done: Any = None
) -> tuple[Predictions, list[float]]:
    choice = options.suppression(job.options)
    trained.end2end = choice["nms"] is False
    trained.set_head_attr(max_det=job.settings.max_detections, agnostic_nms=choice["agnostic_nms"])
    return detecting.detect(
        trained, data, image_size=size, floor=job.settings.score_floor, cap=job.settings.max_detections,
        iou=choice["iou"], agnostic_nms=choice["agnostic_nms"], device=device, batch=batch,
        masks=task == "segment", done=done or (lambda _: None),
    )  # fmt: skip


def _known(job: TrainJob) -> None:
    if job.model not in models:
        raise Unsupported(Fault(where="model", expected=" | ".join(models), found=repr(job.model)))


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder in the run folder for what ultralytics can't be kept from writing; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".ultralytics_", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except DefectDetectError:
        raise
    except Exception as error:
        hint = " Try a smaller `batch` or `image_size`." if "out of memory" in str(error).lower() else ""
        raise RunFailed(f"{what} by ultralytics failed: {type(error).__name__}: {error}{hint}") from error
