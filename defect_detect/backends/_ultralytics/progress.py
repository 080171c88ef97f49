"""How far a training is: all that changes in ultralytics' trainer, to be kept after each epoch and taken up again.

Its own `last.pt` is written in place, in half precision, as a pickle; it leaves out chance, the order of
pictures, those it draws mosaics from, and gradients that wait for the next step of the optimizer.
"""

from __future__ import annotations

import collections
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from defect_detect.backends import _progress as states
from defect_detect.job import Halved

_FORMAT = "defect_detect ultralytics state 1"


@dataclass(slots=True, kw_only=True)
class Progress:
    """What is known of a training besides the trainer.

    at_once     images that the network sees at once: the batch, or less since memory ran out
    seen        picture files, relative to the dataset, that reached the network
    kept        the state after the last epoch; None before the first
    """

    at_once: int
    initial: str = ""
    parameters: int = 0
    seen: set[str] = field(default_factory=set)
    halved: list[Halved] = field(default_factory=list)
    kept: Path | None = None

    def of(self, content: dict[str, Any]) -> None:
        """Become what a state says."""
        self.at_once, self.initial, self.parameters = (content[name] for name in ("at_once", "initial", "parameters"))
        self.seen, self.halved = set(content["seen"]), msgspec.convert(content["halved"], list[Halved])


def write(file: BinaryIO, now: Progress, trainer: Any) -> None:
    """Write the state: tensors and plain values only, so that loading them runs no code."""
    import torch

    content = {
        "format": _FORMAT, "at_once": now.at_once, "initial": now.initial, "parameters": now.parameters,
        "seen": sorted(now.seen), "halved": [msgspec.to_builtins(one) for one in now.halved],
        "epochs": trainer.epoch + 1, "network": trainer.model.state_dict(), "averaged": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates, "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(), "waiting": trainer.waiting,
        "gradients": {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None},
        "buffer": list(trainer.train_loader.dataset.buffer), "chance": _chance(trainer.device),
    }  # fmt: skip
    torch.save(content, file)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote; raises RunFailed for something else."""
    return states.read(path, _FORMAT)


def take_up(trainer: Any, content: dict[str, Any]) -> None:
    """Make the trainer, set up and not yet started, what it was when `write` saw it.

    Gradients are the trainer's to put back (`gradients`): it clears them once more.

    Raises:
        RunFailed: it is of another network or optimizer.
    """
    with states.fitting():
        done = int(content["epochs"])
        trainer.model.load_state_dict(content["network"])
        trainer.ema.ema.load_state_dict(content["averaged"])
        trainer.ema.updates = content["updates"]
        trainer.optimizer.load_state_dict(content["optimizer"])
        trainer.scaler.load_state_dict(content["scaler"])
        criterion = trainer.model.init_criterion()
        if hasattr(criterion, "update"):  # it weighs the heads of an NMS-free network by the epoch
            for _ in range(done):
                criterion.update()
            trainer.model.criterion = criterion
        trainer.start_epoch = done
        _pictures(trainer, content, done)
        _restore_chance(content["chance"], trainer.device)


def gradients(trainer: Any, content: dict[str, Any]) -> None:
    """Put back the gradients that wait for the next step of the optimizer."""
    for name, parameter in trainer.model.named_parameters():
        if name in content["gradients"]:
            parameter.grad = content["gradients"][name].to(parameter.device)


def _pictures(trainer: Any, content: dict[str, Any], done: int) -> None:
    """The order of pictures, and those at hand for mosaics. Loader processes begin with another chance."""
    loader, arguments = trainer.train_loader, trainer.args
    closing = trainer.epochs - arguments.close_mosaic if arguments.close_mosaic else done + 1
    if done > closing:
        trainer._close_dataloader_mosaic()  # noqa: SLF001  what its loop did at that epoch
        arguments.close_mosaic = 0
    for index in content["buffer"]:
        loader.dataset.load_image(index)
    if loader.num_workers:
        loader.generator.manual_seed(arguments.seed + (done << 32))
        return
    before = closing if 0 < closing <= done else 0
    if before:  # closing mosaics, its loop began a new order
        _skip(loader._get_iterator()._sampler_iter, before * len(loader))  # noqa: SLF001
    object.__setattr__(loader, "batch_sampler", _Later(loader.batch_sampler, (done - before) * len(loader)))


class _Later:
    """A sampler of batches without its first ones: all that was drawn then is drawn, and not used."""

    def __init__(self, whole: Any, skipped: int) -> None:
        self.sampler, self._whole, self._skipped = whole.sampler, whole, skipped

    def __iter__(self) -> Iterator[list[int]]:
        batches = iter(self._whole)
        _skip(batches, self._skipped)
        self._skipped = 0
        yield from batches


def _skip(batches: Iterator[Any], count: int) -> None:
    collections.deque(itertools.islice(batches, count), maxlen=0)


def _chance(device: Any) -> dict[str, Any]:
    """The states of Python's, numpy's and torch's generators, as plain values and tensors."""
    import torch

    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  the generator that ultralytics draws from
    chance = {"python": random.getstate(), "numpy": (kind, torch.from_numpy(np.array(keys, np.int64)), *rest)}
    chance["torch"] = torch.get_rng_state()
    return chance | ({"gpu": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _restore_chance(chance: dict[str, Any], device: Any) -> None:
    import torch

    random.setstate(chance["python"])
    kind, keys, *rest = chance["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002  as above
    torch.set_rng_state(chance["torch"])
    if device.type == "cuda" and "gpu" in chance:
        torch.cuda.set_rng_state(chance["gpu"], device)
