"""Is there room for an environment? Asked before gigabytes are downloaded."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

from defect_detect import space
from defect_detect.environments.recipes import Recipe
from defect_detect.errors import ConfigError, Fault


def check(recipe: Recipe, envs: Path, *, downloads: bool) -> None:
    """Refuse an environment for which the disks have no room. `downloads`: packages come from a registry.

    Raises:
        ConfigError: how much is needed, and how much is free, for each disk that is too full.
    """
    needed = {envs: recipe.room}
    if downloads:
        # The registry's files: unpacked from a temporary folder, and kept in the installer's cache.
        needed[Path(tempfile.gettempdir())] = recipe.downloaded
        needed[Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")] = recipe.downloaded
    disks: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    for folder, size in needed.items():
        there = space.existing(folder)
        disks[there.stat().st_dev].append((there, size))
    faults = []
    for parts in disks.values():
        total, free = sum(size for _, size in parts), shutil.disk_usage(parts[0][0]).free
        if total > free:
            faults.append(Fault(
                where=", ".join(str(folder) for folder, _ in parts), expected=f"{total / 1e9:.0f} GB free",
                found=f"{free / 1e9:.1f} GB", fix="Make room, or put --envs, TMPDIR or XDG_CACHE_HOME elsewhere.",
            ))  # fmt: skip
    if faults:
        raise ConfigError(*faults)
