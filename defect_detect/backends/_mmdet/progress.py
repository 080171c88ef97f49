"""How far a training is: all that changes in mmengine's runner, to be kept after each epoch and taken up again.

Its own checkpoints are written in place and hold classes that `weights_only` refuses (mmengine#1655); they
leave out chance.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import torch
from mmengine.hooks import EMAHook

from defect_detect.backends import _progress as states
from defect_detect.backends._mmdet.loop import Room
from defect_detect.job import Halved

_FORMAT = "defect_detect mmdet state 2"


def write(file: BinaryIO, runner: Any, room: Room, *, initial: str, seen: set[int]) -> None:
    """Write the state after an epoch: tensors and plain values only, so that loading them runs no code."""
    gradients = {name: one.grad for name, one in runner.model.named_parameters() if one.grad is not None}
    content = {
        "format": _FORMAT, "initial": initial, "seen": sorted(seen), "iterations": runner.iter,
        "at_once": room.at_once, "halved": [msgspec.to_builtins(one) for one in room.halved],
        # Those of a config that adds up several batches wait for the optimizer.
        "gradients": {} if runner.optim_wrapper.should_update() else gradients,
        "network": runner.model.state_dict(), "optimizer": runner.optim_wrapper.state_dict(),
        "rates": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        "averaged": [hook.ema_model.state_dict() for hook in _averages(runner)], "chance": _chance(),
    }  # fmt: skip
    torch.save(content, file)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote; raises RunFailed for something else."""
    return states.read(path, _FORMAT)


def take_up(runner: Any, content: dict[str, Any], room: Room, *, epoch: int) -> None:
    """Make `runner`, which is about to begin, go on after `epoch`.

    Raises:
        RunFailed: the state is of another network, optimizer or schedule.
    """
    with states.fitting():
        runner.model.load_state_dict(content["network"])
        runner.optim_wrapper.load_state_dict(content["optimizer"])
        for scheduler, state in zip(runner.param_schedulers, content["rates"], strict=True):
            scheduler.load_state_dict(state)
        for hook, state in zip(_averages(runner), content["averaged"], strict=True):
            hook.ema_model.load_state_dict(state)
        # As its own `resume` sets them; there is no public way without its checkpoint.
        runner.train_loop._epoch = epoch  # noqa: SLF001
        runner.train_loop._iter = content["iterations"]  # noqa: SLF001
        runner.optim_wrapper._inner_count = content["iterations"]  # noqa: SLF001
        for name, parameter in runner.model.named_parameters():
            if name in content["gradients"]:
                parameter.grad = content["gradients"][name].to(parameter.device)
        room.at_once, room.halved = content["at_once"], msgspec.convert(content["halved"], list[Halved])
        _draw_on(content["chance"])


def _averages(runner: Any) -> list[Any]:
    return [hook for hook in runner.hooks if isinstance(hook, EMAHook)]


def _chance() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    # The generator that mmcv's transforms draw from.
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    found = {
        "python": [version, words, gauss], "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }  # fmt: skip
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def _draw_on(chance: dict[str, Any]) -> None:
    version, words, gauss = chance["python"]
    random.setstate((version, words, gauss))
    keys, *rest = chance["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002  see `_chance`
    torch.set_rng_state(chance["torch"])
    if "cuda" in chance and torch.cuda.is_available():
        torch.cuda.set_rng_state(chance["cuda"])
