"""mmdet's own config, with the job laid over it by mmengine's own means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defect_detect.backends._mmdet import consent, named
from defect_detect.errors import ConfigError, Fault, Unsupported
from defect_detect.job import Settings, TrainJob

ZOO = {
    "ssd300": "ssd/ssd300_coco.py",
    "ssd512": "ssd/ssd512_coco.py",
    "ssdlite320": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
    "mask_rcnn_r50_fpn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn_r101_fpn": "mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py",
}
OPTIONS = ("config", "override")
_USED = (
    "model", "train_dataloader", "test_dataloader", "optim_wrapper", "param_scheduler", "auto_scale_lr", "train_cfg",
    "custom_hooks", "env_cfg", "log_processor",
)  # fmt: skip
"""What of a config is used, and so may be overridden; the job and the watch stand for the rest."""
_FILES = ("LoadImageFromFile", "LoadImageFromNDArray")
_WARMUP_SHARE = 5
"""A warm-up counted in iterations takes at most a fifth of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job asks of mmdet.

    model     the network's own config, with our classes, floor and cap
    train     the training pipeline; test  the prediction pipeline (without truth)
    rest      the whole config, for the runner
    masks     whether the network has a mask branch
    nms_iou   IoU of the last suppression; None: there is none
    """

    model: Any
    train: list[Any]
    test: list[Any]
    rest: Any
    masks: bool
    nms_iou: float | None


def plan(job: TrainJob, *, classes: int) -> Plan:
    """Read the config that the job names and lay the job over it.

    Raises:
        ConfigError: no such config, one that isn't trusted, or an override that doesn't fit or brings code.
        Unsupported: an image size that the network isn't made for; options that aren't known; parts that a
            prediction could not be made with.
    """
    config = _read(job)
    model = config.model
    for part in _dicts(model):
        if "num_classes" in part:
            part["num_classes"] = classes
        if part.get("type") in ("SSDHead", "SSDNeck"):
            part["type"] = f"Defect{part['type']}"
    if job.settings.weights == "none":
        _from_scratch(model)
    nms_iou = _limits(model, job)
    train, test = _pipeline(config.train_dataloader.dataset), _pipeline(config.test_dataloader.dataset)
    for steps in (train, test):
        _resize(steps, job.settings.image_size, config.filename)
    test[:] = [step for step in test if step["type"] != "LoadAnnotations"]
    shown = [config.to_dict()["model"], test]
    if (name := named.unknown(shown) or named.foreign(shown)) is not None:
        expected = "parts that mmdet, mmengine and mmcv register, and that run nothing they are told to"
        fix = "Predicting reads no config and imports no module of others: such a detector needs a backend of its own."
        raise Unsupported(Fault(where=f"options.config {config.filename}", expected=expected, found=name, fix=fix))
    masks = any(step.get("with_mask") for step in train if step["type"] == "LoadAnnotations")
    return Plan(model=model, train=train, test=test, rest=config, masks=masks, nms_iou=nms_iou)


def _read(job: TrainJob) -> Any:
    from mmengine.config import Config

    unknown = sorted(set(job.options) - set(OPTIONS))
    if unknown:
        found = ", ".join(unknown)
        fix = "What mmdet's config knows goes under options.override, with dotted keys."
        raise Unsupported(Fault(where="options", expected=" | ".join(OPTIONS), found=found, fix=fix))
    given = job.options.get("config") or ZOO.get(job.model)
    if given is None:
        fix = "Name a config of mmdet's zoo (retinanet/retinanet_r50_fpn_1x_coco.py) or the path of your own."
        raise ConfigError(
            Fault(where="options.config", expected="a config, since model is `config`", found="none", fix=fix)
        )
    override = dict(job.options.get("override") or {})
    idle = sorted({str(key) for key in override if str(key).partition(".")[0] not in _USED})
    if idle:
        fix = "Pipelines are under train_dataloader.dataset.pipeline and test_dataloader.dataset.pipeline."
        raise ConfigError(
            Fault(
                where="options.override", expected=", ".join(_USED), found=f"{', '.join(idle)}: not used here", fix=fix
            )
        )
    path = consent.find(given, job.settings.trust_config)
    try:
        config = Config.fromfile(path)
        before = config.to_dict()
        config.merge_from_dict(override)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise ConfigError(
            Fault(where=f"options.config {path}", expected="a config that mmengine can read", found=found)
        ) from error
    if (brought := named.brought(before, config.to_dict())) is not None:
        fix = "Put it into a config of your own, and name that under options.config."
        raise ConfigError(Fault(where="options.override", expected="parts of mmdet's own", found=brought, fix=fix))
    return config


def _from_scratch(model: Any) -> None:
    for part in _dicts(model):
        if (part.get("init_cfg") or {}).get("type") == "Pretrained":
            part["init_cfg"] = None
    # Frozen layers and frozen statistics are for weights that are worth keeping.
    for name, value in (("frozen_stages", -1), ("norm_eval", False)):
        if name in model.get("backbone", {}):
            model.backbone[name] = value


def _limits(model: Any, job: TrainJob) -> float | None:
    """Set the job's floor and cap wherever the last step of prediction has its own; its NMS' IoU."""
    test = model.get("test_cfg") or {}
    last = [part for part in _dicts(test) if "score_thr" in part]
    for part in last:
        part["score_thr"] = 0.0  # the floor itself is cut by us: mmdet keeps what is above, we from it on
        part["max_per_img"] = job.settings.max_detections
    # DETR and its kin: a fixed number of queries, no suppression
    if not last and "max_per_img" in test:
        test["max_per_img"] = job.settings.max_detections
    return suppression(model)


def suppression(model: Any) -> float | None:
    """The IoU of the last suppression of a network's config; None: there is none."""
    last = [part for part in _dicts(model.get("test_cfg") or {}) if "score_thr" in part]
    return (last[-1].get("nms") or {}).get("iou_threshold") if last else None


