"""Whatever mmdet loads while it builds, fills and trains a network is tensors, never code."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from defect_detect.errors import RunFailed

_SWITCH = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_ASKED_FOR = re.compile(r"GLOBAL (\S+)")


class _Forgotten:
    """Stands for mmengine's `HistoryBuffer`, of which nothing is needed."""

    def __setstate__(self, state: Any) -> None:
        """Ignore what it was."""


def _nothing(*_: Any) -> None:
    """Stands for `getattr`, by which its methods are pickled; the real one would lead anywhere."""


@contextmanager
def checkpoints() -> Iterator[None]:
    """Inside, `weights_only` also reads checkpoints by mmengine, which carry their message hub (mmengine#1655).

    What that holds becomes nothing; numpy's numbers and arrays are let in.
    """
    import numpy as np
    import torch
    from numpy._core import multiarray

    allowed: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    allowed += [(_Forgotten, "mmengine.logging.history_buffer.HistoryBuffer"), (_nothing, "builtins.getattr")]
    for name in ("_reconstruct", "scalar"):
        found = getattr(multiarray, name)
        allowed += [found, (found, f"numpy.core.multiarray.{name}")]  # as numpy 1 called it
    with torch.serialization.safe_globals(allowed):
        yield


@contextmanager
def tensors_only() -> Iterator[None]:
    """Inside, torch loads with `weights_only`, whatever its caller asks for.

    mmengine loads what configs start from (`init_cfg`, `teacher_ckpt`) by torch's default, and what it fetched from
    addresses by torch.hub's, which is to run whatever a pickle says.

    Raises:
        RunFailed: a file holds more than tensors.
    """
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        with checkpoints():
            yield
    except pickle.UnpicklingError as error:
        found = _ASKED_FOR.search(str(error))
        asked = f": it asks for {found[1]}" if found else ""
        raise RunFailed(
            f"a file of weights that the config names holds more than tensors{asked}. Save its weights as a plain"
            " state dict"
        ) from error
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before
