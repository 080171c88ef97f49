"""What goes into a framework's environment beside what its backend `requires`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from defect_detect import backends
from defect_detect.environments import package

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
"""Versions that were tested together: the project's own file, which the package brings along."""
COMPILING = ("setuptools>=77,<81", "wheel", "ninja")
"""What compiles against the installed torch. mmcv 2.1's setup.py needs `pkg_resources`, which setuptools 81 dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A package that no registry has as a wheel: compiled here, once for a machine."""

    project: str
    registry: str = ""
    """The requirement by which a registry has its source; empty: it has none."""
    source: str = ""
    """Else where its source is, unless the user names another place: a git URL."""
    environment: tuple[tuple[str, str], ...] = ()
    minutes: str = ""
    """How long it takes, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that an environment is made of."""

    frameworks: tuple[str, ...]
    requirements: tuple[str, ...]
    compiled: tuple[Compiled, ...] = ()

    @property
    def room(self) -> int:
        """Bytes that it takes, installed."""
        return _TORCH * self._torch + _REST

    @property
    def downloaded(self) -> int:
        """Bytes that are downloaded for it."""
        return _TORCH_DOWNLOADED * self._torch + _REST // 4

    @property
    def _torch(self) -> bool:
        return any(project(one) in ("torch", "torchvision") for one in self.requirements)


_TORCH, _TORCH_DOWNLOADED, _REST = 6 * 10**9, 3 * 10**9, 10**9
"""Bytes, rounded up: torch with its CUDA libraries installed and downloaded, and all else (Linux x86-64)."""
_MMCV = Compiled(
    project="mmcv", registry="mmcv==2.1.0", environment=(("MMCV_WITH_OPS", "1"),),
    minutes="77 files, some 30 CPU minutes",
)  # fmt: skip
_DETECTRON2 = Compiled(
    project="detectron2", source="https://github.com/facebookresearch/detectron2",
    minutes="5 files, some 5 CPU minutes",
)  # fmt: skip
_BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "mmdet": ("mmcv-lite>=2.1,<2.2",),
})  # fmt: skip
"""What backends need of which any of several packages will do, so that they can't require one."""


def recipe(frameworks: Sequence[str], *, compiled: bool) -> Recipe:
    """What an environment for these frameworks is made of. `compiled`: with mmcv's own operators.

    Raises:
        ConfigError: there is no such framework.
        FrameworkMissing: this package isn't installed properly here.
    """
    wanted: list[str] = [*package.requirements()]
    building = [_DETECTRON2] if "detectron2" in frameworks else []
    for framework in frameworks:
        wanted += (*backends.load(framework).requires, *package.offering(framework))
        if framework == "mmdet" and compiled:
            building.append(_MMCV)
        else:
            wanted += _BESIDE.get(framework, ())
    built = {one.project for one in building}
    kept = dict.fromkeys(one for one in wanted if project(one) not in built)
    return Recipe(
        frameworks=tuple(frameworks),
        requirements=(*kept, *(COMPILING if building else ())),
        compiled=tuple(building),
    )


def project(requirement: str) -> str:
    """The name of the project that a requirement speaks of, normalized as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9_.-]", requirement.strip(), maxsplit=1)[0]).lower()
