"""`python -I -m defect_detect.doctor.probe [--torch] FRAMEWORK ...`: what this interpreter has, as one JSON line.

Runs in the interpreter that it tells of.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

import msgspec

from defect_detect import backends, installed
from defect_detect.doctor.found import Gpu, Interpreter, Torch

_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_CONSTRAINTS = Path(__file__).resolve().parents[1] / "environments" / "constraints.txt"


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Tell what this interpreter has (started by the doctor).")
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("frameworks", nargs="*")
    arguments = parser.parse_args()
    there, known = _versions(), [name for name in arguments.frameworks if name in backends.names()]
    told = Interpreter(
        python=sys.executable, version=platform.python_version(),
        missing={
            name: installed.missing(name) if name in known else [f"the package that offers {name}"]
            for name in arguments.frameworks
        },
        unsuited={name: _unsuited(backends.load(name).requires, there) for name in known},
        versions={name: installed.versions(name) for name in known},
        opencv={name: there[name] for name in _OPENCV if name in there},
        untested=_untested(there),
        torch=_torch() if arguments.torch and "torch" in there else None,
    )  # fmt: skip
    print(msgspec.json.encode(told).decode())  # noqa: T201 - the answer


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for one in metadata.distributions():
        if name := one.metadata["Name"]:  # a half removed package has none
            found.setdefault(_normal(name), one.version)
    return found


def _unsuited(requires: tuple[str, ...], there: dict[str, str]) -> list[str]:
    """Requirements that what is installed doesn't meet. Where `packaging` is absent, this can't be told: none."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return []
    found = []
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        version = there.get(_normal(wanted.name))
        if version is not None and not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{text} (installed: {version})")
    return found


def _untested(there: dict[str, str]) -> dict[str, str]:
    found = {}
    for line in _CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        name, pinned, tested = line.partition("==")
        version = there.get(_normal(name)) if pinned else None
        if version is not None and version.partition("+")[0] != tested:
            found[_normal(name)] = f"{version}, tested {tested}"
    return found


def _torch() -> Torch:
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            import torch

            there = torch.cuda.is_available()
    except (ImportError, OSError, RuntimeError) as error:
        return Torch(error=f"{type(error).__name__}: {error}")
    gpus = []
    for index in range(torch.cuda.device_count() if there else 0):
        free, total = torch.cuda.mem_get_info(index)
        gpus.append(Gpu(name=torch.cuda.get_device_name(index), memory=total, free=free))
    about = [str(one.message).partition("\n")[0] for one in said if "CUDA" in str(one.message)]
    return Torch(
        version=str(torch.__version__),
        cuda=torch.version.cuda or "",
        gpus=gpus,
        error="" if there else "; ".join(about),
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


if __name__ == "__main__":
    main()
