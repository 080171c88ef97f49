"""The main job: from a dataset and detectors to a comparison folder. Rerun, it goes on where it stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from defect_detect import config, facts, folder, job, runner, trials
from defect_detect.config import DetectorConfig
from defect_detect.data import coco
from defect_detect.data.files import atomic_write
from defect_detect.data.normalize import Normalized, normalize
from defect_detect.errors import ConfigError, DatasetError, DefectDetectError, Fault, InputError
from defect_detect.evaluation import compare, ledger, operating
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.report import terminal, write
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
    jobs: int = 1,
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
    folder.log_command(out, facts.versions())
    root = prepare(source, out, console)
    measurable(root, training=bool(configs))
    foreign = folder.take_in(out, given, root)
    trained, failures = trials.run_all(
        configs, range(judging.seed, judging.seed + seeds), root, out, jobs=jobs, console=console
    )
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
    if coco.is_normalized(beside) and coco.describe(beside).source == dataset.name:
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
            resamples=request.resamples, facts=facts.dataset(root, request.source), versions=facts.versions(),
            allow=request.allow,
        )  # fmt: skip
    costs = facts.measurements(out, request)
    atomic_write(out / "measurements.json", msgspec.json.format(msgspec.json.encode(costs), indent=2))
    truth = coco.load(root, "test")
    with console.status("writing the report"):
        write.write(out, comparison, judged, truth=truth, measurements=costs, ledger=ledger.rows(judged))
    # A pipe or a log has no width of its own; 80 columns would break the names of detectors.
    terminal.print_comparison(comparison, Console() if sys.stdout.isatty() else Console(width=120))
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