def _pipeline(dataset: Any) -> list[Any]:
    """The innermost dataset's pipeline, loading pictures in our way."""
    while "dataset" in dataset:
        if dataset["type"] == "MultiImageMixDataset":
            expected = "a config whose dataset gives one picture at a time"
            raise Unsupported(Fault(where="options.config", expected=expected, found="MultiImageMixDataset"))
        dataset = dataset["dataset"]
    return _loading(dataset["pipeline"])


def _loading(steps: Any) -> list[Any]:
    return [{"type": "LoadDefectPicture"} if step["type"] in _FILES else dict(step) for step in steps]


def _resize(steps: list[Any], side: int, config: str) -> None:
    """Scale the long side to `side` wherever the aspect ratio is kept; else the network's own size must be meant."""
    for step in _dicts(steps):
        if step.get("type") != "Resize" or "scale" not in step:
            continue
        if step.get("keep_ratio"):
            step["scale"] = (side, side)
        elif tuple(step["scale"]) != (side, side):
            fixed = max(step["scale"])
            raise Unsupported(
                Fault(
                    where="image_size", expected=f"{fixed}: {Path(config).name} is made for {fixed} px",
                    found=str(side), fix=f"Set image_size={fixed}",
                )
            )  # fmt: skip


def optimizer(config: Any, settings: Settings, *, on_cpu: bool) -> dict[str, Any]:
    """The config's optimizer with the job's learning rate, or with its own scaled to the batch.

    By `auto_scale_lr`, as mmengine's `Runner.scale_lr`: the zoo's rates are for 8 GPUs.
    """
    found = dict(config.optim_wrapper)
    inner, scale = dict(found["optimizer"]), config.get("auto_scale_lr") or {}
    if settings.learning_rate is not None:
        inner["lr"] = settings.learning_rate
    elif "base_batch_size" in scale and "lr" in inner:
        inner["lr"] *= settings.batch / scale["base_batch_size"]
    if on_cpu and found.get("type") == "AmpOptimWrapper":  # mixed precision is for GPUs
        found = {name: found[name] for name in found if name not in ("loss_scale", "dtype", "use_fsdp")}
        found["type"] = "OptimWrapper"
    elif settings.amp and not on_cpu:
        found["type"] = "AmpOptimWrapper"
    return {**found, "optimizer": inner}


def schedule(config: Any, *, epochs: int, batches: int) -> list[dict[str, Any]]:
    """The config's learning rate schedule, stretched from its own number of epochs to `epochs`."""
    native = config.train_cfg.get("max_epochs") or epochs
    found = []
    for given in config.get("param_scheduler") or []:
        step = dict(given)
        by_epoch = step.get("by_epoch", True)
        for name in ("begin", "end", "T_max", "step_size"):
            if name in step:
                step[name] = _stretched(step[name], native, epochs) if by_epoch else step[name]
        if by_epoch and "milestones" in step:
            step["milestones"] = sorted({_stretched(at, native, epochs) for at in step["milestones"]})
        if not by_epoch and "end" in step:
            step["end"] = max(1, min(step["end"], epochs * batches // _WARMUP_SHARE))
        found.append(step)
    return found


def hooks(config: Any) -> list[Any]:
    """The config's own hooks; pipelines that they switch to load pictures in our way too."""
    found = [dict(hook) for hook in config.get("custom_hooks") or []]
    for hook in found:
        if "switch_pipeline" in hook:
            hook["switch_pipeline"] = _loading(hook["switch_pipeline"])
    return found


def input_size(steps: Any) -> str:
    """What a prediction pipeline makes of pictures, in words."""
    for step in _dicts(list(steps)):
        if step.get("type") == "Resize" and "scale" in step:
            side = max(step["scale"])
            return f"long side {side}" if step.get("keep_ratio") else f"stretched to {side} x {side}"
    return "as they are"


def _stretched(at: int, native: int, epochs: int) -> int:
    return max(0, round(at * epochs / native))


def _dicts(value: Any) -> Iterator[Any]:
    """All mappings within, the outer before the inner."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _dicts(inner)
