"""mmdet imported so that it works: with a newer torch, without compiled operators, on the job's own device."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from defect_detect.backends import _settled
from defect_detect.backends._mmdet import grammar
from defect_detect.errors import Fault, FrameworkMissing

INSTALL = "python tools/make_env.py mmdet"


def start(threads: int) -> None:
    """Import mmdet, register its modules and ours, and give torch `threads` CPU threads (0: as they are).

    Where mmcv has no compiled operators (`mmcv-lite`), those that torchvision has too are served by
    torchvision's (`_mmdet.operators`).

    Raises:
        FrameworkMissing: mmdet, mmengine or mmcv can't be imported.
    """
    try:
        with warnings.catch_warnings():
            # pkg_resources, invalid escapes, torch.jit: mmcv 2.1 and mmdet 3.3 are of 2024
            warnings.simplefilter("ignore")
            grammar.load()
            import mmcv  # noqa: F401  mmdet asks its version first

            if importlib.util.find_spec("mmcv._ext") is None:
                from defect_detect.backends._mmdet import operators

                operators.install()
            from mmdet.utils import register_all_modules

            register_all_modules(init_default_scope=True)
            from defect_detect.backends._mmdet import pictures, ssd  # noqa: F401  they register themselves
    except (ImportError, AssertionError) as error:  # mmdet asserts the versions of mmcv and mmengine
        fault = Fault(
            where="framework mmdet", expected="mmdet 3.3 with mmengine and mmcv-lite (or mmcv) 2.1",
            found=str(error), fix=f"Install it: {INSTALL}",
        )  # fmt: skip
        raise FrameworkMissing(fault) from error
    import torch

    if threads:
        torch.set_num_threads(threads)


def compiled() -> bool:
    """Whether mmcv's own operators are in use, not torchvision's in their place."""
    return not getattr(sys.modules.get("mmcv._ext"), "stands_in", False)


def device(name: str) -> str:
    """`cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`, made the one that mmengine takes.

    Raises:
        ConfigError: this machine has no such device.
        Unsupported: another kind of device.
    """
    import torch
    from mmengine.device import utils

    chosen = _settled.device(name)
    kind, _, index = chosen.partition(":")
    if kind == "cuda":
        torch.cuda.set_device(int(index))
    # mmengine takes whatever is there and has no setting for it (mmengine/device/utils.py, DEVICE).
    utils.DEVICE = kind
    return chosen


@contextmanager
def quiet() -> Iterator[None]:
    """Its visualizer, message hubs and loggers are mmengine's singletons by name; nothing of this run stays in them."""
    from mmengine.registry import DefaultScope
    from mmengine.utils import ManagerMixin

    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for kind in _deep(ManagerMixin):
                if kind is DefaultScope:
                    continue
                instances = getattr(kind, "_instance_dict", {})
                for one in instances.values():
                    for handler in getattr(one, "handlers", []):
                        handler.close()
                instances.clear()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _deep(kind: type) -> list[type]:
    found: list[type] = [*kind.__subclasses__()]
    return found + [deeper for one in found for deeper in _deep(one)]
