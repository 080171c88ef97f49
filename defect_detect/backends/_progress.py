"""How far a training is: all that changes in it, to be kept after each epoch and taken up again."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from defect_detect.errors import RunFailed
from defect_detect.job import Halved

UNREADABLE = (
    OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError, AttributeError, TypeError,
)  # fmt: skip
"""What torch raises for a file that is damaged, or holds something else than tensors and plain values."""
_PARTS = ("network", "optimizer", "rate", "scaler")


@dataclass(slots=True, kw_only=True)
class Progress:
    """The parts of a training by a loop of ours that change.

    format   `defect_detect FRAMEWORK state N`, so that none takes up another's
    beside   attributes of the network that change and that its own state leaves out
    initial  where the first weights came from
    at_once  images that the network sees at once: the batch, or less since memory ran out
    seen     rows of the train split that reached the network
    """

    format: str
    beside: tuple[str, ...] = ()
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
        import torch

        chance = [torch.get_rng_state()]
        if self.device.type == "cuda":
            chance.append(torch.cuda.get_rng_state(self.device))
        content = {name: getattr(self, name).state_dict() for name in _PARTS}
        content |= {"format": self.format, "initial": self.initial, "at_once": self.at_once, "chance": chance}
        content |= {"seen": sorted(self.seen), "halved": [msgspec.to_builtins(one) for one in self.halved]}
        content["beside"] = {name: getattr(self.network, name) for name in self.beside if hasattr(self.network, name)}
        torch.save(content, file)

    def take_up(self, content: dict[str, Any]) -> None:
        """Become what `write` wrote.

        Raises:
            RunFailed: it is of another network or optimizer.
        """
        import torch

        with fitting():
            for name in _PARTS:
                getattr(self, name).load_state_dict(content[name])
            self.initial, self.at_once = content["initial"], content["at_once"]
            self.seen, self.halved = set(content["seen"]), msgspec.convert(content["halved"], list[Halved])
            for name in self.beside:
                if name in content["beside"]:
                    setattr(self.network, name, content["beside"][name])
            torch.set_rng_state(content["chance"][0])
            if self.device.type == "cuda" and len(content["chance"]) > 1:
                torch.cuda.set_rng_state(content["chance"][1], self.device)

    @property
    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(tensor.isfinite().all()) for tensor in self.network.state_dict().values())


def read(path: Path, wanted: str) -> dict[str, Any]:
    """The state of a training at `path`, whose format must be `wanted`: `defect_detect FRAMEWORK state N`.

    Raises:
        RunFailed: it is something else.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise RunFailed(f"{path} can't be read: {str(error).partition(chr(10))[0]}; remove the run folder") from error
    if not isinstance(content, dict) or content.get("format") != wanted:
        raise RunFailed(f"{path} is not a state of a {wanted.split()[1]} training; remove the run folder")
    return content


@contextlib.contextmanager
def fitting() -> Iterator[None]:
    """For taking up a state.

    Raises:
        RunFailed: it is of another network, optimizer or schedule.
    """
    try:
        yield
    except (*UNREADABLE, msgspec.ValidationError) as error:
        raise RunFailed(f"the state of the training doesn't fit it: {error}; remove the run folder") from error
