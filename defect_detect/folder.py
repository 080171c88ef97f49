"""The folder of a comparison: what was asked for, and everything it takes to say the same again.

COMPARISON/request.json            what was compared, how
COMPARISON/dataset/                the normalized dataset (unless a normalized one was given)
COMPARISON/runs/<detector>-<seed>/ a training; in its predictions/<split>/ what it said
COMPARISON/predictions/<name>/     predictions from elsewhere, in normalized ids
COMPARISON/comparison.json ...     what `report` writes
COMPARISON/measurements.json       costs: times and memory, kept apart from the figures
COMPARISON/command.log             who asked for what, when; only ever appended to
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from defect_detect import job
from defect_detect.data import coco, predictions
from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, Fault, InputError, PredictionsError
from defect_detect.evaluation import matching, reasons
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.judged import Contender, Judged, Rule, Run
from defect_detect.tables import Dataset

SPLITS = ("val", "test")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a comparison was asked for."""

    schema: int = 1
    dataset: str
    """Root of the normalized dataset, relative to the folder."""
    source: str
    """What the user called it."""
    trained: dict[str, list[int]]
    """Detector -> seeds."""
    foreign: dict[str, list[str]]
    """Name -> splits for which predictions were given."""
    policy: str
    iou: float
    seed: int
    resamples: int
    allow: bool


def run_folder(folder: Path, detector: str, seed: int) -> Path:
    """Where the training of a detector with a seed lives."""
    return folder / "runs" / f"{detector}-{seed}"


def log_command(folder: Path, versions: Mapping[str, str]) -> None:
    """Append one line to `command.log`."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "by": os.environ.get("DEFECT_DETECT_OPERATOR") or getpass.getuser(),
        "command": shlex.join(sys.argv),
        "versions": dict(versions),
    }
    with (folder / "command.log").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def contenders(folder: Path, request: Request) -> tuple[Contender, ...]:
    """Everyone whose predictions are there, evaluated on validation and test.

    Raises:
        PredictionsError: a predictions file doesn't fit the dataset.
    """
    root = folder / request.dataset
    data = {split: coco.load(root, split) for split in SPLITS}
    rule = Rule(iou=request.iou)
    found = []
    for name, seeds in request.trained.items():
        homes = [(seed, run_folder(folder, name, seed) / "predictions") for seed in seeds]
        runs = tuple(_run(seed, {s: home / s / "predictions.json" for s in SPLITS}, data, rule) for seed, home in homes)
        found.append(Contender(name=name, runs=runs))
    for name, splits in request.foreign.items():
        files = {split: folder / "predictions" / name / split / "predictions.json" for split in splits}
        found.append(Contender(name=name, runs=(_run(0, files, data, rule),)))
    return tuple(found)


def _run(seed: int, files: Mapping[str, Path], data: Mapping[str, Dataset], rule: Rule) -> Run:
    judged = {
        split: matching.evaluate(data[split], predictions.read(path, data[split], ids="normalized"), rule)
        for split, path in files.items()
    }
    return Run(
        seed=seed, test=judged["test"], validation=judged.get("val"), manifest=read_manifest(files["test"].parent)
    )


def read_manifest(beside: Path) -> job.Manifest | None:
    """The manifest in a folder of predictions; None where there is none.

    Raises:
        PredictionsError: there is one, and it isn't one of ours.
    """
    path = beside / "manifest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=job.Manifest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise PredictionsError(Fault(where=str(path), expected="a manifest", found=str(error))) from error


def load(folder: Path) -> tuple[Comparison, tuple[Judged, ...], Dataset]:
    """A finished comparison: its figures, the fate of every defect, and the truth of the test split.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    request, comparison = _read(folder)
    thresholds = {d.name: d.operating_point.thresholds for d in comparison.detectors}
    judged = []
    truth = coco.load(folder / request.dataset, "test")
    for contender in contenders(folder, request):
        for run, threshold in zip(contender.runs, thresholds[contender.name], strict=True):
            vector = np.full(len(truth.categories), np.inf if threshold is None else threshold)
            judged.append(reasons.judge(contender.name, run.seed, run.test, vector))
    return comparison, tuple(judged), truth


def _read(folder: Path) -> tuple[Request, Comparison]:
    try:
        request = msgspec.json.decode((folder / "request.json").read_bytes(), type=Request)
        comparison = msgspec.json.decode((folder / "comparison.json").read_bytes(), type=Comparison)
    except FileNotFoundError as error:
        raise InputError(
            Fault(where=str(folder), expected="the folder of a finished comparison", found=f"no {error.filename}",
                  fix="Give the --out folder of tools/compare.py or tools/evaluate.py.")
        ) from None  # fmt: skip
    except msgspec.MsgspecError as error:
        raise InputError(Fault(where=str(folder), expected="a comparison of this version", found=str(error))) from error
    return request, comparison


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
        except PredictionsError as error:
            faults += error.faults
    if faults:
        raise PredictionsError(*faults)
    for (name, split), said in read.items():
        home = folder / "predictions" / name / split
        home.mkdir(parents=True, exist_ok=True)
        predictions.write(home / "predictions.json", said, coco.load(root, split))
        manifest = read_manifest(wanted[name, split].parent)
        if manifest is not None:
            atomic_write(home / "manifest.json", job.encode(manifest))
    splits: dict[str, list[str]] = {}
    for name, split in wanted:
        splits.setdefault(name, []).append(split)
    return splits


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
        if not (name and equals and path) or split not in SPLITS or "/" in name:
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
