"""Packages into an environment, by uv where it is there, else by pip."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from defect_detect.environments import commands
from defect_detect.environments.commands import Say
from defect_detect.errors import FrameworkMissing, RunFailed

_UNREACHED = (
    "NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "Temporary failure in name resolution",
    "Could not fetch URL", "Connection refused", "Network is unreachable", "ProxyError", "ReadTimeoutError",
    "error sending request", "dns error", "Failed to fetch", "Could not resolve host", "unable to access",
)  # fmt: skip
_NONE_FITS = ("No matching distribution found", "No solution found", "Could not find a version that satisfies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installer:
    """How packages come: from where, held to which versions."""

    uv: tuple[str, ...] = ()
    """How uv is called; empty: pip is used."""
    constraints: Path | None = None
    """Versions to hold to; None: the newest that suit."""
    wheels: Path | None = None
    """A folder of wheels to take all from, without any registry."""

    def create(self, python: Path, made: Path, *, log: Path, say: Say) -> None:
        """Make the empty environment, with pip in it.

        Raises:
            RunFailed: that Python can't.
        """
        what = f"making an environment with {python}"
        try:
            # Not by uv: its own needs pip from a registry, to which wheels are compiled.
            commands.run([python, "-I", "-m", "venv", made], what=what, log=log, say=say)
        except commands.Failed as error:
            if any("ensurepip" in line for line in error.said):
                raise RunFailed(
                    f"{what}: it has no venv module. On Debian and Ubuntu: apt install python3-venv"
                ) from error
            raise

    def install(self, made: Path, requirements: Sequence[str], *, what: str, log: Path, say: Say) -> None:
        """Install the requirements, and what they require.

        Raises:
            FrameworkMissing: the registry can't be reached, or has nothing that fits; what to do.
            RunFailed: it failed otherwise.
        """
        held = ("--constraint", str(self.constraints)) if self.constraints is not None else ()
        tool = (*self.uv, "pip", "install", "--python", str(python_in(made))) if self.uv else (
            str(python_in(made)), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
            "--progress-bar", "off",
        )  # fmt: skip
        try:
            commands.run([*tool, *held, *self._wheels(), *requirements], what=what, log=log, say=say)
        except commands.Failed as error:
            raise self._told(error) from error

    def compile(self, made: Path, source: str, to: Path, *, what: str, log: Path, say: Say, **environment: str) -> None:
        """Compile a wheel of `source` (a folder, or a requirement) against what is installed in the environment.

        Raises:
            FrameworkMissing, RunFailed: as `install`.
        """
        command: list[str | Path] = [
            python_in(made), "-I", "-m", "pip", "wheel", "--verbose", "--no-input", "--disable-pip-version-check",
            "--no-build-isolation", "--no-deps", "--wheel-dir", to, *self._wheels(), source,
        ]  # fmt: skip
        try:
            commands.run(command, what=what, log=log, say=say, environment=environment)
        except commands.Failed as error:
            raise self._told(error) from error

    def download(self, made: Path, requirement: str, to: Path, *, what: str, log: Path, say: Say) -> None:
        """Download the source of a requirement.

        Raises:
            FrameworkMissing, RunFailed: as `install`.
        """
        command: list[str | Path] = [
            python_in(made), "-I", "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps",
            "--no-build-isolation", "--no-binary", ":all:", "--progress-bar", "off", "--dest", to, *self._wheels(),
            requirement,
        ]  # fmt: skip
        try:
            commands.run(command, what=what, log=log, say=say)
        except commands.Failed as error:
            raise self._told(error) from error

    def _wheels(self) -> tuple[str, ...]:
        return () if self.wheels is None else ("--no-index", "--find-links", str(self.wheels.absolute()))

    def _told(self, error: commands.Failed) -> RunFailed | FrameworkMissing:
        """The error, in words of what to do about it where that is known."""
        unreached = next((line for line in error.said if any(sign in line for sign in _UNREACHED)), None)
        if unreached is not None and self.wheels is None:
            return FrameworkMissing(
                f"the package registry can't be reached: {unreached.strip()[:300]}. Check the network; name a proxy"
                " (HTTPS_PROXY) or a registry of your own (PIP_INDEX_URL, UV_INDEX_URL); or bring the wheels in a"
                f" folder: --wheels DIR. The same command goes on from there.\n{error}"
            )
        if self.wheels is None and any("from versions: none" in line for line in error.said):
            return FrameworkMissing(
                f"the package registry can't be reached, or doesn't know a package at all.\n{error}"
            )
        if any(sign in line for sign in _NONE_FITS for line in error.said):
            where = "the registry" if self.wheels is None else str(self.wheels)
            held = f" and the versions that are held to ({self.constraints})" if self.constraints is not None else ""
            return FrameworkMissing(
                f"{where} has no version that suits this Python{held}."
                f" Try another --python, or --upgrade for the newest versions.\n{error}"
            )
        if any("No space left on device" in line for line in error.said):
            return RunFailed(f"no room left on the disk. Make room and run the same command again.\n{error}")
        return error


def uv() -> tuple[str, ...]:
    """How uv is called where it is installed; else empty."""
    if (found := shutil.which("uv")) is not None:
        return (found,)
    return (sys.executable, "-I", "-m", "uv") if importlib.util.find_spec("uv") is not None else ()


def python_in(made: Path) -> Path:
    """The interpreter of an environment."""
    return made / "bin" / "python"
