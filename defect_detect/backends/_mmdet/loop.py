"""mmengine's loop over epochs, whose step can be taken in parts: where memory ran out, with fewer pictures at once."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mmdet.models.necks import SSDNeck
from mmengine.runner import EpochBasedTrainLoop
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler

from defect_detect.backends._memory import making_room
from defect_detect.errors import RunFailed
from defect_detect.job import Halved, Settings

T = TypeVar("T")
RATE = "try a lower learning rate (--set learning_rate=...)"


@dataclass(slots=True, kw_only=True)
class Room:
    """How many pictures the network sees at once: the batch, or less since memory ran out, and no fewer than `least`.

    `names` are those of the pictures, by row.
    """

    settings: Settings
    at_once: int
    least: int
    names: tuple[str, ...]
    halved: list[Halved] = field(default_factory=list)

    def fit(self, work: Callable[[], T], *, least: int, epoch: int, step: int, undo: Callable[[], None]) -> T:
        """What `work` returns, with fewer pictures at once each time that memory runs out; `undo` comes between.

        Raises:
            RunFailed: that is not allowed, or they can't be fewer.
        """
        return making_room(self, self.settings, least=least, epoch=epoch, step=step, work=work, undo=undo)


class Loop(EpochBasedTrainLoop):  # type: ignore[misc]  # mmengine is untyped
    """Its own, with our step in it. `room` is set before it runs."""

    room: Room

    def run_iter(self, idx: int, data_batch: dict[str, list[Any]]) -> None:
        """One batch; see `EpochBasedTrainLoop.run_iter`.

        Raises:
            RunFailed: a loss is not finite (before the optimizer's step), or memory ran out.
        """
        runner, room = self.runner, self.room
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        model, wrapper = runner.model, runner.optim_wrapper
        before, waiting = wrapper.inner_count, _waiting(model, wrapper) if _halves(room) else {}

        def undo() -> None:
            wrapper._inner_count = before  # noqa: SLF001  it counts calls of `backward`; ours are parts of one
            wrapper.zero_grad()
            for name, parameter in model.named_parameters():
                parameter.grad = waiting.get(name)

        losses = room.fit(
            lambda: gradients(model, data_batch, wrapper, room, f"epoch {self._epoch + 1}, batch {idx + 1}"),
            least=room.least, epoch=self._epoch + 1, step=idx + 1, undo=undo,
        )  # fmt: skip
        if wrapper.should_update():
            wrapper.step()
            wrapper.zero_grad()
        runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=losses)
        self._iter += 1


def gradients(model: Any, batch: dict[str, list[Any]], wrapper: Any, room: Room, where: str) -> dict[str, Any]:
    """Add up a batch's gradients, in parts of at most `room.at_once` pictures; its losses, pictures weighing alike.

    As `BaseModel.train_step` has it before the optimizer's step. mmdet divides losses by a batch's positives, so
    those of parts are only near to the whole's.

    Raises:
        RunFailed: a loss is not finite.
    """
    if _halves(room):  # preprocessing pads and scales the truth in place, and it may be needed again
        batch = {**batch, "data_samples": copy.deepcopy(batch["data_samples"])}
    before = wrapper.inner_count
    total: dict[str, Any] = {}
    for part, share in _parts(batch, room):
        with wrapper.optim_context(model):
            losses = model._run_forward(model.data_preprocessor(part, True), mode="loss")  # noqa: SLF001
        loss, shown = model.parse_losses(losses)
        if not math.isfinite(float(loss.detach())):
            rows = sorted(int(sample.img_id) for sample in batch["data_samples"])
            names = ", ".join(room.names[row] for row in rows)
            raise RunFailed(f"the loss is {float(loss.detach())} in {where} ({names}); {RATE}")
        wrapper._inner_count = before  # noqa: SLF001  parts count as the one batch that they are
        wrapper.backward(wrapper.scale_loss(loss * share if share < 1 else loss))
        for name, value in shown.items():
            total[name] = total.get(name, 0.0) + value.detach() * share
    return total


def _parts(batch: dict[str, list[Any]], room: Room) -> Iterator[tuple[dict[str, list[Any]], float]]:
    """The batch in nearly equal parts, and the share that each is of it."""
    pictures = len(batch["data_samples"])
    count = max(1, min(math.ceil(pictures / room.at_once), pictures // room.least))
    edges = [pictures * number // count for number in range(count + 1)]
    for start, end in itertools.pairwise(edges):
        yield {name: values[start:end] for name, values in batch.items()}, (end - start) / pictures


def _halves(room: Room) -> bool:
    return room.settings.on_out_of_memory == "halve"


def _waiting(model: Any, wrapper: Any) -> dict[str, Any]:
    """Copies of the gradients that wait for the optimizer's step, where the config adds up those of several batches."""
    if wrapper.should_update():
        return {}
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def least(model: Any) -> int:
    """Pictures that a training batch must hold: two for an SSD with batch norm, whose last map is one pixel."""
    necks = [one for one in model.modules() if isinstance(one, SSDNeck)]
    return 2 if any(isinstance(one, _BatchNorm) for neck in necks for one in neck.modules()) else 1


class Batches(BatchSampler):  # type: ignore[misc]  # torch leaves it untyped
    """torch's batches of all pictures, the last joined to the one before where it has fewer than `least`."""

    def __init__(self, sampler: Any, batch: int, *, least: int) -> None:
        super().__init__(sampler, batch, drop_last=False)
        self._least = least

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.sampler)
        if 0 < len(rows) < self._least:  # a set of one picture: it is shown twice
            rows *= self._least
        batches = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        if len(batches) > 1 and len(batches[-1]) < self._least:
            batches[-2:] = [batches[-2] + batches[-1]]
        yield from batches

    def __len__(self) -> int:
        rows: int = len(self.sampler)
        whole, rest = divmod(rows, int(self.batch_size))
        return whole + int(rest >= self._least or not whole)
