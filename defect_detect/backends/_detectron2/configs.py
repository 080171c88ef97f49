"""detectron2's own config, with the job laid over it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from defect_detect.backends._detectron2 import config_files
from defect_detect.errors import ConfigError, Fault, RunFailed, Unsupported, did_you_mean
from defect_detect.job import Settings, TrainJob

ZOO: Mapping[str, str] = {
    "mask_rcnn_r50_fpn": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
    "mask_rcnn_r101_fpn": "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml",
    "faster_rcnn_r50_fpn": "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml",
}
OPTIONS = ("config", "override")
_KNOWN: Mapping[str, tuple[Any, ...]] = {
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "RetinaNet"),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads"),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": (False,),
    "MODEL.KEYPOINT_ON": (False,),
    "MODEL.LOAD_PROPOSALS": (False,),
    "INPUT.FORMAT": ("BGR", "RGB"),
    "DATALOADER.SAMPLER_TRAIN": ("TrainingSampler",),
    "TEST.AUG.ENABLED": (False,),
    "TEST.PRECISE_BN.ENABLED": (False,),
}
"""What can be trained and compared here; other values ask for truth or a training that there is not."""
_MOST = 10_000
"""Values in a config; detectron2's own have about 300."""
_WARMUP_SHARE = 5
"""A warm-up takes at most a fifth of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job asks of detectron2.

    cfg    its whole config, with our classes, floor and cap
    zoo    the zoo's name of the config that it comes from; None: a user's own
    masks  whether the network has a mask branch
    """

    cfg: Any
    zoo: str | None
    masks: bool


