"""Backends of other packages, by entry points in the group `defect_detect.backends`.

Looking for them imports nothing: one that is broken is told of when it is used. The names of this
package's own backends are never given away, so that nothing which happens to be installed changes what
`torchvision` means.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any

from defect_detect.errors import ConfigError, Fault

GROUP = "defect_detect.backends"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CALLS: Mapping[str, tuple[str, ...]] = {
    "train": ("job", "train", "val", "out", "watch"),
    "predict": ("job", "checkpoint", "data", "device", "batch", "watch"),
}


def offers(shipped: Collection[str]) -> tuple[dict[str, EntryPoint], tuple[str, ...]]:
    """What this Python's other packages offer, by name, and in sentences what of it isn't taken.

    `shipped`: names that are taken.
    """
    by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in metadata.entry_points(group=GROUP):
        # One package can be met twice: installed for editing, it has metadata in two places.
        by_name.setdefault(entry.name, {})[entry.value, package(entry)] = entry
    taken, ignored = {}, []
    for name, entries in sorted(by_name.items()):
        owners = " and ".join(sorted(package(entry) for entry in entries.values()))
        if name in shipped:
            ignored.append(f"backend {name!r} of {owners} is ignored: defect-detect has its own of that name")
        elif _NAME.fullmatch(name) is None:
            ignored.append(f"backend {name!r} of {owners} is ignored: a name is of a-z, 0-9 and _, a letter first")
        elif len(entries) > 1:
            ignored.append(f"backend {name!r} is ignored: {owners} offer one each; uninstall all but one")
        else:
            (taken[name],) = entries.values()
    return taken, tuple(ignored)


def package(entry: EntryPoint) -> str:
    """The name of the package that the entry point is of."""
    return entry.dist.name if entry.dist is not None else entry.module


def load(entry: EntryPoint) -> Any:
    """The module that an entry point names.

    Raises:
        ConfigError: it can't be imported, or isn't a backend; all that it lacks.
    """
    where = f"backend {entry.name!r} of the package {package(entry)} ({entry.value})"
    try:
        module = entry.load()
    except (Exception, SystemExit) as error:
        found = f"{type(error).__name__}: {error}"
        fix = f"Mend or uninstall {package(entry)}."
        raise ConfigError(Fault(where=where, expected="a module that can be imported", found=found, fix=fix)) from error
    if lacking := [*_values(module), *_calls(module)]:
        fix = "docs/backends.md says what a backend offers."
        raise ConfigError(*(Fault(where=where, expected=what, found=found, fix=fix) for what, found in lacking))
    return module


def _values(module: Any) -> list[tuple[str, str]]:
    lacking = []
    requires = getattr(module, "requires", None)
    if not isinstance(requires, tuple) or not all(isinstance(one, str) for one in requires):
        lacking.append(("requires, a tuple of requirements in text", repr(requires)))
    models = getattr(module, "models", None)
    if not isinstance(models, Mapping) or not models or not all(map(_is_model, models.items())):
        lacking.append(("models, a mapping of names to Capabilities", repr(models)))
    return lacking


def _is_model(entry: tuple[Any, Any]) -> bool:
    from defect_detect.backends import Capabilities  # which imports this module

    return isinstance(entry[0], str) and isinstance(entry[1], Capabilities)


def _calls(module: Any) -> list[tuple[str, str]]:
    lacking = []
    for name, wanted in _CALLS.items():
        call = getattr(module, name, None)
        what = f"{name}({', '.join(wanted)})"
        if not callable(call):
            lacking.append((what, repr(call)))
        elif missing := [one for one in wanted if not _takes(call, one)]:
            lacking.append((what, f"one without {', '.join(missing)}"))
    return lacking


def _takes(call: Any, argument: str) -> bool:
    parameters = inspect.signature(call).parameters.values()
    return any(one.name == argument or one.kind == one.VAR_KEYWORD for one in parameters)
