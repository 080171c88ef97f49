"""The folder of a comparison: what was asked for, and everything it takes to say the same again.

COMPARISON/request.json            what was compared, how
COMPARISON/dataset/                the normalized dataset (unless a normalized one was given)
COMPARISON/tiles/<hash>/           what detectors see instead, where pictures are cut (--tile)
COMPARISON/runs/<detector>-<seed>/ a training; in its predictions/<split>/ what it said
COMPARISON/predictions/<name>/     predictions from elsewhere, in normalized ids
COMPARISON/comparison.json ...     what `report` writes
COMPARISON/review.jsonl            decisions of people on the labels of test, where --review gave some
COMPARISON/gate.json               what came of the conditions of --fail-if
COMPARISON/measurements.json       costs: times and memory, kept apart from the figures
COMPARISON/seal.json               the SHA-256 of every file that the figures come from
COMPARISON/command.log             who asked for what, when; only ever appended to
COMPARISON/.lock                   who works in the folder now
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from defect_detect import holding, job, logged
from defect_detect.data import coco, predictions
from defect_detect.data.files import sweep
from defect_detect.errors import ConfigError, Fault, InputError, PredictionsError
from defect_detect.evaluation import matching, reasons
from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.adjudicate import reviewed
from defect_detect.evaluation.comparison import Comparison, OperatingPoint
from defect_detect.evaluation.judged import Contender, Judged, Rule, Run, Standing
from defect_detect.evaluation.operating import Policy, parse_policy
from defect_detect.evaluation.review import Review
from defect_detect.tables import Dataset, Floats, Predictions

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
    geometry: str = "box"
    per_class: bool = False
    costs: dict[str, float] = {}
    """`escape` and `overkill`."""
    prevalence: float | None = None
    sizes: list[float] = []
    pod_size: str = "long side"
    pod_link: str = "logit"
    reviewed: bool = False
    """Whether review.jsonl in the folder corrects the labels of test."""
    tiling: job.Tiling | None = None
    """How pictures were cut for the detectors that were trained."""

    def __post_init__(self) -> None:
        """Raises `ValueError`, which a file that was edited by hand may deserve."""
        for name in (*self.trained, *self.foreign):
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"{name!r} is no name of a detector")
        seeds = [*self.trained.values()]
        if any(not given or len(set(given)) < len(given) or min(given) < 0 for given in seeds):
            raise ValueError("seeds that are not 0 or more, each once")
        if any("test" not in splits or not {*splits} <= {*SPLITS} for splits in self.foreign.values()):
            raise ValueError(f"splits other than {' and '.join(SPLITS)}, or none of test")
        if not (self.resamples >= 1 and 0 < self.iou <= 1 and self.geometry in ("box", "mask")):
            raise ValueError("resamples below 1, an IoU outside (0, 1] or a geometry other than box and mask")

    @property
    def rule(self) -> Rule:
        """When a prediction finds a defect."""
        return Rule(iou=self.iou, geometry=self.geometry)

    @property
    def operating(self) -> Policy:
        """How thresholds are chosen."""
        return parse_policy(self.policy, self.costs, self.prevalence, per_class=self.per_class)


def run_folder(folder: Path, detector: str, seed: int) -> Path:
    """Where the training of a detector with a seed lives."""
    return folder / "runs" / f"{detector}-{seed}"


@contextlib.contextmanager
def at_work(folder: Path, versions: Mapping[str, str], operator: str | None = None) -> Iterator[None]:
    """Be the only one who works in the folder of a comparison, made if need be, and log the command.

    Raises:
        ConfigError: somebody else works there.
        OSError: the folder can't be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with holding.hold(folder):
        sweep(folder, deep=False)
        for part in ("runs", "predictions", "tiles"):
            sweep(folder / part)
        logged.command(folder, versions, operator)
        yield


def contenders(folder: Path, request: Request) -> tuple[Contender, ...]:
    """Everyone whose predictions are there, evaluated on validation and test.

    Raises:
        PredictionsError: a predictions file doesn't fit the dataset, or has no masks where masks are to be matched.
    """
    root = folder / request.dataset
    homes: list[tuple[str, int, dict[str, Path]]] = []
    if not (request.trained or request.foreign):
        raise PredictionsError(Fault(where=str(folder), expected="a comparison of detectors", found="none asked for",
                                     fix=_AGAIN))  # fmt: skip
    for name, seeds in request.trained.items():
        for seed in seeds:
            said_in = run_folder(folder, name, seed) / "predictions"
            homes.append((name, seed, {split: said_in / split for split in SPLITS}))
    for name, splits in request.foreign.items():
        homes.append((name, 0, {split: folder / "predictions" / name / split for split in splits}))
    data = {split: coco.load(root, split) for split in sorted({split for *_, home in homes for split in home})}
    said = {
        (name, seed, split): predictions.read(path / "predictions.json", data[split], ids="normalized")
        for name, seed, home in homes
        for split, path in home.items()
    }
    if request.geometry == "mask":
        _masked(homes, data, said)
    found: dict[str, list[Run]] = {}
    for name, seed, places in homes:
        judged = {split: matching.evaluate(data[split], said[name, seed, split], request.rule) for split in places}
        found.setdefault(name, []).append(Run(
            seed=seed, test=judged["test"], validation=judged.get("val"), manifest=read_manifest(places["test"]),
            validation_manifest=read_manifest(places["val"]) if "val" in places else None,
        ))  # fmt: skip
    return tuple(Contender(name=name, runs=tuple(runs)) for name, runs in found.items())


