"""Where an environment is made, so that nobody ever sees it half made.

    ENVS/mmdet -> .mmdet/2          what `runner` finds: a link, set at the very end, in one step
    ENVS/.mmdet/2/                  the environment, at the place it was made for
    ENVS/.mmdet/2/made.json         what it was made from, and how far that is
    ENVS/.mmdet/log.txt             what pip and the compilers said
    ENVS/.mmdet/.lock               who makes one now

The one before stays until the new one has been tried, and goes when nobody runs from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from defect_detect import holding
from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, Fault

RECORD = "made.json"
LOG = "log.txt"


class Made(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment was made from, and how far that is."""

    schema: int = 1
    frameworks: list[str]
    ordered: str
    """SHA-256 of all that it is to be made of: another one is another environment."""
    stage: str = "installing"
    """`installing` | `installed` | `tried`. Killed while installing, packages may be halves: it is made anew."""
    sources: dict[str, str] = {}
    """What was compiled, and from where."""
    versions: dict[str, str] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Workshop:
    """The folder in which the environment for some frameworks is made."""

    envs: Path
    frameworks: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Holds every generation, the log and the lock."""
        return self.envs / ("." + "+".join(self.frameworks))

    @property
    def log(self) -> Path:
        """What pip and the compilers said, all the times."""
        return self.folder / LOG

    def generations(self) -> list[Path]:
        """The environments that are there, finished or not, the oldest first."""
        found = [path for path in self.folder.iterdir() if path.name.isdigit() and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name))

    def next(self) -> Path:
        """The folder of the environment to be made next."""
        return self.folder / str(max((int(path.name) for path in self.generations()), default=0) + 1)

    def current(self) -> Path | None:
        """The environment that all of the frameworks' links lead to, finished."""
        targets = {(self.envs / framework).resolve() for framework in self.frameworks}
        inside = [path for path in targets if path.parent == self.folder.resolve()]
        return inside[0] if len(targets) == len(inside) == 1 and inside[0].is_dir() else None

    def publish(self, made: Path) -> None:
        """Have the links lead to it, each in one step."""
        for framework in self.frameworks:
            link, fresh = self.envs / framework, self.folder / f".link-{framework}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.path.relpath(made, self.envs))
            fresh.replace(link)

    def clear(self) -> list[Path]:
        """Delete the environments that no link leads to, but for those that somebody runs from: these are returned."""
        wanted = {path.resolve() for path in self.envs.iterdir() if path.is_symlink()}
        left = []
        for path in self.generations():
            if path.resolve() in wanted:
                continue
            if _in_use(path):
                left.append(path)
            else:
                (path / RECORD).unlink(missing_ok=True)  # half deleted, it must not be taken up again
                shutil.rmtree(path)
        return left


@contextlib.contextmanager
def opened(envs: Path, frameworks: tuple[str, ...]) -> Iterator[Workshop]:
    """The workshop for these frameworks, held by nobody else until the block ends.

    Raises:
        ConfigError: somebody else makes this environment now, or one that was made otherwise is in its place.
        OSError: the folder can't be written to.
    """
    shop = Workshop(envs, frameworks)
    faults = [
        Fault(where=str(envs / framework), expected="nothing, or an environment that this tool made",
              found="a folder that it did not make", fix="Move it away, or give another --envs.")
        for framework in frameworks
        if (envs / framework).exists() and not (envs / framework).is_symlink()
    ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    shop.folder.mkdir(parents=True, exist_ok=True)
    with held(shop.folder):
        yield shop


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only one who makes something in the folder.

    Raises:
        ConfigError: somebody else does; who.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(holding.hold(folder))
        except ConfigError as error:
            fix = "Wait until it is done: this command then finds what it made."
            busy = (dataclasses.replace(one, fix=fix) if isinstance(one, Fault) else one for one in error.faults)
            raise ConfigError(*busy) from error
        yield


def read(made: Path) -> Made | None:
    """What is recorded of the environment; None: nothing, or not by this version."""
    try:
        return msgspec.json.decode((made / RECORD).read_bytes(), type=Made)
    except (OSError, msgspec.MsgspecError):
        return None


def write(made: Path, record: Made) -> None:
    """Record how far the environment is."""
    atomic_write(made / RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def _in_use(folder: Path) -> bool:
    """Whether a process has code from there loaded (Linux: /proc; processes of others can't be seen)."""
    inside = os.fsencode(folder.resolve()) + b"/"
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if inside in maps.read_bytes():
                return True
    return False
