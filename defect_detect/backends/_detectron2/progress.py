"""How far a training is: all that changes in it, to be kept after each epoch and taken up again.

detectron2's own checkpoints are written in place and leave out chance.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import torch

from defect_detect.errors import RunFailed
from defect_detect.job import Halved

_FORMAT = "defect_detect detectron2 state 1"
_PARTS = ("network", "optimizer", "rate", "scaler")
_AVERAGE = "loss_normalizer"
"""RetinaNet's moving average of positives: an attribute that its state leaves out."""
_UNREADABLE = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError, AttributeError, TypeError)


@dataclass(slots=True, kw_only=True)
class Progress:
    """The parts of a training that change.

    initial  where the first weights came from
    at_once  images that the network sees at once: the batch, or less since memory ran out
    seen     rows of the train split that reached the network
    """

    network: Any
    optimizer: Any
    rate: Any
    scaler: Any
    device: Any
    initial: str
    at_once: int
    seen: set[int] = field(default_factory=set)
    halved: list[Halved] = field(default_factory=list)

    def write(self, file: BinaryIO) -> None:
        """Tensors and plain values only, so that loading them runs no code.

        The order of pictures and their variations depend on seed and epoch alone, so chance is torch's.
        """
        chance = [torch.get_rng_state()]
        if self.device.type == "cuda":
            chance.append(torch.cuda.get_rng_state(self.device))
        content = {name: getattr(self, name).state_dict() for name in _PARTS}
        content |= {"format": _FORMAT, "initial": self.initial, "at_once": self.at_once, "chance": chance}
        content |= {"seen": sorted(self.seen), "halved": [msgspec.to_builtins(one) for one in self.halved]}
        content["average"] = getattr(self.network, _AVERAGE, None)
        torch.save(content, file)

    def take_up(self, content: dict[str, Any]) -> None:
        """Become what `write` wrote.

        Raises:
            RunFailed: it is of another network or optimizer.
        """
        try:
            for name in _PARTS:
                getattr(self, name).load_state_dict(content[name])
            self.initial, self.at_once = content["initial"], content["at_once"]
            self.seen, self.halved = set(content["seen"]), msgspec.convert(content["halved"], list[Halved])
            if content["average"] is not None:
                setattr(self.network, _AVERAGE, content["average"])
            torch.set_rng_state(content["chance"][0])
            if self.device.type == "cuda" and len(content["chance"]) > 1:
                torch.cuda.set_rng_state(content["chance"][1], self.device)
        except (*_UNREADABLE, msgspec.ValidationError) as error:
            raise RunFailed(f"the state of the training doesn't fit it: {error}; remove the run folder") from error

    @property
    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(tensor.isfinite().all()) for tensor in self.network.state_dict().values())


def read(path: Path) -> dict[str, Any]:
    """What `Progress.write` wrote.

    Raises:
        RunFailed: it is something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise RunFailed(f"{path} can't be read: {str(error).partition(chr(10))[0]}; remove the run folder") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RunFailed(f"{path} is not a state of a detectron2 training; remove the run folder")
    return content
