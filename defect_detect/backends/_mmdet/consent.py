"""Configs that run: mmdet's are Python. Those of its zoo are installed; a file of the user's own needs a yes.

The yes is the SHA-256 of the file, or, where it stands on others (`_base_`, `read_base`), of all of them
in the order in which they are named. They are told without running any.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defect_detect.backends._trust import agreed
from defect_detect.data import safe_yaml
from defect_detect.errors import ConfigError, Fault

_PLAIN = (".json", ".yaml", ".yml")


def zoo() -> tuple[Path, Path]:
    """The folders of the installed mmdet whose configs are as trusted as its code."""
    import mmdet

    home = Path(mmdet.__file__).resolve().parent
    return home / ".mim" / "configs", home / "configs"


def find(given: str, trust: str) -> Path:
    """The config that `given` names: of the zoo, else a file of the user's whose SHA-256 is `trust`.

    Raises:
        ConfigError: there is none, or it isn't trusted.
    """
    folders = zoo()
    found = [folder / given for folder in folders if (folder / given).is_file()]
    path = (found or [Path(given)])[0].resolve()
    if not path.is_file():
        fix = "Give the path of a file, or a name below mmdet's configs/ folder."
        raise ConfigError(Fault(where="options.config", expected="a config of mmdet's", found=repr(given), fix=fix))
    if any(path.is_relative_to(folder) for folder in folders):
        return path
    own = list(dict.fromkeys(_files(path, folders)))
    agreed(own, trust, where=f"options.config {given}", flag="--trust-config")
    return path


def _files(path: Path, folders: tuple[Path, ...], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """`path` and all that it stands on, but for files of the zoo."""
    if any(path.is_relative_to(folder) for folder in folders):
        return
    if path in above or not path.is_file():
        found = "itself among its bases" if path in above else f"no file {path}"
        raise ConfigError(Fault(where=f"options.config {(*above, path)[0]}", expected="its base", found=found))
    yield path
    for base in _bases(path):
        yield from _files(base.resolve(), folders, (*above, path))


def _bases(path: Path) -> list[Path]:
    if path.suffix in _PLAIN:
        content = safe_yaml.read(path, error=ConfigError)
        return _named(content.get("_base_", []) if isinstance(content, dict) else [], path)
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(Fault(where=f"options.config {path}", expected="Python", found=str(error))) from error
    for line in body:
        if isinstance(line, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "_base_" for to in line.targets):
            try:
                return _named(ast.literal_eval(line.value), path)
            except ValueError as error:
                raise _dynamic(path, ast.unparse(line.value)) from error
    lines = [inner for line in body if isinstance(line, ast.With) for inner in line.body]
    return [file for line in lines if isinstance(line, ast.ImportFrom) and line.level for file in _imported(line, path)]


def _named(bases: Any, path: Path) -> list[Path]:
    """`package::name` is of an installed package."""
    bases = list(bases) if isinstance(bases, list | tuple) else [bases]
    for base in bases:
        if not isinstance(base, str) or "{{" in base:
            raise _dynamic(path, repr(base))
    return [path.parent / base for base in bases if "::" not in base]


def _imported(line: ast.ImportFrom, path: Path) -> list[Path]:
    folder = path.parents[line.level - 1].joinpath(*(line.module or "").split("."))
    return [folder.with_suffix(".py")] if line.module else [folder / f"{name.name}.py" for name in line.names]


def _dynamic(path: Path, found: str) -> ConfigError:
    fix = "Write the paths of its bases out."
    return ConfigError(Fault(where=f"options.config {path}: _base_", expected="plain text", found=found[:80], fix=fix))
