"""Trainings and predictions of a comparison: each one is skipped when it is done and nothing changed."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from defect_detect import backends, folder, job, resuming, runner
from defect_detect.config import DetectorConfig
from defect_detect.data import coco, tiling
from defect_detect.data.files import sha256_file
from defect_detect.errors import ConfigError, DefectDetectError, Fault, InputError, RunFailed
from defect_detect.report import progress


def run_all(
    configs: Sequence[DetectorConfig], seeds: Sequence[int], root: Path, out: Path, *, jobs: int, console: Console,
    cut: job.Tiling | None = None, stalled_after: float = runner.STALLED_AFTER,
) -> tuple[dict[str, list[int]], dict[str, DefectDetectError]]:  # fmt: skip
    """Train all, `jobs` at a time, then predict one after the other, so that latencies are comparable.

    `cut`: they see tiles of the pictures of `root`; what they predict speaks of whole pictures all the same.
    """
    trained: dict[str, list[int]] = {}
    failures: dict[str, DefectDetectError] = {}
    homes = [(made, seed, folder.run_folder(out, made.name, seed)) for made in configs for seed in seeds]
    workers = runner.Workers(stalled_after)
    shown = root if cut is None else tiles(root, out, cut, console)
    with progress.board(console) as board, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = [
            pool.submit(train, made, seed, shown, home, board=board, workers=workers, console=console, cut=cut)
            for made, seed, home in homes
        ]
        try:
            for (made, seed, _), running in zip(homes, runs, strict=True):
                try:
                    running.result()
                except (RunFailed, InputError) as error:
                    # The others' hours must not be lost with this one.
                    failures[f"{made.name}-{seed}"] = error
        except BaseException:
            workers.end()
            pool.shutdown(cancel_futures=True)
            raise
    for made, seed, home in homes:
        if home.name not in failures:
            try:
                for split in folder.SPLITS:
                    predict(home, root, split, console, workers=workers)
            except (RunFailed, InputError) as error:
                failures[home.name] = error
            else:
                trained.setdefault(made.name, []).append(seed)
    return trained, failures


def train(
    made: DetectorConfig, seed: int, root: Path, home: Path, *, board: progress.Board, workers: runner.Workers,
    console: Console, cut: job.Tiling | None = None,
) -> job.Trained:  # fmt: skip
    """Train one detector with one seed in the run folder `home`, unless that is done.

    `root` of the dataset that it sees; `cut` says how that was cut out of larger pictures (`tiles`).
    """
    wanted = job.TrainJob(
        detector=made.name, framework=made.framework, model=made.model, dataset=os.path.relpath(root, home),
        fingerprints={split: coco.load(root, split).fingerprint for split in ("train", "val")},
        seed=seed, settings=made.settings, options=made.options, tiling=cut,
    )  # fmt: skip
    if (done := runner.finished(home, wanted)) is not None:
        resuming.clear(home)  # a kill between its result and this leaves what it would have gone on from
        console.print(f"{home.name}: trained before, kept", markup=False, highlight=False)
    else:
        report = board(f"train {home.name}")
        done = runner.execute(home, wanted, framework=made.framework, report=report, workers=workers)
    if not isinstance(done, job.Trained):
        raise RunFailed(f"{home} holds no training")
    return done


def predict(
    home: Path, root: Path, split: str, console: Console, overrides: Mapping[str, Any] | None = None, *,
    workers: runner.Workers | None = None,
) -> Path:  # fmt: skip
    """Predict on one split with the training in `home`, unless that is done. Returns the predictions file.

    A training on tiles predicts on tiles, cut as its own were; the file speaks of the whole pictures.

    Raises:
        ConfigError: `home` holds no finished training.
        RunFailed: the prediction failed.
    """
    made, result = training(home)
    _unchanged(home, result)
    target = home / "predictions" / split
    shown = root
    asked: dict[str, Any] = {"device": made.settings.device, "threads": made.settings.threads, **(overrides or {})}
    if made.tiling is not None:
        shown = tiles(root, home.parents[1], made.tiling, console)
        asked |= {"whole": os.path.relpath(root, target), "whole_fingerprint": coco.load(root, split).fingerprint}
    wanted = job.PredictJob(
        trained=os.path.relpath(home, target), checkpoint_sha256=result.checkpoint_sha256,
        dataset=os.path.relpath(shown, target), fingerprint=coco.load(shown, split).fingerprint, split=split, **asked,
    )  # fmt: skip
    if runner.finished(target, wanted) is None:
        with progress.board(console) as board:
            report = board(f"predict {home.name} on {split}")
            runner.execute(target, wanted, framework=made.framework, report=report, workers=workers)
    return target / "predictions.json"


def tiles(root: Path, out: Path, cut: job.Tiling, console: Console) -> Path:
    """The root of the tiles of the dataset at `root`, in `out`/tiles/; made unless they are there."""
    with Progress(
        TextColumn("cutting tiles"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        return tiling.make(
            root, out / "tiles", cut, progress=lambda done, of: bar.update(task, completed=done, total=of)
        )


def training(home: Path) -> tuple[job.TrainJob, job.Trained]:
    """The job and the result of the finished training in `home`.

    Raises:
        ConfigError: there is none.
    """
    read = []
    for name, decode in (("job.json", job.decode_job), ("result.json", job.decode_result)):
        try:
            read.append(decode((home / name).read_bytes()))
        except (OSError, msgspec.MsgspecError) as error:
            found = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            raise ConfigError(_no_training(home / name, found)) from error
    made, result = read
    if not isinstance(made, job.TrainJob) or not isinstance(result, job.Trained):
        raise ConfigError(_no_training(home, "none that succeeded"))
    try:
        backends.capabilities(made.framework, made.model)
    except ConfigError as error:
        raise ConfigError(*(_no_training(home / "job.json", str(fault)) for fault in error.faults)) from error
    return made, result


def _unchanged(home: Path, result: job.Trained) -> None:
    """Refuse a checkpoint that isn't the one that was trained."""
    checkpoint = home / result.outcome.checkpoint
    try:
        found = sha256_file(checkpoint)
    except OSError as error:
        raise ConfigError(_no_training(checkpoint, f"no checkpoint ({error.strerror or error})")) from error
    if found != result.checkpoint_sha256:
        raise ConfigError(Fault(
            where=str(checkpoint), expected=f"the trained checkpoint (SHA-256 {result.checkpoint_sha256[:12]})",
            found=f"another file ({found[:12]})", fix="Put the right one back, or train again.",
        ))  # fmt: skip


def _no_training(where: Path, found: str) -> Fault:
    return Fault(where=str(where), expected="the folder of a finished training", found=found, fix="Train again.")
