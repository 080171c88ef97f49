"""Where a network's first weights come from, and the checkpoint that holds its last: tensors and plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import torch
from detectron2 import model_zoo
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.checkpoint.catalog import ModelCatalog
from detectron2.modeling import build_model
from detectron2.utils.file_io import Detectron2Handler

from defect_detect.backends._detectron2 import arrays, configs
from defect_detect.backends._detectron2.configs import Plan
from defect_detect.backends._progress import UNREADABLE
from defect_detect.backends._weights import checkpoint, enough, given
from defect_detect.data.files import sha256_file
from defect_detect.errors import ConfigError, Fault, FrameworkMissing, RunFailed
from defect_detect.job import TrainJob

_FORMAT = "defect_detect detectron2 1"
_HOST = "https://dl.fbaipublicfiles.com/"
"""Of detectron2's zoo: what another address holds is not fetched."""
_FOREIGN_CLASSES = ("roi_heads.box_predictor.", "roi_heads.mask_head.predictor.", "head.cls_score.")


def initialize(network: Any, job: TrainJob, plan: Plan) -> str:
    """Put the weights that the job starts from into the network; returns what they are, with SHA-256.

    `pretrained` is what detectron2's zoo has for this config (all but what tells COCO's classes apart), else
    what the config itself names.

    Raises:
        FrameworkMissing: pretrained weights that can't be downloaded.
        ConfigError: a path that holds no weights for this network.
    """
    wanted = job.settings.weights
    if wanted == "none":
        return "none"
    source = _source(plan) if wanted == "pretrained" else wanted
    path = _download(source, job) if source.startswith(_HOST) else Path(source)
    state = _tensors(path, network, job.settings.trust_checkpoint)
    if wanted == "pretrained":
        state = {name: tensor for name, tensor in state.items() if not name.startswith(_FOREIGN_CLASSES)}
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    enough(fitting, network, source=source, model=job.model, whose="detectron2's zoo")
    network.load_state_dict(fitting, strict=False)
    return f"{source} sha256:{sha256_file(path)}"


def write(file: BinaryIO, network: Any, job: TrainJob, plan: Plan, *, names: list[str], masks: str) -> None:
    """Write the checkpoint: what `restore` and predictions need."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    content = {
        "format": _FORMAT, "model": job.model, "names": names, "masks": masks, "state": state,
        "config": configs.text(plan.cfg),
    }  # fmt: skip
    torch.save(content, file)


def restore(path: Path, job: TrainJob, *, names: list[str], device: str) -> tuple[Any, Any, str]:
    """The network of a checkpoint on the device, its config, and what its mask branch learned from.

    Raises:
        RunFailed: the file is missing, damaged, or a checkpoint of something else.
    """
    content = checkpoint(path, _FORMAT, job, names)
    cfg = configs.restored(content["config"], device=device, path=path)
    configs.limit(cfg, job.settings)
    network = build_model(cfg)
    try:
        network.load_state_dict(content["state"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise RunFailed(f"{path} doesn't fit its own network: {error}") from error
    return network, cfg, str(content["masks"])


def fetch(job: TrainJob, plan: Plan) -> None:
    """Download what detectron2's zoo has for the config, unless it is at hand.

    Raises:
        FrameworkMissing: it can't be downloaded. ConfigError: there is none.
    """
    if (source := _source(plan)).startswith(_HOST):
        _download(source, job)


def _source(plan: Plan) -> str:
    """Address or path of the pretrained weights.

    Raises:
        ConfigError: the config has none, or some from elsewhere.
    """
    try:
        return str(model_zoo.get_checkpoint_url(plan.zoo or ""))
    except RuntimeError:
        source = str(plan.cfg.MODEL.WEIGHTS)
    try:
        if source.startswith("catalog://"):
            source = ModelCatalog.get(source.removeprefix("catalog://"))
    except (RuntimeError, KeyError):
        source = ""
    if source.startswith(Detectron2Handler.PREFIX):
        source = Detectron2Handler.S3_DETECTRON2_PREFIX + source.removeprefix(Detectron2Handler.PREFIX)
    if not source or ("://" in source and not source.startswith(_HOST)):
        raise ConfigError(
            Fault(where="weights: pretrained", expected="MODEL.WEIGHTS of detectron2's zoo or a path",
                  found=repr(plan.cfg.MODEL.WEIGHTS),
                  fix="Download it and give its path (--set weights=/path/to/file), or train from scratch "
                  "(--set weights=none)")
        )  # fmt: skip
    return source


def _download(address: str, job: TrainJob) -> Path:
    folder = Path(str(torch.hub.get_dir())) / "checkpoints"
    path = folder / "-".join(address.rsplit("/", 2)[1:])  # the zoo's numbers before its names, which recur
    try:
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path), progress=False)
    except (OSError, RuntimeError) as error:
        raise FrameworkMissing(
            Fault(
                where=f"pretrained weights of {job.model}", expected=address, found=str(error).partition("\n")[0],
                fix="Connect to the internet once, or download that file elsewhere and give its path "
                f"(--set weights=/path/to/{address.rpartition('/')[2]}), or train from scratch (--set weights=none)",
            )
        ) from error  # fmt: skip
    return path


def _tensors(path: Path, network: Any, trust: str) -> dict[str, Any]:
    """Named tensors of a checkpoint of ours, of detectron2's, or of a file of its zoo, by the network's names."""
    content = _arrays(path) if path.suffix == ".pkl" else given(path, trust)
    if not isinstance(content, dict):
        return {}
    caffe = path.suffix == ".pkl" and "__author__" not in content
    state = content.get("blobs") or content.get("model") or content.get("state") or content
    if not isinstance(state, dict):
        return {}
    found = {str(name): torch.as_tensor(value) for name, value in state.items() if hasattr(value, "shape")}
    if caffe or content.get("matching_heuristics"):
        found = {name: tensor for name, tensor in found.items() if not name.endswith("_momentum")}
        found = align_and_update_state_dicts(network.state_dict(), found, c2_conversion=caffe)
    return found


def _arrays(path: Path) -> Any:
    try:
        return arrays.load(path)
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            Fault(where="weights", expected="a file of arrays, as detectron2's zoo has them",
                  found=f"{path}: {reason}",
                  fix="Check the path, have the weights saved as a state dict (.pth), or train from scratch with"
                  " --set weights=none")
        ) from error  # fmt: skip
