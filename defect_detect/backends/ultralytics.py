"""YOLO by ultralytics: detection, and instance segmentation where the dataset has masks.

ultralytics trains; what it sees (our arrays), how each epoch is judged (the watch), what is kept (one
checkpoint without code) and how predictions are made are ours, so that they are the same for every
framework. `_ultralytics/` holds the parts.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._failing import scratch, translated
from defect_detect.backends._memory import free, halved, predicting, ran_out
from defect_detect.backends._settled import device as device_of
from defect_detect.backends._ultralytics import (
    detecting,
    environment,
    network,
    options,
    progress,
    training,
    weights,
)
from defect_detect.backends._ultralytics.progress import Progress
from defect_detect.errors import Fault, RunFailed, Unsupported
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
    device = device_of(job.settings.device)
    task = job.options.get("task") or ("segment" if train.has_masks else "detect")
    if task == "segment" and not train.has_masks:
        found = "segment for a dataset without masks"
        raise Unsupported(Fault(where="options.task", expected="detect", found=found))
    if job.settings.workers and device == "cpu":
        print("ultralytics loads pictures in the training process on a CPU; `workers` has no effect")  # noqa: T201  the log
    now, start = Progress(at_once=job.settings.batch), watch.resume()
    if start is not None:
        now.of(progress.read(start.state))
        now.kept = start.state
    while start is None or not start.stop:
        with scratch(out, "ultralytics") as folder, translated("training", "ultralytics"):
            trainer = _trainer(job, now, train=train, val=val, watch=watch, task=task, folder=folder, device=device)
            environment.use_threads(threads)
            full = _until_memory_runs_out(trainer)
        if full is None:
            break
        del trainer
        record = halved(job.settings, at_once=now.at_once, least=1, epoch=full[0], step=full[1])
        now.halved.append(record)
        now.at_once = record.batch
        free()
    watch.deliver(out / _CHECKPOINT)
    sound = {name for name, good in zip(train.images.file, train.defect_free, strict=True) if good}
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(now.seen),
        defect_free_seen=len(now.seen & sound),
        parameters=now.parameters,
        initial_weights=now.initial,
        masks="regions" if task == "segment" else "none",
        deterministic=device == "cpu" and job.options.get("deterministic", True) is True,
        halved=now.halved,
    )


def _trainer(
    job: TrainJob, now: Progress, *, train: Dataset, val: Dataset, watch: Watch, task: str, folder: Path, device: str
) -> Any:
    """The trainer of ultralytics, about to begin or to go on from the state that was kept last."""
    names = [category.name for category in train.categories]
    size = detecting.padded(1, 1, job.settings.image_size)[0]
    saved = network.Saved(model=job.model, task=task, names=names, image_size=size)
    arguments = options.arguments(job, task=task, folder=folder, device=device, at_once=now.at_once)
    content = None if now.kept is None else progress.read(now.kept)

    def judge(number: int, loss: float, trainer: Any) -> Epoch:
        averaged = trainer.ema.ema
        said, _ = _detect(job, averaged, val, size=size, task="detect", device=device, batch=now.at_once)
        verdict = watch.epoch(number, loss, said)
        now.parameters = network.parameters(averaged)
        now.kept = watch.keep(
            lambda file: progress.write(file, now, trainer),
            (lambda file: network.write(file, averaged, saved)) if verdict.best else None,
        )
        return verdict

    trainer = training.trainer(arguments, train=train, val=val, now=now, start=content, judge=judge, report=watch.batch)
    trainer.model = network.build(job.model, task, names)
    if content is None:
        suffix = "-seg" if task == "segment" else ""
        now.initial = weights.initialize(
            trainer.model, job.settings.weights, job.model + suffix, job.settings.trust_checkpoint
        )
    else:
        network.widen_head(trainer.model, content["network"])
    return trainer


def _until_memory_runs_out(trainer: Any) -> tuple[int, int] | None:
    """Train; the epoch and the batch, 0 in validation, that memory ran out in, None when it did not."""
    try:
        trainer.train()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return getattr(trainer, "epoch", 0) + 1, trainer.number
    return None


def fetch(job: TrainJob, *, masks: bool) -> None:
    """Bring the pretrained weights that the job starts from to where `train` finds them.

    Raises:
        FrameworkMissing: they can't be had.
    """
    _known(job)
    environment.start(job.settings.threads)
    task = job.options.get("task") or ("segment" if masks else "detect")
    weights.fetch(f"{job.model}{'-seg' if task == 'segment' else ''}.pt")


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """Predict as `backends.Backend` says; regions when the checkpoint is one of a segmentation model."""
    _known(job)
    environment.start(0)  # the prediction's own threads, by its environment
    import torch

    where = device_of(device)
    trained, saved = network.load(checkpoint)
    names = [category.name for category in data.categories]
    if (saved.model, saved.names) != (job.model, names):
        msg = f"{checkpoint} is of {saved.model} for {saved.names}, not of {job.model} for {names}"
        raise RunFailed(msg)
    choice = options.suppression(job.options)
    trained.end2end = choice["nms"] is False
    end2end = bool(trained.end2end)
    trained.fuse(verbose=False)
    # As its own predictor has it: convolutions on a CPU ran 20 % faster.
    trained.to(where, memory_format=torch.channels_last)
    of = len(data.images)
    with translated("prediction", "ultralytics"):
        (said, seconds), smaller = predicting(
            job.settings, batch,
            lambda at_once: _detect(
                job, trained, data, size=saved.image_size, task=saved.task, device=where, batch=at_once,
                done=lambda number: watch.batch(number, of),
            ),
        )  # fmt: skip
    words = f"long side {saved.image_size}, padded to multiples of 32"
    nms_iou = None if end2end else choice["iou"]
    return said, PredictOutcome(nms_iou=nms_iou, input_size=words, latency=seconds, halved=smaller)


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
