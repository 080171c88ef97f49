"""Where a network's first weights come from, and the checkpoint that holds its last: tensors and plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from defect_detect.backends._mmdet import configs, loading, named
from defect_detect.backends._weights import checkpoint, enough, given
from defect_detect.data.files import sha256_file
from defect_detect.errors import Fault, FrameworkMissing, RunFailed
from defect_detect.job import TrainJob

_FORMAT = "defect_detect mmdet 1"


def initialize(network: Any, job: TrainJob, config: Any) -> str:
    """Put the weights that the job starts from into the network; returns what they are, with SHA-256.

    `pretrained` is what mmdet's zoo has for this config (all but what tells COCO's classes apart), else
    what the config itself starts its backbone from.

    Raises:
        FrameworkMissing: pretrained weights that can't be downloaded.
        ConfigError: a path that holds no weights for this network.
    """
    wanted = job.settings.weights
    if wanted == "none":
        with loading.tensors_only():
            network.init_weights()
        return "none"
    source = _zoo(config.filename) if wanted == "pretrained" else wanted
    try:
        if source is None:
            with loading.tensors_only():
                network.init_weights()
            return f"as {Path(config.filename).name} starts its backbone"
        path = _download(source) if wanted == "pretrained" else Path(source)
    except (OSError, RuntimeError) as error:
        raise _out_of_reach(job, source, error) from error
    state = _tensors(path, job.settings.trust_checkpoint)
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    enough(fitting, network, source=str(source), model=job.model, whose="mmdet's zoo")
    network.load_state_dict(fitting, strict=False)
    network.is_init = True  # else the runner fills it anew
    return f"{source} sha256:{sha256_file(path)}"


def fetch(job: TrainJob, config: Any) -> None:
    """Download what mmdet's zoo has for the config, unless it is at hand.

    Raises:
        FrameworkMissing: it can't be downloaded.
    """
    source = _zoo(config.filename)
    try:
        if source is not None:
            _download(source)
    except (OSError, RuntimeError) as error:
        raise _out_of_reach(job, source, error) from error


def _out_of_reach(job: TrainJob, source: str | None, error: Exception) -> FrameworkMissing:
    return FrameworkMissing(
        Fault(
            where=f"pretrained weights of {job.model}", expected=str(source or "the backbone's"),
            found=str(error).partition("\n")[0],
            fix="Connect to the internet once, or download that file elsewhere and give its path "
            "(--set weights=/path/to/file.pth), or train from scratch (--set weights=none)",
        )
    )  # fmt: skip


def write(file: BinaryIO, network: Any, job: TrainJob, plan: configs.Plan, *, names: list[str], masks: str) -> None:
    """Write the checkpoint: what `restore` and `predict` need."""
    import torch

    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    content = {
        "format": _FORMAT, "model": job.model, "names": names, "masks": masks, "state": state,
        "network": plan.model.to_dict(), "steps": plan.test,
    }  # fmt: skip
    torch.save(content, file)


def restore(path: Path, job: TrainJob, *, names: list[str]) -> tuple[Any, list[Any], str, float | None]:
    """The network of a checkpoint, its prediction pipeline, what its mask branch learned from, its suppression's IoU.

    Raises:
        RunFailed: the file is missing, damaged, or a checkpoint of something else.
    """
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    content = checkpoint(path, _FORMAT, job, names)
    if (name := named.unknown([content["network"], content["steps"]])) is not None:
        raise RunFailed(f"{path} names {name}, which is no part of mmdet's; train the detector again")
    with loading.tensors_only():
        network = MODELS.build(ConfigDict(content["network"]))
    try:
        network.load_state_dict(content["state"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise RunFailed(f"{path} doesn't fit its own network: {error}") from error
    return network, content["steps"], str(content["masks"]), configs.suppression(content["network"])


def _zoo(config: str) -> str | None:
    """Address of the zoo's weights for the config, by the metafile beside it; None: it has none."""
    import yaml

    metafile = Path(config).with_name("metafile.yml")
    if not metafile.is_file():
        return None
    models = (yaml.safe_load(metafile.read_text(encoding="utf-8")) or {}).get("Models", [])
    named = (model for model in models if Path(str(model.get("Config", ""))).name == Path(config).name)
    return next((str(model["Weights"]) for model in named if model.get("Weights")), None)


def _download(address: str) -> Path:
    import torch

    folder = Path(str(torch.hub.get_dir())) / "checkpoints"
    path = folder / address.rpartition("/")[2]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path), progress=False)
    return path


def _tensors(path: Path, trust: str) -> dict[str, Any]:
    """Named tensors of a checkpoint of ours, or of one by mmengine; `trust` is the SHA-256 of one that may run code."""
    import torch

    content = given(path, trust, letting=loading.checkpoints())
    state = content.get("state") or content.get("state_dict") or content if isinstance(content, dict) else {}
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
