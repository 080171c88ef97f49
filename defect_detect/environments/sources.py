"""The source of a package that no registry has: a folder, an archive, or a git repository, told by its content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from defect_detect.environments import commands
from defect_detect.environments.commands import Say
from defect_detect.errors import ConfigError, Fault, FrameworkMissing, RunFailed

_MADE = ("build", "dist", "__pycache__", ".git")
_COMPILED = (".so", ".pyc", ".o")
_URL = re.compile(r"(?:git\+)?((?:https?|ssh|git|file)://\S+?|[\w.-]+@[\w.-]+:\S+?)(?:@([\w./-]+))?")
_ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz")


def bring(source: str, to: Path, *, log: Path, say: Say) -> Path:
    """Copy the source into the empty folder `to`; returns where in it setup.py or pyproject.toml lies.

    `source`: a path, or a git URL, after which `@REVISION` may stand. The user's own folder is never built in.

    Raises:
        ConfigError: it is neither, or holds no Python project.
        FrameworkMissing: the repository can't be reached; what to do.
        RunFailed: git failed otherwise.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        shutil.copytree(path, to, ignore=_left_out, symlinks=True, dirs_exist_ok=True)
    elif path.is_file() and path.name.endswith(_ARCHIVES):
        shutil.unpack_archive(path, to, filter=None if path.suffix == ".zip" else "data")
    elif found := _URL.fullmatch(source):
        _clone(found[1], found[2], to, log=log, say=say)
    else:
        raise ConfigError(Fault(
            where="--source", expected="a folder, an archive or a git URL", found=f"{source!r}, which is none",
            fix="Bring the source here (git clone, or its archive) and give its path.",
        ))  # fmt: skip
    root = next((place for place in (to, *_only_folder(to)) if _is_project(place)), None)
    if root is None:
        raise ConfigError(Fault(where=f"--source {source}", expected="a Python project", found="no setup.py in it"))
    return root


def digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of a source, without what building leaves there."""
    whole = hashlib.sha256()
    for path in sorted(_files(folder)):
        name = os.fsencode(path.relative_to(folder))
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        whole.update(b"%d %s %d " % (len(name), name, len(content)) + hashlib.sha256(content).digest())
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        out = _left_out(place, [*folders, *files])
        folders[:] = [name for name in folders if name not in out]
        yield from (Path(place) / name for name in files if name not in out)
        yield from (Path(place) / name for name in folders if (Path(place) / name).is_symlink())


def _left_out(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name in _MADE or name.endswith((*_COMPILED, ".egg-info"))}


def _clone(url: str, revision: str | None, to: Path, *, log: Path, say: Say) -> None:
    if shutil.which("git") is None:
        raise FrameworkMissing(f"git is not installed, which brings {url}. Install it, or give a path: --source DIR")
    say(url)
    # It must never wait for a password that nobody can type.
    asked = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    at = ("--branch", revision) if revision and not re.fullmatch(r"[0-9a-f]{7,40}", revision) else ()
    depth = ("--depth", "1") if not revision or at else ()
    try:
        commands.run(
            ["git", "clone", "--quiet", *depth, *at, "--", url, to], what=f"cloning {url}", log=log, say=say,
            environment=asked,
        )  # fmt: skip
        if revision and not at:
            commands.run(["git", "-C", to, "checkout", "--quiet", revision], what=f"checking out {revision}", log=log,
                         say=say)  # fmt: skip
    except commands.Failed as error:
        raise FrameworkMissing(
            f"{url} can't be cloned: {' '.join(error.said[-2:])[:300]}. Without a network, clone it elsewhere (or take"
            f" its archive), bring it here and give its path: --source DIR\n{error}"
        ) from error
    except RunFailed as error:
        raise FrameworkMissing(f"{error}. Give a path: --source DIR") from error


def _only_folder(place: Path) -> list[Path]:
    """Archives hold one folder, in which all lies."""
    inside = [path for path in place.iterdir() if path.is_dir()]
    return inside if len(inside) == 1 else []


def _is_project(place: Path) -> bool:
    return (place / "setup.py").is_file() or (place / "pyproject.toml").is_file()
