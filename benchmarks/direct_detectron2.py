"""detectron2 by its own means, with the settings of a job: the peer of `throughput.py` for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from defect_detect.job import TrainJob


def train(job: TrainJob, root: Path, out: Path, batch_done: Callable[[], None], epoch_done: Callable[[], None]) -> None:
    """`DefaultTrainer` on COCO files: all pictures, `COCOEvaluator` and a checkpoint after each epoch's batches."""
    from detectron2.data.datasets import register_coco_instances
    from detectron2.engine import DefaultTrainer, HookBase
    from detectron2.evaluation import COCOEvaluator

    content = json.loads((root / "train.json").read_text())
    cfg = _config(job, len(content["categories"]), len(content["images"]))
    for split in ("train", "val"):
        register_coco_instances(f"direct_{split}", {}, str(root / f"{split}.json"), str(root / "images"))
    batches = -(-len(content["images"]) // job.settings.batch)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("direct_train",), ("direct_val",)
    cfg.OUTPUT_DIR = str(out)
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER = job.settings.batch, batches * job.settings.epochs
    cfg.SOLVER.CHECKPOINT_PERIOD = cfg.TEST.EVAL_PERIOD = batches
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SEED = job.seed

    class Trainer(DefaultTrainer):  # type: ignore[misc]  # detectron2 is untyped here
        @classmethod
        def build_evaluator(cls, cfg: Any, dataset_name: str) -> Any:
            return COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)

    class Batches(HookBase):  # type: ignore[misc]  # detectron2 is untyped here
        def after_step(self) -> None:
            batch_done()

    class Epochs(HookBase):  # type: ignore[misc]  # detectron2 is untyped here
        def after_step(self) -> None:
            if (self.trainer.iter + 1) % batches == 0:
                epoch_done()

    trainer = Trainer(cfg)
    hooks = list(trainer._hooks)  # noqa: SLF001  the first must come before its evaluation
    trainer._hooks = []  # noqa: SLF001
    trainer.register_hooks([Batches(), *hooks, Epochs()])
    trainer.train()


def predict(job: TrainJob, files: list[str], names: list[str], checkpoint: Path, done: Callable[[int], None]) -> None:
    """`DefaultPredictor` on one picture after the other."""
    import cv2
    import torch
    from detectron2.engine import DefaultPredictor

    cfg = _config(job, len(names), 1)
    cfg.DATASETS.TEST = ()
    predictor = DefaultPredictor(cfg)
    predictor.model.load_state_dict(torch.load(checkpoint, weights_only=True)["state"])
    for count, file in enumerate(files, start=1):
        predictor(cv2.imread(file))
        done(count)


def _config(job: TrainJob, classes: int, images: int) -> Any:
    from defect_detect.backends._detectron2 import configs

    return configs.plan(job, classes=classes, regions=True, device="cpu", images=images).cfg.clone()
