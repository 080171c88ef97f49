"""`seal.json`: the SHA-256 of every file that a comparison's figures come from, and of those that show them.

Pictures and checkpoints are not read for it: the splits' files name the hashes of the pictures, `result.json`
that of the checkpoint, and these are sealed. The log names the seal's own hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from defect_detect import folder, job
from defect_detect.data.files import atomic_write, sha256_file

NAME = "seal.json"
_SHOWN = ("request.json", "comparison.json", "comparison.md", "report.html", "ledger.csv", "measurements.json",
          "review.jsonl", "gate.json")  # fmt: skip
_OF_A_JOB = ("job.json", "result.json", "metrics.csv", "predictions.json", "manifest.json")


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was there when the comparison was finished."""

    schema: int = 1
    files: dict[str, str]
    """Path relative to the comparison's folder -> SHA-256."""


def seal(out: Path, request: folder.Request) -> None:
    """Write the seal of the finished comparison in `out`.

    Raises:
        OSError: a file can't be read, or the seal not be written.
    """
    files = {os.path.relpath(path, out): sha256_file(path) for path in sealed(out, request)}
    atomic_write(out / NAME, job.encode(Seal(files=files)))


def of(out: Path) -> str:
    """SHA-256 of the seal; empty where there is none."""
    try:
        return sha256_file(out / NAME)
    except FileNotFoundError:
        return ""


def read(out: Path) -> Seal | None:
    """The seal; None: there is none.

    Raises:
        msgspec.DecodeError: it isn't one of ours.
    """
    try:
        found: Seal = job.decode((out / NAME).read_bytes(), Seal)
    except FileNotFoundError:
        return None
    return found


def sealed(out: Path, request: folder.Request) -> Iterator[Path]:
    """The files that are sealed, of those that are there."""
    homes = [folder.run_folder(out, name, seed) for name, seeds in request.trained.items() for seed in seeds]
    said = [home / "predictions" / split for home in homes for split in folder.SPLITS]
    said += [out / "predictions" / name / split for name, splits in request.foreign.items() for split in splits]
    places = [(out, _SHOWN), *((home, _OF_A_JOB) for home in (*homes, *said))]
    for place, names in places:
        yield from (path for name in names if (path := place / name).is_file())
    for root in roots(out, request):
        yield from sorted(path for ending in ("*.json", "*.jsonl") for path in root.glob(ending) if path.is_file())


def roots(out: Path, request: folder.Request) -> list[Path]:
    """The datasets that stand behind the figures: that of whole pictures, and its tiles where detectors saw some."""
    found = [out / request.dataset]
    for name, seeds in request.trained.items():
        for seed in seeds:
            home = folder.run_folder(out, name, seed)
            made = job.decode_job((home / "job.json").read_bytes())
            if isinstance(made, job.TrainJob):
                found.append(home / made.dataset)
    unique = dict.fromkeys(Path(os.path.normpath(root)) for root in found)
    return list(unique)
