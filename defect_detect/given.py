"""Predictions from elsewhere: checked, and copied into a comparison's folder under normalized ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from defect_detect import job
from defect_detect.data import coco, predictions
from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, Fault, PredictionsError
from defect_detect.folder import SPLITS, read_manifest


def take_in(folder: Path, given: Sequence[str], root: Path) -> dict[str, list[str]]:
    """Check predictions from elsewhere (`name:split=file`, or `name=file` for test) and copy them in.

    Raises:
        ConfigError: an argument that isn't of that form, a name or split given twice, no test predictions.
        PredictionsError: files that don't fit the dataset.
    """
    wanted = parse_given(given)
    faults: list[Fault | str] = []
    read = {}
    for (name, split), path in wanted.items():
        try:
            read[name, split] = predictions.read(path, coco.load(root, split))
            read_manifest(path.parent)
        except PredictionsError as error:
            faults += error.faults
    if faults:
        raise PredictionsError(*faults)
    for (name, split), said in read.items():
        home = folder / "predictions" / name / split
        home.mkdir(parents=True, exist_ok=True)
        predictions.write(home / "predictions.json", said, coco.load(root, split))
        _say_how(wanted[name, split], home)
    splits: dict[str, list[str]] = {}
    for name, split in wanted:
        splits.setdefault(name, []).append(split)
    return splits


def _say_how(given: Path, home: Path) -> None:
    """Take along the manifest beside a given file where it speaks of that file's content, and no other."""
    manifest = read_manifest(given.parent)
    if manifest is not None and manifest.predictions_sha256 == _sha256(given):
        own = replace(manifest, predictions_sha256=_sha256(home / "predictions.json"))
        atomic_write(home / "manifest.json", job.encode(own))
    else:
        (home / "manifest.json").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse_given(given: Sequence[str]) -> dict[tuple[str, str], Path]:
    """`name:split=file` arguments as (name, split) -> file.

    Raises:
        ConfigError: all that is wrong with them.
    """
    wanted: dict[tuple[str, str], Path] = {}
    faults: list[Fault | str] = []
    for text in given:
        key, equals, path = text.partition("=")
        name, colon, split = key.partition(":")
        split = split if colon else "test"
        if not (name and equals and path) or split not in SPLITS or "/" in name or name in (".", ".."):
            faults.append(
                Fault(where="--predictions", expected="NAME:val=FILE, NAME:test=FILE or NAME=FILE", found=repr(text))
            )
        elif (name, split) in wanted:
            faults.append(
                Fault(where="--predictions", expected="one file for each name and split", found=f"{key!r} twice")
            )
        elif not Path(path).is_file():
            faults.append(Fault(where=f"--predictions {key}", expected="a file", found=f"nothing at {path}"))
        wanted[name, split] = Path(path)
    faults += [
        Fault(
            where=f"--predictions {name}",
            expected="predictions on test",
            found="val only",
            fix=f"Add {name}:test=FILE.",
        )
        for name in sorted({name for name, _ in wanted})
        if (name, "test") not in wanted
    ]
    if faults:
        raise ConfigError(*faults)
    return wanted
