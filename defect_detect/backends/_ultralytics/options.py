"""Our settings and the user's options as ultralytics' own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defect_detect.errors import ConfigError, Fault, did_you_mean
from defect_detect.job import TrainJob

_SETTING = {
    "epochs": "epochs", "time": "epochs", "imgsz": "image_size", "batch": "batch", "lr0": "learning_rate",
    "pretrained": "weights", "model": "model", "patience": "patience", "device": "device", "amp": "amp",
    "workers": "workers", "seed": "seed", "conf": "score_floor", "max_det": "max_detections",
}  # fmt: skip
"""ultralytics' argument: the setting of ours that speaks for it."""

_OURS = {
    "data": "the dataset is the job's", "split": "the splits are the dataset's", "mode": "the job decides",
    "fraction": "all training images are seen", "single_cls": "classes stay apart", "classes": "all classes are kept",
    "resume": "a training is run whole", "cfg": "options are given here", "source": "the job decides",
    "project": "the run folder is the job's", "name": "the run folder is the job's", "plots": "the report draws",
    "exist_ok": "the run folder is the job's", "save_dir": "the run folder is the job's", "save": "the best epoch is",
    "save_period": "the best epoch is saved", "val": "every epoch is judged", "format": "nothing is exported",
}  # fmt: skip
"""Arguments that would break a promise of every backend, and which."""

_PREDICTION = {"iou": 0.7, "nms": None, "agnostic_nms": False}


def arguments(job: TrainJob, *, task: str, folder: Path, device: str, at_once: int | None = None) -> dict[str, Any]:
    """The training arguments of ultralytics for `job`; `folder` is where it may write.

    `at_once`: images that the network sees at once, where that is fewer than the batch. The optimizer
    then steps as often, and its weights decay as much.

    Raises:
        ConfigError: an option that is unknown, that a setting speaks for, or that ultralytics refuses.
    """
    from ultralytics.cfg import get_cfg
    from ultralytics.utils import DEFAULT_CFG_DICT

    faults = _faults(job.options, DEFAULT_CFG_DICT)
    settings = job.settings
    chosen: dict[str, Any] = {
        "task": task, "mode": "train", "model": f"{job.model}.yaml", "save_dir": str(folder), "plots": False,
        "save": False, "val": True, "epochs": settings.epochs, "imgsz": settings.image_size, "batch": settings.batch,
        "seed": job.seed, "deterministic": True, "device": device.removeprefix("cuda:"), "workers": settings.workers,
        # bf16 needs no loss scaling; for fp16 ultralytics first downloads a model to try it on
        "amp": "bf16" if settings.amp and device != "cpu" else False,
        "patience": 0,  # ours decides
    }  # fmt: skip
    if settings.learning_rate is not None:
        if job.options.get("optimizer", "AdamW") == "auto":
            found = f"optimizer: auto, which ignores learning_rate {settings.learning_rate}"
            faults.append(Fault(where="options.optimizer", expected="a named optimizer", found=found))
        # what `auto` takes for trainings of up to 10,000 steps, but at the given rate
        chosen |= {"lr0": settings.learning_rate, "optimizer": "AdamW", "momentum": 0.9, "warmup_bias_lr": 0.0}
    if faults:
        raise ConfigError(*faults)
    chosen |= {name: value for name, value in job.options.items() if name != "task"}
    if at_once is not None and at_once < settings.batch:
        known = {**DEFAULT_CFG_DICT, **chosen}
        # ultralytics adds gradients up until `nbs` images are reached, in whole batches
        together = settings.batch * max(round(known["nbs"] / settings.batch), 1)
        decay = known["weight_decay"] * together / known["nbs"]
        chosen |= {"batch": at_once, "nbs": together, "weight_decay": decay}
    try:
        get_cfg(overrides=dict(chosen))
    except (TypeError, ValueError, SyntaxError) as error:
        raise ConfigError(
            Fault(where="settings and options", expected="what ultralytics takes", found=str(error))
        ) from error
    return chosen


def suppression(options: Mapping[str, Any]) -> dict[str, Any]:
    """`iou`, `nms` and `agnostic_nms` of prediction; `nms: false` asks for the NMS-free head where there is one."""
    return {name: options.get(name, default) for name, default in _PREDICTION.items()}


def _faults(options: Mapping[str, Any], known: Mapping[str, Any]) -> list[Fault | str]:
    faults: list[Fault | str] = []
    for name, value in options.items():
        where = f"options.{name}"
        if name in _SETTING:
            fix = f"Use the setting {_SETTING[name]}."
            faults.append(Fault(where=where, expected="no option for what a setting says", found=repr(value), fix=fix))
        elif name in _OURS:
            faults.append(Fault(where=where, expected=f"to be left alone ({_OURS[name]})", found=repr(value)))
        elif name not in known:
            fix = did_you_mean(name, known)
            faults.append(Fault(where=where, expected="an argument of ultralytics", found=repr(name), fix=fix))
        elif name == "task" and value not in ("detect", "segment"):
            faults.append(Fault(where=where, expected="detect | segment", found=repr(value)))
        elif name == "cache" and value == "disk":
            found = "'disk', which writes .npy files beside the user's pictures"
            faults.append(Fault(where=where, expected="ram | false", found=found))
    return faults
