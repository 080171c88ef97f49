"""A network built from ultralytics' model file, and its checkpoint: weights and what they need, no code.

    checkpoint.pt   torch.load(weights_only=True): {"format", "model", "task", "names", "image_size", "state"}

ultralytics' own checkpoints are pickled modules, written in place.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from defect_detect.data.files import replacing
from defect_detect.errors import RunFailed

_FORMAT = "defect_detect ultralytics 1"


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds besides the weights."""

    model: str
    """`yolo11n`"""
    task: str
    """`detect` | `segment`"""
    names: list[str]
    """Label k is names[k]."""
    image_size: int


def build(model: str, task: str, names: Sequence[str]) -> Any:
    """An untrained network of ultralytics for `names`.

    The model file is taken from the package and by its full path: by name, a file of that name in the
    working folder (a config of ours, say) would be taken instead.
    """
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel
    from ultralytics.utils import ROOT, YAML

    family, scale = model[:-1], model[-1]
    suffix = "-seg" if task == "segment" else ""
    (file,) = (ROOT / "cfg" / "models").glob(f"*/{family}{suffix}.yaml")
    plan = {**YAML.load(file), "scale": scale, "yaml_file": f"{model}{suffix}.yaml"}
    kind = SegmentationModel if task == "segment" else DetectionModel
    network = kind(plan, nc=len(names), ch=3, verbose=False)
    network.names = dict(enumerate(names))
    network.task = task
    return network


def parameters(network: Any) -> int:
    """How many numbers the network holds."""
    return sum(int(parameter.numel()) for parameter in network.parameters())


def write(file: BinaryIO, network: Any, saved: Saved) -> None:
    """Write the checkpoint."""
    import torch

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    torch.save({"format": _FORMAT, **msgspec.to_builtins(saved), "state": state}, file)


def save(path: Path, network: Any, saved: Saved) -> None:
    """Write the checkpoint whole or not at all."""
    with replacing(path) as file:
        write(file, network, saved)


def load(path: Path) -> tuple[Any, Saved]:
    """The network of a checkpoint on the CPU, in evaluation mode, and what was saved with it.

    Raises:
        RunFailed: the file is missing, corrupt, or not one that `save` wrote.
    """
    content = read(path)
    try:
        saved = msgspec.convert({name: content[name] for name in Saved.__struct_fields__}, Saved)
        network = build(saved.model, saved.task, saved.names)
        widen_head(network, content["state"])
        network.load_state_dict(content["state"])
    except (KeyError, ValueError, RuntimeError, msgspec.ValidationError) as error:
        raise RunFailed(f"{path} does not fit its own model: {error}") from error
    return network.eval(), saved


def read(path: Path) -> dict[str, Any]:
    """The raw content of a checkpoint that `save` wrote.

    Raises:
        RunFailed: the file is missing, corrupt, or another program's.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise RunFailed(f"{path} is not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RunFailed(f"{path} is not a checkpoint that this backend wrote")
    return content


def widen_head(network: Any, state: dict[str, Any]) -> None:
    """Give the class branch the width it has in `state`.

    ultralytics makes that branch as wide as the classes of pretrained weights ask for (80 channels for
    COCO in a `n` model), where a network built for a few classes has 64.
    """
    head = network.model[-1]
    name = next(key for key, value in network.named_parameters() if value is head.cv3[0][-1].weight)
    width = int(state[name].shape[1])
    if width != head.cv3[0][-1].in_channels:
        task, names = network.task, network.names
        donor = build(Path(network.yaml["yaml_file"]).stem.removesuffix("-seg"), task, [str(n) for n in range(width)])
        network.load(donor, verbose=False)
        network.names, network.task = names, task
