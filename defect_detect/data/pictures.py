"""The picture files: each decoded once, then copied or re-encoded into the normalized dataset.

Copied, not linked: a link shares the user's file, and whatever writes to the dataset (ultralytics
mends JPEGs in place, people chmod) would write to it. Where the file system can (btrfs, XFS), a copy
shares its blocks until one of the two changes and costs no space.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from defect_detect.data import known
from defect_detect.data.decoders import Decoders, threads
from defect_detect.data.decoding import Facts, Task

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file as it stands in the normalized dataset; width and height px as shown.

    file     the name there, which ends in .png where it was re-encoded
    broken   why it can't be used, or ``
    stored   width and height before EXIF orientation
    recoded  why it was re-encoded, or ``
    remark   what is odd about it, but harmless, or ``
    """

    file: str
    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    sha256: str = ""
    recoded: str = ""
    remark: str = ""
    broken: str = ""


def examine(root: Path, names: Sequence[str], progress: Progress | None = None) -> list[Facts]:
    """What each file of `names` below `root` is: decoded once in a worker process, remembered after that."""
    paths = [os.path.realpath(root / name) for name in names]
    stamps = {path: known.stamp(path) for path in paths}
    facts = known.recall(stamps)
    unknown = [path for path in dict.fromkeys(paths) if path not in facts]
    if unknown:
        done = len(names) - len(unknown)
        tasks = [Task(os.fsencode(path)) for path in unknown]
        with Decoders(len(unknown)) as decoders:
            found = decoders.look(tasks, progress and _shifted(progress, done, len(names)))
        # What killed its decoder may have died of something else (memory): it is asked again next time.
        fresh = dict(zip(unknown, found, strict=True))
        known.remember(stamps, {path: each for path, each in fresh.items() if not each.broken})
        facts |= fresh
    return [facts[path] for path in paths]


def bring(
    root: Path, names: Sequence[str], facts: Sequence[Facts], out: Path, progress: Progress | None = None
) -> list[Picture]:  # fmt: skip
    """Put each file of `names` below `out`, as every framework will see it."""
    taken = set(names)
    targets = [_free(name, taken) if each.unlike else name for name, each in zip(names, facts, strict=True)]
    whole = [at for at, each in enumerate(facts) if not each.broken]
    for folder in {(out / targets[at]).parent for at in whole}:
        folder.mkdir(parents=True, exist_ok=True)
    made = {at: Picture(file=names[at], broken=each.broken) for at, each in enumerate(facts) if each.broken}
    plain = [at for at in whole if not facts[at].unlike]
    with ThreadPoolExecutor(threads()) as pool:
        for at, wrong in zip(plain, pool.map(lambda at: _copy(root / names[at], out / names[at]), plain), strict=True):
            made[at] = Picture(file=names[at], broken=wrong) if wrong else _picture(names[at], facts[at])
            if progress is not None:
                progress(len(made), len(names))
    unlike = [at for at in whole if facts[at].unlike]
    if unlike:
        tasks = [Task(os.fsencode(os.path.realpath(root / names[at])), os.fsencode(out / targets[at])) for at in unlike]
        with Decoders(len(unlike)) as decoders:
            recoded = decoders.look(tasks, progress and _shifted(progress, len(made), len(names)))
        made |= {at: _picture(targets[at], each) for at, each in zip(unlike, recoded, strict=True)}
    return [made[at] for at in range(len(names))]


def measured(facts: Facts, name: str) -> Picture:
    """The picture as it would be brought, for a look at the input alone."""
    return _picture(name, facts)


def _picture(name: str, facts: Facts) -> Picture:
    return Picture(
        file=name, width=facts.width, height=facts.height, stored=facts.stored, sha256=facts.sha256,
        recoded=facts.unlike, remark=facts.remark, broken=facts.broken,
    )  # fmt: skip


def _free(name: str, taken: set[str]) -> str:
    """The name that a re-encoding of `name` gets: its own if it ends in .png, else one with .png added."""
    if name.lower().endswith(".png"):
        return name
    free = f"{name}.png"
    while free in taken:
        free = f"{free.removesuffix('.png')}_.png"
    taken.add(free)
    return free


def _copy(path: Path, target: Path) -> str:
    """Copy the bytes; what went wrong, or ``."""
    before = known.stamp(str(path))
    try:
        with path.open("rb") as source, target.open("xb") as copy:
            left = os.fstat(source.fileno()).st_size
            while left:
                try:
                    moved = os.copy_file_range(source.fileno(), copy.fileno(), left)
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise
                    shutil.copyfileobj(source, copy)
                    break
                if not moved:
                    return "cut short while it was copied"
                left -= moved
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return error.strerror or str(error)
    return "" if known.stamp(str(path)) == before else "changed while it was copied"


_UNABLE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""What systems say that can't copy inside the kernel."""


def _shifted(progress: Progress, by: int, total: int) -> Progress:
    return lambda done, _: progress(by + done, total)
