"""Weights that a training starts from."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from defect_detect.backends._progress import UNREADABLE
from defect_detect.errors import ConfigError, Fault, RunFailed
from defect_detect.job import TrainJob


def content(path: Path) -> Any:
    """What a checkpoint holds: tensors and plain values.

    Raises:
        RunFailed: the file is missing, damaged, or holds code.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise RunFailed(f"{path} can't be read as a checkpoint ({reason}); train the detector again") from error


def checkpoint(path: Path, wanted: str, job: TrainJob, names: list[str]) -> dict[str, Any]:
    """The checkpoint of format `wanted`, of the job's model and of classes of these names.

    Raises:
        RunFailed: it is missing, damaged, or of something else.
    """
    found = content(path)
    if not isinstance(found, dict) or found.get("format") != wanted:
        raise RunFailed(f"{path} is not a checkpoint of the {job.framework} backend; train the detector again")
    if (found["model"], found["names"]) != (job.model, names):
        raise RunFailed(f"{path} is of {found['model']} for {found['names']}, not of {job.model} for {names}")
    return found


def enough(filled: Container[str], network: Any, *, source: str, model: str, whose: str) -> None:
    """Pass where a file fills at least half of the tensors of the network's backbone.

    Heads may differ: they tell other classes apart. A backbone that stays random would be called pretrained.

    Args:
        filled: names of the tensors that fit.
        network: theirs.
        source: the file, for the error.
        model: what was to be filled.
        whose: whose files would do.

    Raises:
        ConfigError: it doesn't.
    """
    backbone = [name for name in network.state_dict() if name.startswith("backbone.")]
    found = sum(name in filled for name in backbone)
    if found * 2 < len(backbone):
        raise ConfigError(
            Fault(
                where=f"weights {source}", expected=f"weights of {model}",
                found=f"{found} of {len(backbone)} backbone tensors that fit",
                fix=f"Give a checkpoint of the same model and options, or a file of {whose}",
            )
        )  # fmt: skip
