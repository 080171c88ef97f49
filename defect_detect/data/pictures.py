"""The picture files: each decoded once, then copied or re-encoded into the normalized dataset.

Copied, not linked: a link shares the user's file, and whatever writes to the dataset (ultralytics
mends JPEGs in place, people chmod) would write to it. Where the file system can (btrfs, XFS), a copy
shares its blocks until one of the two changes and costs no space.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from defect_detect.data import known
from defect_detect.data.decoders import Decoders, threads
from defect_detect.data.decoding import Facts, Task
from defect_detect.errors import DatasetError, Fault

_TOGETHER = 64
"""Files that a thread copies at a time."""
Progress = Callable[[int, int], None]


class Picture(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One file as it stands in the normalized dataset; width and height px as shown.

    file     the name there, which ends in .png where it was re-encoded
    broken   why it can't be used, or ``
    stored   width and height before EXIF orientation
    recoded  why it was re-encoded, or ``
    remark   what is odd about it, but harmless, or ``
    shown    SHA-256 of its size and pixels
    sketch   its difference hash
    """

    file: str
    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    sha256: str = ""
    recoded: str = ""
    remark: str = ""
    broken: str = ""
    shown: str = ""
    sketch: str = ""


def examine(root: Path, names: Sequence[str], progress: Progress | None = None) -> list[Facts]:
    """What each file of `names` below `root` is: decoded once in a worker process, remembered after that."""
    found = _real(root, names)
    paths, stamps = [path for path, _ in found], dict(found)
    facts = known.recall(stamps)
    unknown = [path for path in dict.fromkeys(paths) if path not in facts]
    if unknown:
        done = len(names) - len(unknown)
        tasks = [Task(os.fsencode(path)) for path in unknown]
        with Decoders(len(unknown)) as decoders:
            seen = decoders.look(tasks, progress and _shifted(progress, done, len(names)))
        # What killed its decoder may have died of something else (memory): it is asked again next time.
        fresh = dict(zip(unknown, seen, strict=True))
        known.remember(stamps, {path: each for path, each in fresh.items() if not each.broken})
        facts |= fresh
    return [facts[path] for path in paths]


def measured(names: Sequence[str], facts: Sequence[Facts]) -> dict[str, Picture]:
    """Each picture as it will stand in the dataset, by the name it has now; `sha256` of the file as it is."""
    taken = set(names)
    return {
        name: Picture(
            file=_free(name, taken) if each.unlike else name, width=each.width, height=each.height, stored=each.stored,
            sha256=each.sha256, recoded=each.unlike, remark=each.remark, broken=each.broken,
            shown=each.shown, sketch=each.sketch,
        )
        for name, each in zip(names, facts, strict=True)
    }  # fmt: skip


def bring(
    root: Path, chosen: Mapping[str, tuple[Facts, Picture]], out: Path, progress: Progress | None = None
) -> dict[str, str]:  # fmt: skip
    """Put each file below `root` at its `Picture.file` below `out`; SHA-256 of what stands there, by name.

    Raises:
        DatasetError: a picture is no longer what it was when it was examined.
        OSError: no space.
    """
    out.mkdir(exist_ok=True)
    for folder in {picture.file.rpartition("/")[0] for _, picture in chosen.values()}:
        (out / folder).mkdir(parents=True, exist_ok=True)
    plain = [name for name, (facts, _) in chosen.items() if not facts.unlike]
    sha256 = {name: chosen[name][0].sha256 for name in plain}
    wrong: dict[str, str] = {}
    with ThreadPoolExecutor(threads()) as pool:
        some = [plain[start : start + _TOGETHER] for start in range(0, len(plain), _TOGETHER)]
        done = 0
        for names, copied in zip(
            some,
            pool.map(lambda names: [_copy(root / name, out / chosen[name][1].file) for name in names], some),
            strict=True,
        ):
            wrong |= {name: found for name, found in zip(names, copied, strict=True) if found}
            done += len(names)
            if progress is not None:
                progress(done, len(chosen))
    unlike = [name for name, (facts, _) in chosen.items() if facts.unlike]
    if unlike:
        tasks = [
            Task(os.fsencode(os.path.realpath(root / name)), os.fsencode(out / chosen[name][1].file)) for name in unlike
        ]
        with Decoders(len(unlike)) as decoders:
            recoded = decoders.look(tasks, progress and _shifted(progress, len(plain), len(chosen)))
        for name, facts in zip(unlike, recoded, strict=True):
            sha256[name] = facts.sha256
            if facts.broken or (facts.width, facts.height) != (chosen[name][1].width, chosen[name][1].height):
                wrong[name] = facts.broken or "changed while it was read"
    if wrong:
        raise DatasetError(
            *(Fault(where=str(root / name), expected="the picture that was examined", found=found, fix="Run it again.")
              for name, found in sorted(wrong.items()))
        )  # fmt: skip
    return sha256


def _real(root: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """`os.path.realpath` of each file below `root`, each folder resolved once, and its stamp."""
    folders: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in names:
        folder, _, base = name.rpartition("/")
        real = folders.get(folder)
        if real is None:
            real = folders[folder] = os.path.realpath(root / folder).rstrip("/")
        found.append(known.real(f"{real}/{base}"))
    return found


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
