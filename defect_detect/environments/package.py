"""This package in another environment: the very code that runs here, without building anything.

From a checkout, a link leads to it, so that both are always of one version. An installed package is copied file by
file, as its own record lists them; so are packages that offer backends of their own.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from defect_detect import backends
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


def told() -> str:
    """What of this package an environment holds: another one is another environment."""
    return "linked" if _checked_out() is not None else metadata.version(_NAME)


def offering(framework: str) -> tuple[str, ...]:
    """What the package requires that offers this backend, beside ours; nothing where the backend is our own."""
    other = backends.package(framework)
    required = [] if other in ("", _NAME) else metadata.requires(other) or []
    return tuple(one for one in required if "extra ==" not in one and not re.match(r"defect[-_.]detect\b", one))


def put(site_packages: Path, frameworks: Sequence[str]) -> None:
    """Put this package there, and those that offer these backends.

    Raises:
        FrameworkMissing: it isn't installed properly here.
    """
    for other in sorted({backends.package(name) for name in frameworks} - {"", _NAME}):
        _copied(site_packages, other)
    if (described := _checked_out()) is not None:
        _linked(site_packages, described["version"], described["dependencies"])
    else:
        _copied(site_packages, _NAME)


def _linked(site_packages: Path, version: str, required: Sequence[str]) -> None:
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


def _copied(site_packages: Path, name: str) -> None:
    try:
        installed = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise FrameworkMissing(_NOWHERE) from error
    for file in installed.files or ():
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue  # scripts, and what that Python compiles for itself
        target = site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), target)


def _checked_out() -> dict[str, Any] | None:
    """What pyproject.toml says of the project where this is a checkout of it; None: it is installed."""
    described = _package().parent / "pyproject.toml"
    if not described.is_file():
        return None
    project: dict[str, Any] = tomllib.loads(described.read_text(encoding="utf-8"))["project"]
    return project


def _package() -> Path:
    return Path(__file__).resolve().parents[1]
