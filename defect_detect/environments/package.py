"""This package in another environment: the very code that runs here, without building anything.

From a checkout, a link leads to it, so that both are always of one version. An installed package is copied file by
file, as its own record lists them.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from defect_detect.data.files import atomic_write
from defect_detect.errors import FrameworkMissing

_NAME = "defect-detect"
_NOWHERE = "defect-detect is neither installed in this Python nor run from a checkout"


def requirements() -> tuple[str, ...]:
    """What this package itself requires, without its extras.

    Raises:
        FrameworkMissing: it isn't installed, nor is this a checkout of it.
    """
    if (described := _checked_out()) is not None:
        return tuple(described["dependencies"])
    try:
        required = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError as error:
        raise FrameworkMissing(_NOWHERE) from error
    return tuple(one for one in required if "extra ==" not in one)


def put(site_packages: Path) -> str:
    """Put this package there; says how.

    Raises:
        FrameworkMissing: it isn't installed properly here.
    """
    if (described := _checked_out()) is not None:
        return _linked(site_packages, described["version"], described["dependencies"])
    return _copied(site_packages)


def _linked(site_packages: Path, version: str, required: Sequence[str]) -> str:
    package = _package()
    link = site_packages / package.name
    link.unlink(missing_ok=True)
    link.symlink_to(package)
    described = site_packages / f"defect_detect-{version}.dist-info"
    described.mkdir(exist_ok=True)
    # What an installed package leaves, so that pip and importlib.metadata know it and pip can remove it.
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {one}\n" for one in required),
        "INSTALLER": f"{_NAME}\n",
        "RECORD": f"{package.name},,\n"
        + "".join(f"{described.name}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD")),
    }
    for name, text in texts.items():
        atomic_write(described / name, text)
    return f"linked to {package}"


def _copied(site_packages: Path) -> str:
    try:
        installed = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError as error:
        raise FrameworkMissing(_NOWHERE) from error
    for file in installed.files or ():
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue  # scripts, and what that Python compiles for itself
        target = site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), target)
    return f"version {installed.version}, copied"


def _checked_out() -> dict[str, Any] | None:
    """What pyproject.toml says of the project where this is a checkout of it; None: it is installed."""
    described = _package().parent / "pyproject.toml"
    if not described.is_file():
        return None
    project: dict[str, Any] = tomllib.loads(described.read_text(encoding="utf-8"))["project"]
    return project


def _package() -> Path:
    return Path(__file__).resolve().parents[1]
