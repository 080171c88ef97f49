"""What the computer has: CPUs, memory, disks, GPUs, and what a container leaves of them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from defect_detect import runner, space
from defect_detect.doctor.found import Gpu, Machine

_UNLIMITED = 1 << 60
"""Bytes from which on a limit is none: cgroup v1 writes the largest multiple of a page below 2^63."""
_CGROUPS = Path("/sys/fs/cgroup")


def look(working: Path) -> Machine:
    """What there is now; `working`: the folder whose disk the results will go to."""
    driver, gpus = _nvidia()
    memory, free, limited = _memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=_cpus(), cpus_in_all=os.cpu_count() or 1, memory=memory, memory_free=free, limited=limited,
        disks=_disks(working), driver=driver, gpus=gpus,
    )  # fmt: skip


def _disks(working: Path) -> dict[str, int]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folders = {
        "working directory": working, "environments": runner.environments()[0],
        "cache": cache if cache.is_absolute() else Path.home() / ".cache", "temporary": Path(tempfile.gettempdir()),
    }  # fmt: skip
    return {name: shutil.disk_usage(space.existing(folder)).free for name, folder in folders.items()}


def _cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of its control group."""
    allowed = len(os.sched_getaffinity(0))
    quota = _read(_group() / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():  # noqa: PLR2004 - "$MAX $PERIOD"
        allowed = min(allowed, max(1, round(int(quota[0]) / int(quota[1]))))
    return allowed


def _memory() -> tuple[int, int, bool]:
    """Bytes in all and free, and whether a control group allows less than the machine has."""
    lines = (line.split() for line in _read(Path("/proc/meminfo")).splitlines())
    told: Mapping[str, int] = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    total, free = told.get("MemTotal", 0), told.get("MemAvailable", 0)
    for limit, used in (
        (_group() / "memory.max", _group() / "memory.current"),
        (_CGROUPS / "memory" / "memory.limit_in_bytes", _CGROUPS / "memory" / "memory.usage_in_bytes"),
    ):
        most = _read(limit).strip()
        if most.isdigit() and int(most) < min(total, _UNLIMITED):
            # What is in use includes files that are only cached: free is at least this.
            return int(most), max(0, min(free, int(most) - int(_read(used).strip() or 0))), True
    return total, free, False


def _group() -> Path:
    """The control group of this process (version 2)."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        if line.startswith("0::"):
            own = _CGROUPS / line.removeprefix("0::").lstrip("/")
            return own if own.is_dir() else _CGROUPS  # in a container, the root is its own
    return _CGROUPS


def _nvidia() -> tuple[str, list[Gpu]]:
    """The driver, and the GPUs that it sees."""
    command = [
        "nvidia-smi",
        "--query-gpu=driver_version,name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "", []
    rows = [[part.strip() for part in line.split(",")] for line in said.stdout.splitlines()]
    rows = [row for row in rows if len(row) == 4] if said.returncode == 0 else []  # noqa: PLR2004 - as asked for
    mebibytes = [[int(part) if part.isdigit() else 0 for part in row[2:]] for row in rows]
    gpus = [
        Gpu(name=row[1], memory=total << 20, free=free << 20)
        for row, (total, free) in zip(rows, mebibytes, strict=True)
    ]
    return rows[0][0] if rows else "", gpus


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