def plan(job: TrainJob, *, classes: int, regions: bool, device: str, images: int) -> Plan:
    """Read the config that the job names and lay the job over it.

    `regions`: whether there are masks to learn from; without, the network has no mask branch.

    Raises:
        ConfigError: no such config, or overrides that don't fit; all of them.
        Unsupported: a network that can't be trained on boxes and masks alone; options that aren't known.
    """
    cfg, path = _read(job)
    check(cfg)
    settings = job.settings
    cfg.MODEL.DEVICE = device
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.RETINANET.NUM_CLASSES = classes
    cfg.MODEL.MASK_ON = bool(cfg.MODEL.MASK_ON and regions and cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN")
    cfg.INPUT.MASK_FORMAT = "bitmask"  # its polygons can't have holes
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = (settings.image_size,), "choice"
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TRAIN = cfg.INPUT.MAX_SIZE_TEST = settings.image_size
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    limit(cfg, settings)
    for part in _parts(cfg.MODEL):
        if part.get("NORM") == "SyncBN":
            part.NORM = "BN"  # one process has nothing to synchronize, and on a CPU it fails
    if settings.weights == "none":
        _from_scratch(cfg)
    _schedule(cfg, job, images=images)
    return Plan(cfg=cfg, zoo=config_files.zoo_name(path), masks=cfg.MODEL.MASK_ON)


def limit(cfg: Any, settings: Settings) -> None:
    """Put the job's floor and cap where detectron2 reads its own."""
    cfg.TEST.DETECTIONS_PER_IMAGE = settings.max_detections
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = cfg.MODEL.RETINANET.SCORE_THRESH_TEST = _below(settings.score_floor)


def text(cfg: Any) -> str:
    """The config as YAML of plain values, no value written as a reference to another, as detectron2's `dump` does."""
    return yaml.safe_dump(json.loads(json.dumps(cfg)))


def restored(text: str, *, device: str, path: Path) -> Any:
    """The config in a checkpoint: plain values that `check` lets pass.

    Raises:
        RunFailed: it is none.
    """
    from detectron2.config import CfgNode, get_cfg

    cfg = get_cfg()
    try:
        content = yaml.safe_load(text)
        if _size(content, {}) > _MOST:
            raise ValueError("more values than a config has")  # noqa: TRY301  told like what else may be wrong
        cfg.merge_from_other_cfg(CfgNode(content))
        check(cfg)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise RunFailed(f"{path} holds no config of detectron2's ({reason}); train the detector again") from error
    cfg.MODEL.DEVICE = device
    return cfg


def check(cfg: Any) -> None:
    """Raises `Unsupported` with all that can't be trained or compared here."""
    faults = []
    for name, known in _KNOWN.items():
        value: Any = cfg
        for step in name.split("."):
            value = value[step]
        if cfg.MODEL.META_ARCHITECTURE == "RetinaNet" and name.startswith(("MODEL.PROPOSAL", "MODEL.ROI")):
            continue
        if value not in known:
            expected = " | ".join(str(one) for one in known)
            fix = f"Where it goes without, set options.override: {{{name}: {known[0]}}}"
            faults.append(Fault(where=f"options: {name}", expected=expected, found=repr(value), fix=fix))
    if faults:
        raise Unsupported(*faults)


def suppression(cfg: Any) -> float:
    """IoU of the last suppression."""
    dense = cfg.MODEL.META_ARCHITECTURE == "RetinaNet"
    return float(cfg.MODEL.RETINANET.NMS_THRESH_TEST if dense else cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST)


def _read(job: TrainJob) -> tuple[Any, Path]:
    from detectron2.config import CfgNode, get_cfg

    unknown = sorted(set(job.options) - set(OPTIONS))
    if unknown:
        fix = "What detectron2's config knows goes under options.override, with dotted keys."
        raise Unsupported(Fault(where="options", expected=" | ".join(OPTIONS), found=", ".join(unknown), fix=fix))
    given, override = job.options.get("config") or ZOO.get(job.model), job.options.get("override") or {}
    if not isinstance(given, str):
        fix = "Name a config of detectron2's zoo (COCO-Detection/retinanet_R_50_FPN_1x.yaml) or the path of your own."
        expected, found = "a config, since model is `config`", "none" if given is None else repr(given)
        raise ConfigError(Fault(where="options.config", expected=expected, found=found, fix=fix))
    if not isinstance(override, Mapping):
        raise ConfigError(Fault(where="options.override", expected="a mapping of dotted keys", found=repr(override)))
    path = config_files.find(given)
    cfg = get_cfg()
    try:
        cfg.merge_from_other_cfg(CfgNode(config_files.content(path)))
    except (KeyError, ValueError, AssertionError, TypeError, AttributeError) as error:
        found = str(error).strip("'\"")
        raise ConfigError(
            Fault(where=f"options.config {path}", expected="a config that detectron2 knows", found=found)
        ) from error
    faults = [fault for key, value in override.items() for fault in _overridden(cfg, str(key), value)]
    if faults:
        raise ConfigError(*faults)
    return cfg, path


def _overridden(cfg: Any, key: str, value: Any) -> Iterator[Fault]:
    try:
        cfg.merge_from_list([key, value])
    except (KeyError, ValueError, AssertionError, TypeError, AttributeError, SyntaxError) as error:
        names = list(_names(cfg))
        known = "a value of the kind that it has" if key in names else "a key of detectron2's config"
        found = str(error).strip("'\"") if key in names else repr(value)
        yield Fault(where=f"options.override {key}", expected=known, found=found, fix=did_you_mean(key, names))


def _from_scratch(cfg: Any) -> None:
    """Layers that are frozen as they are given, and norms with the statistics given, are for given weights."""
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    if cfg.MODEL.RESNETS.NORM == "FrozenBN":
        cfg.MODEL.RESNETS.NORM = "BN"
    print(  # noqa: T201  the log
        f"from scratch: no stage of the backbone is frozen, its norm is {cfg.MODEL.RESNETS.NORM or 'none'}"
    )


def _schedule(cfg: Any, job: TrainJob, *, images: int) -> None:
    """Stretch the config's schedule to the job's epochs, scale its learning rate to the job's batch."""
    solver, settings = cfg.SOLVER, job.settings
    native, total = solver.MAX_ITER, settings.epochs * math.ceil(images / settings.batch)
    # The linear rule of Goyal et al. 2017, by which detectron2 itself scales with its number of workers.
    rate = solver.BASE_LR * settings.batch / solver.IMS_PER_BATCH
    solver.BASE_LR_END *= (settings.learning_rate or rate) / solver.BASE_LR
    solver.BASE_LR = settings.learning_rate or rate
    solver.IMS_PER_BATCH, solver.MAX_ITER = settings.batch, total
    steps = {round(at * total / native) for at in solver.STEPS}
    solver.STEPS = tuple(sorted(at for at in steps if 0 < at < total))
    solver.WARMUP_ITERS = min(solver.WARMUP_ITERS, total // _WARMUP_SHARE)
    solver.AMP.ENABLED = bool(settings.amp and cfg.MODEL.DEVICE.startswith("cuda"))


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values it is when it is written out: by references, a small text can stand for billions."""
    if isinstance(value, dict | list) and id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inner)
    return known.get(id(value), 1)


def _below(floor: float) -> float:
    """Detections above it are those of at least `floor`, which is cut exactly afterwards."""
    import numpy as np

    return float(np.nextafter(np.float32(floor), np.float32(-1)))


def _parts(node: Any) -> Iterator[Any]:
    yield node
    for value in node.values():
        if isinstance(value, dict):
            yield from _parts(value)


def _names(node: Any, before: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _names(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"
