"""A framework tried for real: trained and asked through its own worker, as in a comparison, on four small pictures."""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from defect_detect import backends, job, runner, space
from defect_detect.errors import DefectDetectError, WorkerDied

LIMIT = 300.0
"""Seconds that a training or a prediction of the trial gets."""
_SIDE = 64
_SMALL_HEADS: Mapping[str, Any] = {
    "layers": [1, 2, 3], "fpn_channels": 32, "box_head": 64, "mask_layers": [16],
    "anchor_sizes": [[8], [16], [32], [64]],
}  # fmt: skip
_OPTIONS: Mapping[tuple[str, str], Mapping[str, Any]] = MappingProxyType({
    ("torchvision", "mask_rcnn_r18_fpn"): {"model": _SMALL_HEADS},
    ("mmdet", "mask_rcnn_r50_fpn"): {"override": {
        "model.train_cfg.rpn_proposal.max_per_img": 50, "model.test_cfg.rpn.max_per_img": 50,
    }},
    ("detectron2", "mask_rcnn_r50_fpn"): {"override": {
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50, "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    }},
})  # fmt: skip
"""What makes a model quick to try; it works without."""
_SEED = 0
NOT_TRIED = "not tried"
"""How the reason begins where a part fails only because one before it did."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of trying one model: for each part, empty where it works, else why it doesn't."""

    model: str
    device: str
    training: str = ""
    prediction: str = ""
    masks: str | None = None
    """None: neither promised by the model nor tried."""
    seconds: float = 0.0

    def faults(self) -> dict[str, str]:
        """Why each part that doesn't work doesn't; empty: all works."""
        parts = {"training": self.training, "prediction": self.prediction, "masks": self.masks}
        return {part: why for part, why in parts.items() if why}


def pictures(folder: Path) -> Path:
    """Make the dataset of the trial in the existing `folder`: 4 pictures to train on, 2 each for val and test.

    Returns its root. Half of train shows no defect; defects have masks.
    """
    from defect_detect.data import demo
    from defect_detect.data.normalize import normalize

    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    return normalize(demo.generate(raw, images=8, size=_SIDE, seed=_SEED), images=None, out=folder / "dataset").root


def models(framework: str) -> tuple[str, ...]:
    """The models to try: the smallest, and the smallest that has masks."""
    known = backends.load(framework).models
    smallest = sorted(known, key=lambda model: space.MEGABYTES.get(model, math.inf))
    with_masks = [model for model in smallest if known[model].masks]
    return tuple(dict.fromkeys(smallest[:1] + with_masks[:1]))


def attempt(
    framework: str, model: str, root: Path, home: Path, *, python: Path | None = None, device: str = "auto",
    limit: float = LIMIT, report: runner.Report | None = None,
) -> Tried:  # fmt: skip
    """Train one epoch and predict with `model`, in the run folder `home`; never raises for what the framework does.

    `python`: the interpreter, where it is not the one that `runner` finds.
    """
    began = time.monotonic()
    training = job.TrainJob(
        detector="trial", framework=framework, model=model, dataset=os.path.relpath(root, home), seed=_SEED,
        settings=job.Settings(
            epochs=1, image_size=_side(model), batch=2, weights="none", patience=1, device=device, threads=_threads(),
        ),
        options=dict(_OPTIONS.get((framework, model), {})),
    )  # fmt: skip
    target = home / "predictions" / "test"
    asking = job.PredictJob(
        trained="../..", dataset=os.path.relpath(root, target), split="test", device=device, threads=_threads(), batch=2
    )
    masked = backends.load(framework).models[model].masks
    said = dict.fromkeys(("training", "prediction"), "")
    done: job.Trained | job.Predicted | None = None
    for part, folder, wanted in (("training", home, training), ("prediction", target, asking)):
        folder.mkdir(parents=True, exist_ok=True)
        result = _within(limit, folder, wanted, framework, python=python, report=report)
        if isinstance(result, str):
            said[part] = result
            break
        done = done or result
    if said["training"]:
        said["prediction"] = f"{NOT_TRIED}: it takes a training first"
    return Tried(
        model=model, device=device, **said, masks=_masks(done, target, said) if masked else None,
        seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip


def _within(
    limit: float, folder: Path, wanted: job.Job, framework: str, *, python: Path | None, report: runner.Report | None
) -> job.Trained | job.Predicted | str:
    """The result, or why there is none."""
    workers, late = runner.Workers(), threading.Event()

    def give_up() -> None:
        late.set()
        workers.end()

    timer = threading.Timer(limit, give_up)
    timer.daemon = True
    timer.start()
    try:
        return runner.execute(folder, wanted, framework=framework, python=python, workers=workers, report=report)
    except WorkerDied as error:
        return f"took longer than {limit:g} s and was ended" if late.is_set() else str(error)
    except DefectDetectError as error:
        return f"took longer than {limit:g} s and was ended" if late.is_set() else str(error)
    except OSError as error:
        return f"{error.strerror or error}: {error.filename or framework}"
    finally:
        timer.cancel()


def _masks(trained: job.Trained | job.Predicted | None, target: Path, said: Mapping[str, str]) -> str:
    if said["training"] or said["prediction"]:
        return f"{NOT_TRIED}: it takes a prediction first"
    if not isinstance(trained, job.Trained) or trained.outcome.masks != "regions":
        return "the masks of the dataset were not learned from"
    predicted = json.loads((target / "predictions.json").read_bytes())
    if any("segmentation" not in one for one in predicted):
        return "predictions came without masks"
    return ""


def _side(model: str) -> int:
    """Long side that pictures are scaled to, in px: few, but an SSD's name says what it is made for."""
    made_for = re.match(r"ssd[a-z]*(\d+)", model)
    return int(made_for[1]) if made_for else _SIDE


def _threads() -> int:
    return min(4, os.cpu_count() or 1)
