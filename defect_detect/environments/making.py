"""An environment made, tried and put in its place. Killed at any moment, the same command goes on or begins anew."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console

from defect_detect import runner
from defect_detect.doctor import trying
from defect_detect.environments import commands, installing, package, recipes, room, wheels, workshop
from defect_detect.environments.installing import Installer, python_in
from defect_detect.environments.recipes import Recipe
from defect_detect.environments.showing import Steps
from defect_detect.environments.workshop import Made, Workshop
from defect_detect.errors import RunFailed

_PREFIX = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made."""

    frameworks: tuple[str, ...]
    """That one environment is to hold."""
    envs: Path
    python: Path = field(default_factory=lambda: Path(sys.executable))
    """The Python to make it with."""
    compiled: bool = False
    """With mmcv's own operators, compiled here, where torchvision's would stand in for most."""
    fresh: bool = False
    """Even where one like it is there."""
    installer: Installer
    build: wheels.Build = field(default_factory=wheels.Build)


def make(order: Order, console: Console) -> Path:
    """Make the environment, unless it is there; returns its folder.

    What was there before stays in its place until the new one has passed its trial.

    Raises:
        ConfigError: somebody else makes it now, there is no room, or an option can't be meant.
        FrameworkMissing: something can't be had; what to do.
        RunFailed: a step failed, or the trial. The same command goes on from there.
    """
    recipe = recipes.recipe(order.frameworks, compiled=order.compiled)
    if recipe.compiled:
        wheels.require_compiler()
    with workshop.opened(order.envs.absolute(), order.frameworks) as shop:
        ordered = _ordered(order, recipe)
        there = shop.current()
        if there is not None and not order.fresh and _is(there, ordered, "tried"):
            console.print(f"{there}: made and tried before, kept. Once more from the beginning: --fresh.",
                          highlight=False, soft_wrap=True)  # fmt: skip
            return there
        made = _unfinished(shop, ordered) if not order.fresh else None
        if made is None:
            _discard_unfinished(shop)
            made = shop.next()
            room.check(recipe, order.envs, downloads=order.installer.wheels is None)
        console.print(f"{made}  (log: {shop.log})", highlight=False, soft_wrap=True, markup=False)
        steps = Steps(console, of=4 + len(recipe.compiled))
        if not _is(made, ordered, "installed"):
            _install(order, recipe, ordered, shop=shop, made=made, steps=steps)
        _try(order, made, shop, steps)
        shop.publish(made)
        for left in shop.clear():
            console.print(f"{left} is still in use; it goes with the next environment that is made here.",
                          highlight=False, soft_wrap=True, markup=False)  # fmt: skip
    return made


def _install(order: Order, recipe: Recipe, ordered: str, *, shop: Workshop, made: Path, steps: Steps) -> None:
    made.mkdir()
    record = Made(frameworks=list(order.frameworks), ordered=ordered)
    workshop.write(made, record)
    installer, log = order.installer, shop.log
    with steps.step(f"making an environment with {order.python}") as say:
        installer.create(order.python, made, log=log, say=say)
    with steps.step(f"installing {', '.join(_named(recipe))}") as say:
        installer.install(made, recipe.requirements, what="installing", log=log, say=say)
    sources = {}
    for one in recipe.compiled:
        with steps.step(f"compiling {one.project}, unless it was before ({one.minutes})") as say:
            wheel, sources[one.project] = wheels.wheel(one, order.build, made, installer, log=log, say=say)
            installer.install(made, [str(wheel)], what=f"installing {one.project}", log=log, say=say)
    with steps.step("bringing defect_detect along"):
        folder = commands.run(
            [python_in(made), "-I", "-c", _PREFIX], what="asking for its folder", log=log, say=lambda _: None
        )
        package.put(Path(folder[-1]), order.frameworks)
    workshop.write(made, msgspec.structs.replace(record, stage="installed", sources=sources))


def _try(order: Order, made: Path, shop: Workshop, steps: Steps) -> None:
    """Train and predict with every framework in it, as a comparison does.

    Raises:
        RunFailed: one doesn't work there, and how.
    """
    failed = []
    python = python_in(made)
    with steps.step("trying it: a training and a prediction each") as say, tempfile.TemporaryDirectory() as folder:
        root = trying.pictures(Path(folder))
        for framework in order.frameworks:
            for model in trying.models(framework):
                say(f"{framework} {model}")
                home = Path(folder) / f"{framework}-{model}"
                tried = trying.attempt(framework, model, root, home, python=python)
                failed += [f"{framework} {model}, {part}: {why}" for part, why in tried.faults().items()]
                _keep_log(home, shop.log)
    if failed:
        raise RunFailed(
            "it was made, but doesn't work, and isn't used:\n" + "\n".join(failed) + f"\nAll of it: {shop.log}"
        )
    versions: dict[str, str] = {}
    for framework in order.frameworks:
        versions |= runner.ask(python, "-m", "defect_detect.worker", "--check", framework)["versions"]
    record = workshop.read(made)
    if record is None:
        raise RunFailed(f"{made / workshop.RECORD} is gone")
    workshop.write(made, msgspec.structs.replace(record, stage="tried", versions=versions))


def _keep_log(home: Path, log: Path) -> None:
    with log.open("ab") as file:
        for path in sorted(home.rglob("log.txt")):
            file.write(f"\n{path.relative_to(home.parent)}:\n".encode() + path.read_bytes())


def _unfinished(shop: Workshop, ordered: str) -> Path | None:
    """An environment of this order that was killed, or failed, when all was installed."""
    for path in reversed(shop.generations()):
        if _is(path, ordered, "installed"):
            return path
    return None


def _discard_unfinished(shop: Workshop) -> None:
    for path in shop.generations():
        record = workshop.read(path)
        if record is None or record.stage != "tried":
            (path / workshop.RECORD).unlink(missing_ok=True)
            shutil.rmtree(path)


def _is(made: Path, ordered: str, stage: str) -> bool:
    record = workshop.read(made)
    return record is not None and (record.ordered, record.stage) == (ordered, stage) and python_in(made).exists()


def _ordered(order: Order, recipe: Recipe) -> str:
    held = order.installer.constraints
    asked = [
        sorted(recipe.frameworks), sorted(recipe.requirements), [one.project for one in recipe.compiled],
        hashlib.sha256(held.read_bytes()).hexdigest() if held is not None else "newest",
        str(order.python.resolve()), package.told(), order.build.source if recipe.compiled else None, order.build.cuda,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _named(recipe: Recipe) -> Sequence[str]:
    """The projects, but for those that every environment has."""
    everywhere = {recipes.project(one) for one in package.requirements()}
    return [name for one in recipe.requirements if (name := recipes.project(one)) not in everywhere]


__all__ = ["Order", "installing", "make"]
