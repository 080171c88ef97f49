"""What the doctor found, as `--json` prints it (docs/environments.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

from defect_detect.doctor.trying import Tried


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that doesn't work, or might not, and what mends it."""

    where: str
    what: str
    fix: str = ""
    level: Literal["fault", "note"] = "fault"
    """`fault`: something that was asked for doesn't work. `note`: worth knowing."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as torch, or else nvidia-smi, sees it. Memory in bytes."""

    name: str
    memory: int
    free: int


class Torch(msgspec.Struct, frozen=True, kw_only=True):
    """What the torch of an interpreter can use."""

    version: str = ""
    cuda: str = ""
    """The CUDA it was built with; empty: none."""
    gpus: list[Gpu] = []
    error: str = ""
    """Why it can't be imported, or can't use the GPU."""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """A Python in which frameworks run."""

    python: str = ""
    version: str = ""
    missing: dict[str, list[str]] = {}
    """For each framework, requirements that aren't installed."""
    unsuited: dict[str, list[str]] = {}
    """For each framework, requirements that another version than is installed would meet."""
    versions: dict[str, dict[str, str]] = {}
    """For each framework, what figures would stand on."""
    opencv: dict[str, str] = {}
    """Every OpenCV package that is installed, with its version: they all write the same files."""
    untested: dict[str, str] = {}
    """What is installed in another version than the ones that were tested together: `2.13.0, tested 2.12.1`."""
    torch: Torch | None = None
    """None: not looked at."""
    error: str = ""
    """Why it can't be asked."""


class Framework(msgspec.Struct, frozen=True, kw_only=True):
    """A framework, where it would run, and what of it works."""

    name: str
    status: Literal["works", "broken", "absent", "installed"]
    """`installed`: it is there, but was not tried (`--quick`)."""
    python: str
    own: bool
    """It has an environment of its own."""
    version: str = ""
    device: str = ""
    """What `device: auto` means there."""
    tried: list[Tried] = []


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the computer has. Memory and disks in bytes."""

    system: str
    cpus: int
    """That this process may use."""
    cpus_in_all: int
    memory: int
    """Of the machine, or what its control group allows if that is less."""
    memory_free: int
    limited: bool
    """A control group (a container) allows less memory than the machine has."""
    disks: dict[str, int]
    """Free bytes where environments, caches, temporary files and the working directory lie."""
    driver: str = ""
    """NVIDIA's, as nvidia-smi tells; empty: none."""
    gpus: list[Gpu] = []


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """FiftyOne and its MongoDB."""

    status: Literal["works", "broken", "absent", "installed"]
    fiftyone: str = ""
    mongodb: str = ""
    where: str = ""
    error: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    schema: int = 1
    ok: bool
    """No fault: the exit code is 0."""
    asked: list[str]
    """Frameworks that must work; empty: all that are installed."""
    frameworks: list[Framework]
    interpreters: list[Interpreter]
    machine: Machine
    database: Database | None
    """None: not looked at, since frameworks were named."""
    findings: list[Finding]
