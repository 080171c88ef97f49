"""detectron2 imported, on the job's own device, with chance and threads fixed inside and given back after."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from defect_detect.backends import _settled
from defect_detect.errors import Fault, FrameworkMissing

INSTALL = "python tools/make_env.py detectron2"


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """For imports of detectron2, whose warnings of its age (`torch.jit.script`, `pkg_resources`) are not shown.

    Raises:
        FrameworkMissing: it, or what it stands on, can't be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise FrameworkMissing(
            Fault(where="framework detectron2", expected="detectron2 0.6, built from source", found=str(error),
                  fix=f"Install it: {INSTALL}")
        ) from error  # fmt: skip


@contextlib.contextmanager
def settled(*, seed: int, threads: int, device: Any) -> Iterator[None]:
    """`_settled.settled`, and the chance of detectron2's augmentations; no losses fused.

    Compiled losses (RetinaNet's) are fused after some calls, to the last bit another result: a training that
    was killed would tell in which call it went on.
    """
    import torch

    fixed = _settled.settled(seed=seed, threads=threads, device=device)
    with fixed, drawing([seed]), torch.jit.optimized_execution(False):
        yield


@contextlib.contextmanager
def drawing(seed: Sequence[int]) -> Iterator[None]:
    """The generators that detectron2's augmentations draw from, seeded inside and as they were after it.

    They are numpy's and Python's global ones, so a picture's variations depend on `seed` alone, in
    whatever process and after whatever else they are drawn.
    """
    numbers, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002  the generator in question
    words = np.random.SeedSequence(seed).generate_state(4)
    np.random.seed(words)  # noqa: NPY002  the generator in question
    random.seed(int(words[0]))
    try:
        yield
    finally:
        np.random.set_state(numbers)  # noqa: NPY002  the generator in question
        random.setstate(pythons)
