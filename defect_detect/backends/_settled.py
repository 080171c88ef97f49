"""What a training stands on, fixed: device, threads, chance and the choice of algorithms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from defect_detect.errors import ConfigError, Fault, Unsupported


def device(name: str) -> str:
    """`cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: this machine has no such device.
        Unsupported: another kind of device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, index = ("cuda" if count else "cpu").partition(":") if name == "auto" else name.partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdigit())):
        raise Unsupported(Fault(where="device", expected="auto | cpu | cuda:N", found=repr(name)))
    if kind == "cuda" and int(index or 0) >= count:
        found = f"{name!r} on a machine with {count} GPUs"
        fix = "Set cpu (--set device=cpu)."
        raise ConfigError(Fault(where="device", expected="a device that torch can use", found=found, fix=fix))
    return f"cuda:{index or 0}" if kind == "cuda" else "cpu"


def torch_device(name: str) -> Any:
    """`device` as a `torch.device`."""
    import torch

    return torch.device(device(name))


@contextlib.contextmanager
def settled(*, seed: int, threads: int, device: Any) -> Iterator[None]:
    """Torch's chance, threads and choice of algorithms fixed inside, and as they were after it."""
    import torch

    before, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    if threads:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            # On a GPU some operations of detection have no deterministic form.
            torch.use_deterministic_algorithms(device.type == "cpu")
            # Filling fresh memory with NaN, which that switches on, finds bugs and costs time.
            torch.utils.deterministic.fill_uninitialized_memory = False
            yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(exact)
        torch.set_num_threads(before)
