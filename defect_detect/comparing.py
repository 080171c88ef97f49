"""The main job: from a dataset and detectors to a comparison folder. Rerun, it goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from defect_detect import auditing, config, facts, folder, gating, job, logged, runner, sealing, space, trials
from defect_detect import given as elsewhere
from defect_detect.config import DetectorConfig
from defect_detect.data import coco, tiling, unaltered
from defect_detect.data.normalize import Normalized, normalize
from defect_detect.doctor import before
from defect_detect.errors import ConfigError, DatasetError, DefectDetectError, Fault, InputError
from defect_detect.evaluation import matching, operating
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.reviewed_truth import check_header
from defect_detect.judging import judge
from defect_detect.report import review_csv
from defect_detect.report.normalized import print_normalized


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the dataset comes from and how it is to be read."""

    path: Path
    images: Path | None = None
    form: str = "auto"
    group: str | None = None
    pattern: str | None = None
    alike: int | None = None
    fold: tuple[int, int] | None = None
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
    per_class: bool = False
    iou: float = 0.5
    geometry: str = "box"
    costs: Mapping[str, float] = field(default_factory=dict)
    prevalence: float | None = None
    sizes: Sequence[float] = ()
    pod_size: str = "long side"
    pod_link: str = "logit"
    seed: int = 0
    resamples: int = 2000
    allow: bool = False
    review: Path | None = None
    template: Path | None = None
    fail_if: Sequence[str] = ()
    baseline: Path | None = None


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
    cut: job.Tiling | None = None,
    fiftyone: bool = True,
    operator: str | None = None,
    stalled_after: float = runner.STALLED_AFTER,
    console: Console | None = None,
) -> int:
    """Normalize, train, predict, judge, report. Returns the exit code.

    0: all done; 1: a run failed; 2: a run can't be done as its config asks; 3: all done, and a condition to fail holds.
    What the others finished is compared. `cut`: detectors are trained on tiles, and judged on whole pictures.
    `operator`: who asks for it, for the log. `stalled_after`: see `runner.Workers`.

    Raises:
        InputError: the user's input is at fault; nothing was trained.
    """
    console = console or Console(stderr=True)
    operating.parse_policy(judging.policy, judging.costs, judging.prevalence, per_class=judging.per_class)
    matching.check(Rule(iou=judging.iou, geometry=judging.geometry))
    configs = configured(detectors, settings, given)
    if cut is not None:
        _cuttable(cut, configs)
    names = [made.name for made in configs] + list(dict.fromkeys(name for name, _ in elsewhere.parse_given(given)))
    asked = gating.parse(judging.fail_if, judging.baseline, names)
    decided = review_csv.read(judging.review) if judging.review is not None else None
    before.check(configs, out, range(judging.seed, judging.seed + seeds), jobs=jobs)
    with folder.at_work(out, facts.versions(), operator):
        root = prepare(source, out, console)
        measurable(root, training=bool(configs))
        if configs:
            tile = None if cut is None else cut.size
            auditing.before_training(root, configs=configs, name=source.path.name, tile=tile, console=console)
        gating.ready(asked, root)
        if decided is not None:
            check_header(coco.load(root, "test"), decided)
        space.check(out, configs, range(judging.seed, judging.seed + seeds), jobs=jobs)
        before.fetch(configs, range(judging.seed, judging.seed + seeds), root=root, out=out, console=console)
        foreign = elsewhere.take_in(out, given, root)
        trained, failures = trials.run_all(
            configs, range(judging.seed, judging.seed + seeds), root, out, jobs=jobs, console=console, cut=cut,
            stalled_after=stalled_after,
        )  # fmt: skip
        request = folder.Request(
            dataset=os.path.relpath(root, out), source=source.path.name, trained=trained, foreign=foreign,
            policy=judging.policy, iou=judging.iou, seed=judging.seed, resamples=judging.resamples, allow=judging.allow,
            geometry=judging.geometry, per_class=judging.per_class, costs=dict(judging.costs),
            prevalence=judging.prevalence, sizes=list(judging.sizes), pod_size=judging.pod_size,
            pod_link=judging.pod_link, reviewed=decided is not None, tiling=cut,
        )  # fmt: skip
        passed = True
        if trained or foreign:
            passed = judge(out, request, decided, asked, judging.template, fiftyone=fiftyone, console=console)
            sealing.seal(out, request)
        code = _exit_code(failures, passed=passed)
        logged.ended(out, code=code, failed=sorted(failures), seal=sealing.of(out))
    for name, error in failures.items():
        console.print(f"[bold red]{name} failed[/]: ", end="")
        console.print(str(error), markup=False, highlight=False)
    return code


