"""What is installed in this Python, asked without importing it."""

from __future__ import annotations

import importlib.metadata
import platform
import re

from defect_detect import backends


def missing(framework: str) -> list[str]:
    """Requirements of the backend that are not installed in this Python."""
    return [name for name in backends.load(framework).requires if _version(name) is None]


def versions(framework: str) -> dict[str, str]:
    """What the figures stand on: Python, this package, the framework and its foundations."""
    offered = [name for name in (backends.package(framework),) if name]
    names = ["defect-detect", *offered, "numpy", "pillow", *backends.load(framework).requires]
    found = {_project(name): _version(name) or "missing" for name in names}
    return {"python": platform.python_version(), **found}


def _project(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement.strip(), maxsplit=1)[0]


def _version(requirement: str) -> str | None:
    try:
        return importlib.metadata.version(_project(requirement))
    except importlib.metadata.PackageNotFoundError:
        return None
