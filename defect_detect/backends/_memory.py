"""Running out of memory: how it shows, and what is done about it."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from defect_detect.errors import RunFailed
from defect_detect.job import Halved, Settings

T = TypeVar("T")
_SIGNS = (
    "out of memory",  # CUDA
    "can't allocate memory",  # torch on a CPU
    "not enough memory",
    "cublas_status_alloc_failed",  # libraries that find none left and say so in their own words
    "cudnn_status_internal_error",
    "unable to find an engine",
)


def ran_out(error: BaseException) -> bool:
    """Whether the error says that memory, the GPU's or the computer's, ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def halved(settings: Settings, *, at_once: int, least: int, epoch: int, step: int) -> Halved:
    """The record of going on with half of the `at_once` images that didn't fit, where the settings allow it.

    `least`: images at once that the network needs. The step is 0 where an epoch's validation ran out.

    Raises:
        RunFailed: they don't, or there is nothing left to halve; says what to do.
    """
    where = f"in epoch {epoch}, batch {step}" if step else f"while validating epoch {epoch}"
    text = f"out of memory {where} with {at_once} images at once at {settings.image_size} px"
    if at_once // 2 < least:
        raise RunFailed(f"{text}, which can't be fewer; try a smaller image_size or model")
    if settings.on_out_of_memory != "halve":
        raise RunFailed(
            f"{text}; try --set batch={max(1, at_once // 2)}, a smaller image_size, or --set on_out_of_memory=halve,"
            " which goes on with fewer images at once and adds up their gradients"
        )
    print(f"{text}; goes on with {at_once // 2} at once, their gradients added up")  # noqa: T201  the log
    return Halved(epoch=epoch, step=step, batch=at_once // 2)


class Room(Protocol):
    """What knows how many images the network sees at once, and since when."""

    at_once: int
    halved: list[Halved]


def making_room(
    room: Room, settings: Settings, *, least: int, epoch: int, step: int, work: Callable[[], T],
    undo: Callable[[], object],
) -> T:  # fmt: skip
    """What `work` returns, with fewer images at once each time that memory runs out; `undo` comes between.

    Raises:
        RunFailed: that is not allowed, or they can't be fewer than `least`.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        # Here, where the error no longer holds the tensors that didn't fit.
        record = halved(settings, at_once=room.at_once, least=least, epoch=epoch, step=step)
        room.halved.append(record)
        room.at_once = record.batch
        undo()
        free()


def free() -> None:
    """Give back what nothing holds any more, the GPU's too."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def told(doing: str, fix: str) -> Iterator[None]:
    """Say that memory ran out while `doing` this, and what to do.

    Raises:
        RunFailed: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if ran_out(error):
            raise RunFailed(f"out of memory while {doing}; {fix}") from error
        raise


def predicting(settings: Settings, batch: int, work: Callable[[int], T]) -> tuple[T, list[Halved]]:
    """What `work` says of pictures, so many at once, or fewer where memory runs out and the settings allow it.

    Raises:
        RunFailed: it ran out, and they don't, or one alone is too many.
    """
    record: list[Halved] = []
    while True:
        try:
            return work(batch), record
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        text = f"out of memory while predicting on {batch} pictures at once"
        if batch == 1 or settings.on_out_of_memory != "halve":
            raise RunFailed(f"{text}; free memory, predict on a CPU, or train with on_out_of_memory: halve, which"
                            " halves here too")  # fmt: skip
        batch //= 2
        record.append(Halved(epoch=0, step=0, batch=batch))
        print(f"{text}; goes on with {batch}")  # noqa: T201  the log
        free()
