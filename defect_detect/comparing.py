"""The main job: from a dataset and detectors to a comparison folder. Rerun, it goes on where it stopped."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from defect_detect import config, folder, job, runner
from defect_detect.config import DetectorConfig
from defect_detect.data import coco
from defect_detect.data.files import atomic_write
from defect_detect.data.normalize import Normalized, normalize
from defect_detect.errors import ConfigError, DatasetError, DefectDetectError, Fault, InputError, RunFailed
from defect_detect.evaluation import compare, ledger, operating
from defect_detect.evaluation.comparison import Comparison, DatasetFacts
from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.report import progress, terminal, write
from defect_detect.report.normalized import print_normalized
from defect_detect.tables import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the dataset comes from and how it is to be read."""

    path: Path
    images: Path | None = None
    group: str | None = None
    scale: float | None = None
    unit: str = "px"
    severity: Mapping[str, str] = field(default_factory=dict)
    accept_below: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How detectors are held against each other."""

    policy: str = "fppi<=0.1"
    iou: float = 0.5
    seed: int = 0
    resamples: int = 2000
    allow: bool = False


def run(
    source: Source,
    out: Path,
    *,
    detectors: Sequence[Path],
    settings: Sequence[str] = (),
    seeds: int = 1,
    given: Sequence[str] = (),
    judging: Judging,
    fiftyone: bool = True,
    console: Console | None = None,
) -> int:
    """Normalize, train, predict, judge, report. Returns the exit code.

    0: all done; 1: a run failed; 2: a run can't be done as its config asks. What the others finished is compared.

    Raises:
        InputError: the user's input is at fault; nothing was trained.
    """
    console = console or Console(stderr=True)
    operating.parse_policy(judging.policy)
    configs = _configs(detectors, settings, given)
    for framework in sorted({made.framework for made in configs}):
        runner.check(framework)
    out.mkdir(parents=True, exist_ok=True)
    folder.log_command(out, versions())
    root = prepare(source, out, console)
    measurable(root, training=bool(configs))
    foreign = folder.take_in(out, given, root)
    trained, failures = _train_all(configs, range(judging.seed, judging.seed + seeds), root, out, console)
    request = folder.Request(
        dataset=os.path.relpath(root, out), source=source.path.name, trained=trained, foreign=foreign,
        policy=judging.policy, iou=judging.iou, seed=judging.seed, resamples=judging.resamples, allow=judging.allow,
    )  # fmt: skip
    if trained or foreign:
        judge(out, request, fiftyone=fiftyone, console=console)
    for name, error in failures.items():
        console.print(f"[bold red]{name} failed[/]: ", end="")
        console.print(str(error), markup=False, highlight=False)
    if not failures:
        return 0
    return 2 if all(isinstance(error, InputError) for error in failures.values()) else 1


def prepare(source: Source, out: Path, console: Console) -> Path:
    """The root of the normalized dataset: the given one if it is normalized, else one made in `out`."""
    if source.path.is_dir() and coco.is_normalized(source.path):
        return source.path
    made = normalized_to(source, out / "dataset", console)
    if not made.reused:
        print_normalized(made, console)
    return made.root


def normalized_to(source: Source, root: Path, console: Console) -> Normalized:
    """Normalize `source` to the folder `root`, showing how far it is."""
    with Progress(
        TextColumn("reading pictures"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        return normalize(
            source.path, images=source.images, out=root, group=source.group, scale=source.scale, unit=source.unit,
            severity=source.severity, accept_below=source.accept_below, seed=source.seed, strict=source.strict,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip


def normalized(dataset: Path, run: Path) -> Path:
    """The root of the normalized dataset that `dataset` names: itself, or the one `run` was trained on.

    Raises:
        DatasetError: `dataset` isn't normalized, and `run` wasn't trained on what became of it.
    """
    if dataset.is_dir() and coco.is_normalized(dataset):
        return dataset
    beside = run.parents[1] / "dataset"
    if coco.is_normalized(beside):
        return beside
    raise DatasetError(Fault(where=str(dataset), expected="a normalized dataset", found="none",
                             fix=f"Make one: python tools/normalize.py {dataset} --out DIR."))  # fmt: skip


def judge(out: Path, request: folder.Request, *, fiftyone: bool, console: Console) -> None:
    """Compare what was predicted and write every report."""
    root = out / request.dataset
    atomic_write(out / "request.json", job.encode(request))
    contenders = folder.contenders(out, request)
    with console.status("comparing"):
        comparison, judged = compare.compare(
            contenders, policy=operating.parse_policy(request.policy), rule=Rule(iou=request.iou), seed=request.seed,
            resamples=request.resamples, facts=facts(root, request.source), versions=versions(), allow=request.allow,
        )  # fmt: skip
    costs = _measurements(out, request)
    atomic_write(out / "measurements.json", msgspec.json.format(msgspec.json.encode(costs), indent=2))
    truth = coco.load(root, "test")
    with console.status("writing the report"):
        write.write(out, comparison, judged, truth=truth, measurements=costs, ledger=ledger.rows(judged))
    terminal.print_comparison(comparison, Console())
    console.print(f"\nreport: {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    if fiftyone:
        _store(out, comparison, judged, truth, console)


def _store(out: Path, comparison: Comparison, judged: Sequence[Judged], truth: Dataset, console: Console) -> None:
    from defect_detect.explore import store

    try:
        with console.status("storing the comparison in FiftyOne"):
            name = store.store(out.resolve().name, comparison, judged, truth, folder=out)
    except DefectDetectError as error:
        # The figures stand without the App.
        console.print(f"not stored in FiftyOne: {error}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"look at the misses: python tools/explore.py {out}   (FiftyOne dataset {name})",
                      markup=False, highlight=False, soft_wrap=True)  # fmt: skip


def _configs(detectors: Sequence[Path], settings: Sequence[str], given: Sequence[str]) -> list[DetectorConfig]:
    faults: list[Fault | str] = []
    configs = []
    for path in detectors:
        try:
            configs.append(config.read(path, _for(path.stem, settings, [other.stem for other in detectors])))
        except ConfigError as error:
            faults += error.faults
    names = [made.name for made in configs] + sorted({name for name, _ in folder.parse_given(given)})
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault(where=name, expected="every detector under a name of its own", found="this name twice",
                            fix="Copy the config under another file name."))  # fmt: skip
    if not names:
        faults.append("nothing to compare: give --detectors or --predictions")
    if faults:
        raise ConfigError(*faults)
    return configs


def _for(detector: str, settings: Sequence[str], names: Sequence[str]) -> list[str]:
    """The overrides meant for one detector: those for all, and after them its own (`ssd_light.epochs=9`)."""
    everyone = [text for text in settings if text.partition(".")[0] not in names]
    return everyone + [text.removeprefix(f"{detector}.") for text in settings if text.startswith(f"{detector}.")]


def measurable(root: Path, *, training: bool) -> None:
    """Refuse a dataset on which nothing could be trained or judged, before hours are spent on it."""
    faults: list[Fault | str] = []
    for split in ("train", "val", "test") if training else ("test",):
        if split not in coco.splits(root):
            faults.append(Fault(where=f"{root}/{split}.json", expected="this split", found="none"))
            continue
        defects = int(coco.load(root, split).defects.counts.sum())
        if not defects:
            why = {"train": "there is nothing to learn", "val": "no checkpoint or threshold can be chosen"}
            faults.append(Fault(where=f"the {split} split", expected="at least one defect that counts", found="none",
                                fix=f"Without one, {why.get(split, 'no FN rate can be measured')}."))  # fmt: skip
    if faults:
        raise DatasetError(*faults)


def _train_all(
    configs: Sequence[DetectorConfig], seeds: Sequence[int], root: Path, out: Path, console: Console
) -> tuple[dict[str, list[int]], dict[str, DefectDetectError]]:
    trained: dict[str, list[int]] = {}
    failures: dict[str, DefectDetectError] = {}
    for made in configs:
        for seed in seeds:
            home = folder.run_folder(out, made.name, seed)
            try:
                train(made, seed, root, home, console)
                for split in folder.SPLITS:
                    predict(home, root, split, console)
            except (RunFailed, InputError) as error:
                # The others' hours must not be lost with this one.
                failures[f"{made.name}-{seed}"] = error
            else:
                trained.setdefault(made.name, []).append(seed)
    return trained, failures


def train(made: DetectorConfig, seed: int, root: Path, home: Path, console: Console) -> job.Trained:
    """Train one detector with one seed in the run folder `home`, unless that is done."""
    wanted = job.TrainJob(
        detector=made.name, framework=made.framework, model=made.model, dataset=os.path.relpath(root, home),
        fingerprints={split: coco.load(root, split).fingerprint for split in ("train", "val")},
        seed=seed, settings=made.settings, options=made.options,
    )  # fmt: skip
    if (done := runner.finished(home, wanted)) is not None:
        console.print(f"{home.name}: trained before, kept", markup=False, highlight=False)
    else:
        with progress.shown(f"train {home.name}", console) as report:
            done = runner.execute(home, wanted, framework=made.framework, report=report)
    if not isinstance(done, job.Trained):
        raise RunFailed(f"{home} holds no training")
    return done


def predict(home: Path, root: Path, split: str, console: Console, overrides: Mapping[str, Any] | None = None) -> Path:
    """Predict on one split with the training in `home`, unless that is done. Returns the predictions file.

    Raises:
        RunFailed: `home` holds no finished training, or the prediction failed.
    """
    try:
        made = job.decode_job((home / "job.json").read_bytes())
        result = job.decode_result((home / "result.json").read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(
            Fault(where=str(home), expected="the folder of a finished training", found=str(error))
        ) from error
    if not isinstance(made, job.TrainJob) or not isinstance(result, job.Trained):
        raise ConfigError(
            Fault(where=str(home), expected="the folder of a finished training", found="none that succeeded")
        )
    target = home / "predictions" / split
    wanted = job.PredictJob(
        trained=os.path.relpath(home, target), checkpoint_sha256=result.checkpoint_sha256,
        dataset=os.path.relpath(root, target), fingerprint=coco.load(root, split).fingerprint, split=split,
        device=made.settings.device, threads=made.settings.threads, **(overrides or {}),
    )  # fmt: skip
    if runner.finished(target, wanted) is None:
        with progress.shown(f"predict {home.name} on {split}", console) as report:
            runner.execute(target, wanted, framework=made.framework, report=report)
    return target / "predictions.json"


def facts(root: Path, source: str) -> DatasetFacts:
    """What the comparison is judged on, in counts."""
    data = {split: coco.load(root, split) for split in coco.splits(root)}
    first = next(iter(data.values()))
    return DatasetFacts(
        name=source,
        fingerprints={split: d.fingerprint for split, d in data.items()},
        categories=[category.name for category in first.categories],
        images={split: len(d.images) for split, d in data.items()},
        units={split: len(np.unique(d.images.group)) for split, d in data.items()},
        defective={split: len(np.unique(d.defects.image[d.defects.counts])) for split, d in data.items()},
        defect_free={split: int(d.defect_free.sum()) for split, d in data.items()},
        defects={split: int(d.defects.counts.sum()) for split, d in data.items()},
        masks=all(d.has_masks for d in data.values()),
        quarantined={split: said.quarantined_defects for split, said in coco.describe(root).splits.items()},
        scale=first.scale,
        unit=first.unit,
    )


def versions() -> dict[str, str]:
    """What the judging stands on."""
    names = ("defect-detect", "numpy", "scipy", "pycocotools")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def _measurements(out: Path, request: folder.Request) -> dict[str, Any]:
    costs: dict[str, Any] = {"machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}}
    for name, seeds in request.trained.items():
        for seed in seeds:
            home = folder.run_folder(out, name, seed)
            made = job.decode_result((home / "result.json").read_bytes())
            said = job.decode_result((home / "predictions" / "test" / "result.json").read_bytes())
            if isinstance(made, job.Trained) and isinstance(said, job.Predicted):
                costs[home.name] = {
                    "training_seconds": made.seconds,
                    "training_peak_memory_bytes": made.peak_memory_bytes,
                    "parameters": made.outcome.parameters,
                    "latency_p50_seconds": said.latency_p50,
                    "latency_p95_seconds": said.latency_p95,
                    "prediction_peak_memory_bytes": said.peak_memory_bytes,
                }
    return costs
