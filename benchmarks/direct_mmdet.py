"""mmdet by its own means, with the settings of a job: the peer of `throughput.py` for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from defect_detect.job import TrainJob


def train(job: TrainJob, root: Path, out: Path, batch_done: Callable[[], None], epoch_done: Callable[[], None]) -> None:
    """Train by `mmengine.runner.Runner` on COCO files: all pictures, validation and a checkpoint after each epoch.

    The network is the one that our adapter builds: mmdet's own SSD can't predict (mmdetection#11063).
    """
    import json

    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from defect_detect.backends._mmdet import configs

    names = [category["name"] for category in json.loads((root / "train.json").read_text())["categories"]]
    plan, settings = configs.plan(job, classes=len(names)), job.settings

    class Marks(Hook):  # type: ignore[misc]  # mmengine is untyped
        priority = "LOWEST"

        def after_train_iter(self, *_: Any, **__: Any) -> None:
            batch_done()

        def after_val_epoch(self, *_: Any, **__: Any) -> None:
            epoch_done()

    def loader(split: str, steps: list[Any]) -> dict[str, Any]:
        picture = {"type": "LoadImageFromFile"}
        pipeline = [picture if step["type"] == "LoadDefectPicture" else dict(step) for step in steps]
        return {
            "batch_size": settings.batch if split == "train" else 1, "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": split == "train"},
            "dataset": {
                "type": "CocoDataset", "ann_file": str(root / f"{split}.json"),
                "data_prefix": {"img": str(root / "images")}, "metainfo": {"classes": tuple(names)},
                "filter_cfg": {"filter_empty_gt": False}, "pipeline": pipeline,
                "test_mode": split != "train",
            },
        }  # fmt: skip

    batches = -(-len(json.loads((root / "train.json").read_text())["images"]) // settings.batch)
    Runner(
        model=plan.model, work_dir=str(out / "work"), train_dataloader=loader("train", plan.train),
        val_dataloader=loader("val", plan.test),
        val_evaluator={"type": "CocoMetric", "ann_file": str(root / "val.json"),
                       "metric": ["bbox", "segm"] if plan.masks else "bbox"},
        train_cfg={"type": "EpochBasedTrainLoop", "max_epochs": settings.epochs, "val_interval": 1},
        val_cfg={"type": "ValLoop"}, optim_wrapper=configs.optimizer(plan.rest, settings, on_cpu=True),
        param_scheduler=configs.schedule(plan.rest, epochs=settings.epochs, batches=batches),
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}}, custom_hooks=[Marks()],
        default_scope="mmdet", randomness={"seed": job.seed, "deterministic": True}, experiment_name="direct",
    ).train()  # fmt: skip


def predict(job: TrainJob, files: list[str], names: list[str], checkpoint: Path, done: Callable[[int], None]) -> None:
    """`inference_detector` on one file after the other."""
    from mmdet.apis import inference_detector
    from mmengine.config import Config

    from defect_detect.backends._mmdet import weights

    network, steps, *_ = weights.restore(checkpoint, job, names=names)
    pipeline = [{"type": "LoadImageFromFile"}, *steps[1:]]
    network.cfg = Config({"test_dataloader": {"dataset": {"pipeline": pipeline}}})
    network.eval()
    from mmcv.transforms import Compose

    composed = Compose(pipeline)
    for count, file in enumerate(files, start=1):
        inference_detector(network, file, test_pipeline=composed)
        done(count)