def _exit_code(failures: Mapping[str, DefectDetectError], *, passed: bool) -> int:
    if not failures:
        return 0 if passed else 3
    return 2 if all(isinstance(error, InputError) for error in failures.values()) else 1


def prepare(source: Source, out: Path, console: Console) -> Path:
    """The root of the normalized dataset: the given one if it is normalized, else one made in `out`."""
    if source.path.is_dir() and coco.was_normalized(source.path):
        coco.describe(source.path)
        tiling.refuse_tiles(source.path)
        _settled(source)
        unaltered.check(source.path)
        return source.path
    made = normalized_to(source, out / "dataset", console)
    if made.reused:
        unaltered.check(made.root)
    else:
        print_normalized(made, console)
    return made.root


def _settled(source: Source) -> None:
    """Refuse options that a normalized dataset would silently go without."""
    given = {
        "--group": source.group, "--group-pattern": source.pattern, "--group-similar": source.alike,
        "--fold": source.fold, "--scale": source.scale, "--severity": source.severity,
        "--accept-below": source.accept_below,
    }  # fmt: skip
    faults = [
        Fault(where=option, expected="an export to be normalized", found=f"{source.path}, which is normalized already",
              fix="Normalize the export again with this option, into another folder.")
        for option, value in given.items()
        if value is not None and value != {}
    ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)


def normalized_to(source: Source, root: Path, console: Console) -> Normalized:
    """Normalize `source` to the folder `root`, showing how far it is."""
    with Progress(
        TextColumn("reading pictures"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        return normalize(
            source.path, images=source.images, out=root, form=source.form, group=source.group,
            pattern=source.pattern, alike=source.alike, fold=source.fold, scale=source.scale, unit=source.unit,
            severity=source.severity, accept_below=source.accept_below, seed=source.seed, strict=source.strict,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip


def normalized(dataset: Path, run: Path) -> Path:
    """The root of the normalized dataset that `dataset` names: itself, or the one `run` was trained on.

    Raises:
        DatasetError: `dataset` isn't normalized, and `run` wasn't trained on what became of it.
    """
    if dataset.is_dir() and coco.is_normalized(dataset):
        tiling.refuse_tiles(dataset)
        unaltered.check(dataset)
        return dataset
    beside = run.parents[1] / "dataset"
    if coco.is_normalized(beside) and coco.describe(beside).source == dataset.name:
        return beside
    raise DatasetError(Fault(where=str(dataset), expected="a normalized dataset", found="none",
                             fix=f"Make one: python tools/normalize.py {dataset} --out DIR."))  # fmt: skip


def configured(detectors: Sequence[Path], settings: Sequence[str], given: Sequence[str] = ()) -> list[DetectorConfig]:
    """The configs with the settings that are meant for each laid over them.

    Raises:
        ConfigError: everything that is wrong with them, names given twice included.
    """
    faults: list[Fault | str] = []
    configs = []
    for path in detectors:
        try:
            configs.append(config.read(path, _for(path.stem, settings, [other.stem for other in detectors])))
        except ConfigError as error:
            faults += error.faults
    names = [made.name for made in configs] + sorted({name for name, _ in elsewhere.parse_given(given)})
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault(where=name, expected="every detector under a name of its own", found="this name twice",
                            fix="Copy the config under another file name."))  # fmt: skip
    if not names:
        faults.append("nothing to compare: give --detectors or --predictions")
    if faults:
        raise ConfigError(*faults)
    return configs


def _cuttable(cut: job.Tiling, configs: Sequence[DetectorConfig]) -> None:
    tiling.check(cut)
    if not configs:
        raise ConfigError(Fault(where="--tile", expected="detectors to train on tiles", found="none",
                                fix="Predictions from elsewhere speak of whole pictures already."))  # fmt: skip


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
