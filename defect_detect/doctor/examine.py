"""Everything looked at, one thing after the other, and what is wrong with it."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from defect_detect import backends, runner
from defect_detect.doctor import database, diagnosis, machine, trying
from defect_detect.doctor.found import Database, Finding, Framework, Interpreter, Report
from defect_detect.doctor.trying import Tried
from defect_detect.errors import ConfigError, FrameworkMissing

Say = Callable[[str], None]
"""Shows what is being looked at."""

_PROBED_WITHIN = 120.0


def examine(
    asked: Sequence[str], *, quick: bool, device: str = "auto", limit: float = trying.LIMIT, say: Say
) -> Report:
    """Look at the frameworks that are named and the machine; none named: at all of them and at FiftyOne too.

    `quick`: import and try nothing. `limit`: seconds that each training or prediction of a trial gets.

    Raises:
        ConfigError: a framework that isn't one.
    """
    wanted, offered = list(dict.fromkeys(asked)), list[Finding]()
    for name in wanted:
        backends.load(name)
    if not wanted:
        wanted, offered = _usable()
    probed = _probed(wanted, quick=quick, say=say)
    tried = {} if quick else _tried([name for name in wanted if _there(name, probed)], device, limit, say)
    frameworks = [_framework(name, probed, tried.get(name)) for name in wanted]
    say("the machine")
    computer = machine.look(Path.cwd())
    service: Database | None = None
    if not asked:
        say("FiftyOne and its database")
        service = database.look(quick=quick)
    findings = [
        *diagnosis.frameworks(frameworks, probed, asked), *diagnosis.interpreters(list(probed.values())),
        *diagnosis.computer(computer, list(probed.values())), *diagnosis.service(service), *offered,
    ]  # fmt: skip
    return Report(
        ok=all(one.level != "fault" for one in findings), asked=list(asked), frameworks=frameworks,
        interpreters=list(probed.values()), machine=computer, database=service, findings=findings,
    )  # fmt: skip


def _usable() -> tuple[list[str], list[Finding]]:
    """All backends that can be imported, and what is wrong with those that other packages offer."""
    usable, findings = [], [Finding(where="backends", what=sentence, level="note") for sentence in backends.ignored()]
    for name in backends.names():
        try:
            backends.load(name)
            usable.append(name)
        except ConfigError as error:
            findings += [Finding(where=name, what=str(fault), level="note") for fault in error.faults]
    return usable, findings


def _probed(wanted: Sequence[str], *, quick: bool, say: Say) -> dict[str, Interpreter]:
    """What each interpreter says of itself, by its path; each is asked once, for all its frameworks."""
    grouped: dict[Path, list[str]] = {}
    for name in wanted:
        grouped.setdefault(runner.python_of(name), []).append(name)
    found = {}
    for python, names in grouped.items():
        say(f"{python}: {', '.join(names)}")
        options = [] if quick else ["--torch"]
        try:
            answer = runner.ask(python, "-m", "defect_detect.doctor.probe", *options, *names, limit=_PROBED_WITHIN)
            found[str(python)] = msgspec.convert(answer, Interpreter)
        except (FrameworkMissing, msgspec.ValidationError) as error:
            lines = str(error).splitlines()
            found[str(python)] = Interpreter(
                python=str(python), error=f"can't be asked: {lines[-1].strip()}", missing={name: [] for name in names}
            )
    return found


def _tried(names: Sequence[str], device: str, limit: float, say: Say) -> dict[str, list[Tried]]:
    found: dict[str, list[Tried]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="defect-detect-doctor-") as folder:
        root = trying.pictures(Path(folder))
        for name in names:
            for model in trying.models(name):
                say(f"{name}: a training and a prediction with {model}")
                home = Path(folder) / f"{name}-{model}"
                found[name].append(trying.attempt(name, model, root, home, device=device, limit=limit))
    return found


def _there(name: str, probed: Mapping[str, Interpreter]) -> bool:
    where = probed[str(runner.python_of(name))]
    return not where.error and not where.missing.get(name)


def _framework(name: str, probed: Mapping[str, Interpreter], tried: list[Tried] | None) -> Framework:
    python = runner.python_of(name)
    where = probed[str(python)]
    status: Literal["works", "broken", "absent", "installed"]
    if where.error:
        status = "broken"
    elif where.missing.get(name):
        status = "absent"
    elif tried is None:
        status = "installed"
    else:
        status = "broken" if any(one.faults() for one in tried) else "works"
    return Framework(
        name=name, status=status, python=str(python), own=str(python) != sys.executable,
        version=_version(name, where.versions.get(name, {})), device=_device(name, where), tried=tried or [],
    )  # fmt: skip


def _device(name: str, where: Interpreter) -> str:
    if not any(_project(one) == "torch" for one in backends.load(name).requires):
        return "CPU" if not where.error else ""
    if where.torch is None or not where.torch.version:
        return ""
    return f"cuda:0 {where.torch.gpus[0].name}" if where.torch.gpus else "CPU"


def _version(name: str, versions: Mapping[str, str]) -> str:
    """The framework's own: of the requirement called like it, else of the first."""
    requires = [_project(one) for one in backends.load(name).requires]
    main = name if name in requires else next(iter(requires), "")
    found = versions.get(main, "")
    return "" if found == "missing" else found


def _project(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement.strip(), maxsplit=1)[0]
