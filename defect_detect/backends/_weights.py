"""Weights that a training starts from."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Container
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from defect_detect.backends._progress import UNREADABLE
from defect_detect.backends._trust import unreadable, unsafe
from defect_detect.errors import ConfigError, Fault, FrameworkMissing, RunFailed
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


def given(path: Path, trust: str, *, letting: AbstractContextManager[None] | None = None) -> Any:
    """What a file of weights holds that the user names: tensors by their names, or what a framework put around them.

    Args:
        path: `.safetensors`, or what torch saves.
        trust: the SHA-256 of a file that may run code.
        letting: what it is read in, to let in more than tensors and plain values.

    Raises:
        ConfigError: it can't be read, or would run code and isn't trusted.
    """
    import torch

    if path.suffix.lower() == ".safetensors":
        return _safetensors(path)
    try:
        with letting or nullcontext(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an archive is TorchScript, which then is an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        held = unsafe(path, trust, _reason(error))
    return held.state_dict() if isinstance(held, torch.nn.Module) else held


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise FrameworkMissing(
            Fault(
                where=f"weights {path}", expected="the package safetensors, to read it", found=str(error),
                fix=f"pip install safetensors, for {sys.executable}",
            )
        ) from error  # fmt: skip
    try:
        return load_file(path)
    except (SafetensorError, *UNREADABLE) as error:
        raise ConfigError(unreadable(path, str(error).partition("\n")[0])) from error


def _reason(error: BaseException) -> str:
    """Why torch doesn't read a file, without its advice to read it unsafely."""
    text = str(error).partition("\n")[0]
    if isinstance(error, OSError):  # it names the file, which may be called anything
        return text
    if "TorchScript" in text:
        return "a TorchScript archive, which is a program; save its state dict instead"
    return "not a file of tensors" if isinstance(error, pickle.UnpicklingError) else text


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
