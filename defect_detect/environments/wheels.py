"""Packages compiled here, once for a machine: the wheel is kept, told by all that it fits.

    CACHE/wheels/mmcv-2.1.0-torch2.12.1-cpython-311-linux-x86_64-gcc12-abi1-cpu/mmcv-2.1.0-cp311-cp311-linux_x86_64.whl

CACHE is `$XDG_CACHE_HOME/defect-detect` (`~/.cache/defect-detect`). Beside it lies, while it is being compiled, the
source with what is compiled already, from which a killed compilation goes on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from defect_detect.environments import commands, sources, workshop
from defect_detect.environments.commands import Say
from defect_detect.environments.installing import Installer, python_in
from defect_detect.environments.recipes import Compiled
from defect_detect.errors import FrameworkMissing, RunFailed

_BYTES_A_JOB = 2 * 10**9
"""Of memory that compiling one file against torch takes at most."""
_FACTS = """
import json, os, sys, sysconfig, torch
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.is_available(),
    "python": sys.implementation.cache_tag, "platform": sysconfig.get_platform(),
    "abi": int(torch.compiled_with_cxx11_abi()),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How wheels are compiled."""

    source: str | None = None
    """Where the source of a package without a registry is; None: at its own home."""
    cuda: str = "auto"
    """`auto`: with CUDA kernels where a GPU and a matching nvcc are; `yes`; `no`."""
    jobs: int | None = None
    """Files compiled at once; None: as many as CPUs and memory allow."""


def wheel(wanted: Compiled, build: Build, made: Path, installer: Installer, *, log: Path, say: Say) -> tuple[Path, str]:
    """The wheel that fits the environment, compiled if no such is kept; and where its source came from.

    Raises:
        FrameworkMissing: there is no compiler, or the source can't be had; what to do.
        ConfigError: somebody else compiles it now, or the source is none.
        RunFailed: compiling failed; the same command goes on from there.
    """
    facts = _facts(made, log=log, say=say)
    cuda = _with_cuda(build.cuda, facts)
    kernels = f"cuda{facts['cuda']}" if cuda else "cpu"
    fits = f"torch{facts['torch']}-{facts['python']}-{facts['platform']}-{_compiler()}-abi{facts['abi']}-{kernels}"
    told, where = wanted.registry.replace("==", "-"), wanted.registry
    fresh = root = None
    if not wanted.registry:
        where = build.source or wanted.source
        fresh = _fresh(made.parent / "source")
        root = sources.bring(where, fresh, log=log, say=say)
        told = f"{wanted.project}-{sources.digest(root)[:12]}"
        where += f" (content {told.rpartition('-')[2]})"
    folder = kept() / f"{told}-{fits}"
    folder.mkdir(parents=True, exist_ok=True)
    with workshop.held(folder):
        found = sorted(folder.glob("*.whl"))
        if not found:
            work = folder / "work"
            if root is not None and not work.exists():
                shutil.move(root, _fresh(folder / "moving") / "source")  # perhaps from another disk
                (folder / "moving" / "source").rename(work)
            elif not work.exists():
                work = _downloaded(wanted, folder, made, installer, log=log, say=say)
            _compile(wanted, work, folder, made, installer, cuda=cuda, jobs=build.jobs, log=log, say=say)
            found = sorted(folder.glob("*.whl"))
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        if not found:
            raise RunFailed(f"compiling {wanted.project} left no wheel; see {log}")
        for rest in ("work", "moving"):
            shutil.rmtree(folder / rest, ignore_errors=True)
    return found[-1], where


def kept() -> Path:
    """The folder of the wheels that were compiled on this machine."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "defect-detect" / "wheels"


def require_compiler() -> None:
    """Make sure that C++ can be compiled, before anything is installed.

    Raises:
        FrameworkMissing: there is no compiler.
    """
    compiler = os.environ.get("CXX", "c++").split()[0]
    if shutil.which(compiler) is None:
        raise FrameworkMissing(f"no C++ compiler ({compiler}). On Debian and Ubuntu: apt install g++")


def _compile(
    wanted: Compiled, work: Path, folder: Path, made: Path, installer: Installer, *, cuda: bool, jobs: int | None,
    log: Path, say: Say,
) -> None:  # fmt: skip
    environment = {
        **dict(wanted.environment), "FORCE_CUDA": str(int(cuda)), "MAX_JOBS": str(jobs or _jobs()),
        "PATH": f"{python_in(made).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }  # fmt: skip
    if not cuda:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # else their setup.py takes a GPU that is there as asked for
    done = _fresh(folder / "done")
    installer.compile(made, str(work), done, what=f"compiling {wanted.project}", log=log, say=say, **environment)
    for path in done.glob("*.whl"):
        path.rename(folder / path.name)
    shutil.rmtree(done)


def _downloaded(wanted: Compiled, folder: Path, made: Path, installer: Installer, *, log: Path, say: Say) -> Path:
    got = _fresh(folder / "got")
    installer.download(made, wanted.registry, got, what=f"downloading {wanted.registry}", log=log, say=say)
    archive = next(got.iterdir())
    root = sources.bring(str(archive), _fresh(folder / "unpacked"), log=log, say=say)
    root.rename(folder / "work")
    for rest in ("got", "unpacked"):
        shutil.rmtree(folder / rest, ignore_errors=True)
    return folder / "work"


def _facts(made: Path, *, log: Path, say: Say) -> dict[str, Any]:
    said = commands.run(
        [python_in(made), "-I", "-c", _FACTS], what="importing torch", log=log, say=say
    )  # fmt: skip
    facts: dict[str, Any] = msgspec.json.decode(said[-1], type=dict[str, Any])
    if not facts["headers"]:
        raise FrameworkMissing(
            f"{python_in(made)} has no headers to compile against (Python.h)."
            " On Debian and Ubuntu: apt install python3-dev"
        )
    return facts


def _with_cuda(asked: str, facts: Mapping[str, Any]) -> bool:
    if asked != "auto":
        return asked == "yes"
    return bool(facts["gpu"]) and facts["cuda"] is not None and _nvcc() == str(facts["cuda"]).partition(".")[0]


def _nvcc() -> str:
    """The major version of CUDA's compiler; empty: there is none."""
    home = os.environ.get("CUDA_HOME")
    return _version([str(Path(home) / "bin" / "nvcc") if home else "nvcc", "--version"], r"release (\d+)")


def _compiler() -> str:
    compiler = os.environ.get("CXX", "c++").split()[0]
    named = "clang" if "clang" in _version([compiler, "--version"], r"(clang)") else "gcc"
    return named + _version([compiler, "-dumpversion"], r"(\d+)")


def _version(command: list[str], pattern: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(pattern, said)
    return found[1] if found else ""


def _jobs() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - as proc(5) has it
        free = next((int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:")), _BYTES_A_JOB)
    return max(1, min(len(os.sched_getaffinity(0)), free // _BYTES_A_JOB))


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