def _masked(
    homes: Sequence[tuple[str, int, dict[str, Path]]],
    data: Mapping[str, Dataset],
    said: Mapping[tuple[str, int, str], Predictions],
) -> None:
    faults: list[Fault | str] = [
        Fault(where=f"the {split} split", expected="a mask for every defect", found="boxes", fix=_BOXES)
        for split, truth in data.items()
        if not truth.has_masks
    ]
    for name, seed, home in homes:
        for split, path in home.items():
            manifest = read_manifest(path)
            if (one := said[name, seed, split]).region is None and len(one):
                faults.append(Fault(where=f"{name} on {split}", expected="a mask for every prediction", found="boxes",
                                    fix=_BOXES))  # fmt: skip
            elif manifest is not None and manifest.masks == "boxes":
                faults.append(Fault(where=f"{name} on {split}", expected="masks learned from masks",
                                    found="masks learned from boxes", fix=_BOXES))  # fmt: skip
    if faults:
        raise PredictionsError(*faults)


_BOXES = "Compare by boxes: --geometry box."


def read_manifest(beside: Path) -> job.Manifest | None:
    """The manifest in a folder of predictions; None where there is none.

    Raises:
        PredictionsError: there is one, and it isn't one of ours.
    """
    path = beside / "manifest.json"
    try:
        manifest: job.Manifest = job.decode(path.read_bytes(), job.Manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise PredictionsError(Fault(
            where=str(path), expected="a manifest as a prediction leaves it", found=str(error),
            fix="Predict again, or remove it: the predictions then stand for themselves.",
        )) from error  # fmt: skip
    return manifest


def review(folder: Path, request: Request) -> Review | None:
    """The review that the comparison was made with.

    Raises:
        DatasetError: it isn't one.
    """
    return reviews.read(folder / "review.jsonl") if request.reviewed else None


def load(folder: Path) -> tuple[Comparison, tuple[Judged, ...], Dataset]:
    """A finished comparison: its figures, the fate of every defect, and the truth of the test split, as reviewed.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    request, comparison = read(folder)
    found = contenders(folder, request)
    ours, theirs = found[0].runs[0].test.truth.fingerprint, comparison.dataset.fingerprints.get("test", "")
    if ours != theirs:
        raise _other(f"figures of this test split ({ours[:12]})", f"figures of another one ({theirs[:12]})")
    decided = review(folder, request)
    if decided is not None:
        found = reviewed(found, decided)
    told = judged(found, comparison)
    return comparison, told, told[0].evaluation.truth


def judged(found: Sequence[Contender], comparison: Comparison) -> tuple[Judged, ...]:
    """The fate of every defect and prediction at the thresholds that the comparison names."""
    return tuple(
        reasons.judge(standing.contender.name, run.seed, run.test, vector)
        for standing in standings(found, comparison)
        for run, vector in zip(standing.contender.runs, standing.threshold, strict=True)
    )


def standings(found: Sequence[Contender], comparison: Comparison) -> list[Standing]:
    """The contenders at the thresholds that the comparison names."""
    points = {detector.name: detector.operating_point for detector in comparison.detectors}
    for one in found:
        point, names = points.get(one.name), {category.name for category in one.runs[0].test.truth.categories}
        if point is None or len(point.thresholds) != len(one.runs):
            raise _other(f"thresholds for {len(one.runs)} runs of {one.name}", "none" if point is None else "others")
        if point.by_class and (len(point.by_class) != len(one.runs) or any({*by} != names for by in point.by_class)):
            raise _other(f"a threshold of each class for {len(one.runs)} runs of {one.name}", "others")
    return [
        Standing(contender=one, threshold=tuple(_vectors(points[one.name], one.runs[0].test.truth))) for one in found
    ]


_AGAIN = "Run the command that made it again: what is finished and unchanged is kept."


def _other(expected: str, found: str) -> InputError:
    return InputError(Fault(where="comparison.json", expected=expected, found=found, fix=_AGAIN))


def _vectors(point: OperatingPoint, truth: Dataset) -> Iterator[Floats]:
    """(K,) for each seed, inf where there is no threshold."""
    names = [category.name for category in truth.categories]
    for seed, common in enumerate(point.thresholds):
        by_class = point.by_class[seed] if point.by_class else dict.fromkeys(names, common)
        yield np.array([np.inf if (value := by_class[name]) is None else value for name in names], np.float64)


def read(folder: Path) -> tuple[Request, Comparison]:
    """What a finished comparison was asked for, and its figures.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    try:
        request: Request = job.decode((folder / "request.json").read_bytes(), Request)
        comparison: Comparison = job.decode((folder / "comparison.json").read_bytes(), Comparison)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            Fault(where=str(folder), expected="the folder of a finished comparison", found=f"no {error.filename}",
                  fix="Give the --out folder of tools/compare.py or tools/evaluate.py.")
        ) from None  # fmt: skip
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(Fault(where=str(folder), expected="a comparison of this version", found=str(error),
                               fix=_AGAIN)) from error  # fmt: skip
    try:
        policy = request.operating
    except ConfigError as error:
        raise InputError(Fault(where=str(folder / "request.json"), expected="a comparison of this version",
                               found=str(error), fix=_AGAIN)) from error  # fmt: skip
    asked, judged = {*request.trained, *request.foreign}, {detector.name for detector in comparison.detectors}
    if asked != judged:
        raise _other(f"figures of {', '.join(sorted(asked))}", ", ".join(sorted(judged)) or "none")
    if policy.text != comparison.protocol.policy:
        raise _other(f"figures at the policy that was asked for ({policy.text})", comparison.protocol.policy)
    return request, comparison
