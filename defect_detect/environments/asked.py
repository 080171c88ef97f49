"""What `tools/make_env.py` is asked for, checked and made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from defect_detect import backends, runner
from defect_detect.environments import installing, making, package, recipes
from defect_detect.environments.wheels import Build
from defect_detect.errors import ConfigError, DefectDetectError, Fault, did_you_mean

ALL = "all"
_OLDEST = (3, 11)


def run(
    frameworks: Sequence[str], *, envs: Path | None = None, python: Path | None = None, together: bool = False,
    compiled: bool = False, source: str | None = None, cuda: str = "auto", jobs: int | None = None, fresh: bool = False,
    upgrade: bool = False, wheels: Path | None = None, installer: str = "auto", console: Console | None = None,
) -> int:  # fmt: skip
    """Make an environment for each framework, or one for all of them. Returns the exit code.

    What fails for one doesn't keep the others from being made.

    Raises:
        InputError: the user's input is at fault, all at once; nothing was made.
    """
    console = console or Console(stderr=True)
    wanted = _known(frameworks)
    chosen = _python(python)
    _suits(wanted, together=together, compiled=compiled, source=source, wheels=wheels, jobs=jobs)
    folder = (envs or runner.environments()[0]).absolute()
    tool = installing.Installer(uv=_uv(installer), constraints=None if upgrade else recipes.CONSTRAINTS, wheels=wheels)
    build = Build(source=source, cuda=cuda, jobs=jobs)
    failures: dict[str, DefectDetectError] = {}
    for group in [wanted] if together else [(one,) for one in wanted]:
        title = " + ".join(group)
        console.print(f"[bold]{title}[/]", highlight=False)
        try:
            order = making.Order(
                frameworks=group, envs=folder, python=chosen, compiled=compiled and "mmdet" in group, fresh=fresh,
                installer=tool, build=build,
            )  # fmt: skip
            made = making.make(order, console)
        except DefectDetectError as error:
            if len(wanted) == 1 or together:
                raise
            failures[title] = error
            console.print(f"{title}: {error}", markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(f"{title}: ready in {made}", markup=False, highlight=False, soft_wrap=True)
    if folder not in runner.environments():
        console.print(
            f"To have it used: export DEFECT_DETECT_ENVS={folder}", markup=False, highlight=False, soft_wrap=True
        )
    for title in failures:
        console.print(f"{title} failed", style="bold red", highlight=False)
    return 1 if failures else 0


def _known(frameworks: Sequence[str]) -> tuple[str, ...]:
    """The backends that are meant, each once, in the order of the alphabet.

    Raises:
        ConfigError: one that isn't there, or needs nothing.
    """
    able = tuple(name for name in backends.names() if _needs(name))
    if ALL in frameworks:
        return able
    faults = []
    for name in dict.fromkeys(frameworks):
        if name not in backends.shipped():
            fix = did_you_mean(name, (*able, ALL))
            faults.append(Fault(where=name, expected=" | ".join((*able, ALL)), found="no such framework", fix=fix))
        elif name not in able:
            faults.append(
                Fault(where=name, expected="a framework", found="a backend that needs none: it runs anywhere")
            )
    if faults:
        raise ConfigError(*faults)
    return tuple(sorted(set(frameworks)))


def _needs(name: str) -> bool:
    """Whether the backend needs an environment; a broken one of another package can't be given one."""
    try:
        return bool(backends.load(name).requires or package.offering(name))
    except ConfigError:
        return False


def _suits(
    wanted: Sequence[str], *, together: bool, compiled: bool, source: str | None, wheels: Path | None, jobs: int | None
) -> None:
    """Refuse options that would silently do nothing."""
    faults = []
    if compiled and "mmdet" not in wanted:
        faults.append(Fault(where="--compile", expected="mmdet among the frameworks", found=" ".join(wanted)))
    if source is not None and "detectron2" not in wanted:
        faults.append(Fault(where="--source", expected="detectron2 among the frameworks", found=" ".join(wanted),
                            fix="All others come from a registry, or from --wheels."))  # fmt: skip
    if together and len(wanted) == 1:
        faults.append(Fault(where="--together", expected="several frameworks", found=" ".join(wanted)))
    if wheels is not None and not wheels.is_dir():
        faults.append(Fault(where="--wheels", expected="a folder of wheels", found=f"{wheels}, which is none"))
    if jobs is not None and jobs < 1:
        faults.append(Fault(where="--jobs", expected="1 or more", found=str(jobs)))
    if faults:
        raise ConfigError(*faults)


def _python(given: Path | None) -> Path:
    """The Python to make environments with: one that this package runs on.

    Raises:
        ConfigError: it can't be run, or is too old.
    """
    if given is None:
        return Path(sys.executable)
    found = shutil.which(given)
    try:
        said = subprocess.run([found or given, "-I", "-c", "import sys; print(*sys.version_info[:2])"], check=False,
                              capture_output=True, text=True, timeout=60).stdout.split()  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        said = []
    if not said or (int(said[0]), int(said[1])) < _OLDEST:
        what = f"Python {'.'.join(said)}" if said else "nothing that runs as one"
        raise ConfigError(Fault(where=f"--python {given}", expected="Python 3.11 or later", found=what))
    return Path(found or given).absolute()


def _uv(installer: str) -> tuple[str, ...]:
    found = () if installer == "pip" else installing.uv()
    if installer == "uv" and not found:
        raise ConfigError(
            Fault(where="--installer", expected="uv to be installed", found="no uv", fix="pip install uv")
        )
    return found
