"""What the contract suite does with every backend: its jobs, in real workers.

Each backend is trained twice on the same twelve pictures, once undisturbed, once killed by SIGTERM in
its second epoch and taken up again. What is left of it in the folder is what `test_contract` judges.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from defect_detect import job, runner
from defect_detect.errors import WorkerDied
from defect_detect.resuming import FOLDER
from tests import contract_data
from tests.contract_configs import BACKENDS, wanted
from tests.test_resume import alive, until, workers


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What can't be read from the run folders afterwards."""

    absent: str = ""
    """Why this backend could not be tried here."""
    died: str = ""
    """What the runner said of the worker that was killed."""
    left: list[str] = []
    """What the killed training left in its folder."""
    left_outside: dict[str, list[str]] = {}
    """By job: files that appeared, changed or went outside its run folder."""


def tried(name: str, home: Path) -> Told:
    """The trials of backend `name` in `home`, made by whichever test process comes first."""
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = home / "told.json"
        if not done.exists():
            done.write_bytes(msgspec.json.encode(_try(name, home / "work")))
        return msgspec.json.decode(done.read_bytes(), type=Told)


def _try(name: str, home: Path) -> Told:
    try:
        runner.check(name)
    except runner.FrameworkMissing as missing:
        return Told(absent=str(missing))
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    data = contract_data.dataset(home / "data")
    outside: dict[str, list[str]] = {}
    with _alone(home):
        with _unchanged(home, "killed", outside):
            died, left = _kill(name, home / "killed", data)
            runner.execute(home / "killed", wanted(name, home / "killed", data), framework=name)
        with _unchanged(home, "whole", outside):
            runner.execute(home / "whole", wanted(name, home / "whole", data), framework=name)
        _predictions(name, home, data, outside)
    return Told(died=died, left=left, left_outside=outside)


def _predictions(name: str, home: Path, data: Path, outside: dict[str, list[str]]) -> None:
    """The jobs that are over in a moment, one after the other in one worker process: its start is what costs."""
    for run, checkpoint in (("text", b"<html>not found</html>"), ("foreign", contract_data.foreign())):
        _copy(home, run, checkpoint=checkpoint)
    broken, nothing = contract_data.broken(home, data), contract_data.nothing(home, data)
    runs = {
        "killed_test": ("killed", data), "whole_test": ("whole", data), "strict_test": ("strict", data),
        "nothing_test": ("whole", nothing), "broken_test": ("whole", broken), "text_test": ("text", data),
        "foreign_test": ("foreign", data),
    }  # fmt: skip
    jobs: dict[str, job.Job] = {
        run: job.PredictJob(
            trained=os.path.relpath(home / trained, home / run), dataset=os.path.relpath(root, home / run),
            split="test", device="cpu", threads=1, batch=2,
        )
        for run, (trained, root) in runs.items()
    }  # fmt: skip
    jobs["broken_train"] = wanted(name, home / "broken_train", broken)
    with _worker(name) as do, _unchanged(home, " ".join([*jobs, "strict"]), outside):
        for run, asked in jobs.items():
            if run == "strict_test":
                said = json.loads((home / "whole_test" / "predictions.json").read_bytes())
                floor, cap = limits([(one["image_id"], one["score"]) for one in said])
                _copy(home, "strict", settings={"score_floor": floor, "max_detections": cap})
            do(home / run, asked)


@contextmanager
def _worker(name: str) -> Iterator[Callable[[Path, job.Job], None]]:
    """A worker process that does one job after the other, as `python -m defect_detect.worker RUN` does one."""
    program = (
        "import sys\nfrom defect_detect import worker\nfor run in sys.stdin:\n"
        "    sys.argv = ['worker', run.rstrip('\\n')]\n    worker.main()\n"
    )
    process = subprocess.Popen(
        [runner.python_of(name), "-I", "-c", program], env=runner.scrubbed(1), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    tell = process.stdin

    def do(run: Path, asked: job.Job) -> None:
        run.mkdir()
        (run / "job.json").write_bytes(job.encode(asked))
        print(run, file=tell, flush=True)
        until(lambda: (run / "result.json").exists() or process.poll() is not None)
        assert process.poll() is None, f"the worker ended in {run}"

    try:
        yield do
    finally:
        tell.close()
        assert process.wait(300) == 0


def limits(said: list[tuple[int, float]]) -> tuple[float, int]:
    """A floor and a cap that each hide some of what is said of (image, score)."""
    scores = sorted({score for _, score in said})
    assert len(scores) > 2, "too few predictions to hold a floor and a cap against"
    middle = len(scores) // 2
    floor = (scores[middle - 1] + scores[middle]) / 2
    most = max(np.bincount([image for image, score in said if score >= floor]))
    return floor, max(1, int(most) // 2)


def _kill(name: str, run: Path, data: Path) -> tuple[str, list[str]]:
    """Train until the first epoch is kept, and send SIGTERM; what the runner said, and what is left."""
    # A backend that keeps nothing is killed once an epoch is judged. Watched from the start on, however busy this is.
    first = run / FOLDER / "after-1" if BACKENDS[name].goes_on else run / "metrics.csv"

    def hear(line: job.Progress) -> None:
        if line.stage == "start":
            (worker,) = workers(run)
            until(lambda: first.exists() or not alive(worker))
            os.kill(worker, signal.SIGTERM)
            until(lambda: not alive(worker))

    died = "it ended as if nothing had happened"
    try:
        runner.execute(run, wanted(name, run, data), framework=name, report=hear)
    except WorkerDied as error:
        died = str(error)
    return died, sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def _copy(home: Path, run: str, *, settings: Mapping[str, Any] | None = None, checkpoint: bytes | None = None) -> None:
    """The undisturbed training again, with other settings, or with another checkpoint that its result vouches for."""
    shutil.copytree(home / "whole", home / run)
    task, result = (home / run / file for file in ("job.json", "result.json"))
    made, trained = job.decode_job(task.read_bytes()), job.decode_result(result.read_bytes())
    assert isinstance(made, job.TrainJob)
    assert isinstance(trained, job.Trained)
    made = msgspec.structs.replace(made, settings=msgspec.structs.replace(made.settings, **settings or {}))
    task.write_bytes(job.encode(made))
    if checkpoint is not None:
        (home / run / trained.outcome.checkpoint).write_bytes(checkpoint)
        digest = hashlib.sha256(checkpoint).hexdigest()
        result.write_bytes(job.encode(msgspec.structs.replace(trained, checkpoint_sha256=digest)))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Home, temporary and working folder of the workers are empty ones in `home`."""
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        # Below the home that is about to change: environments of frameworks, and what libraries keep for all their
        # runs (matplotlib its list of fonts), which is the user's cache and nobody's run.
        for name, place in (("XDG_DATA_HOME", ".local/share"), ("XDG_CACHE_HOME", ".cache")):
            patch.setenv(name, os.environ.get(name) or str(Path.home() / place))
        for name in ("HOME", "TMPDIR"):
            (home / name).mkdir()
            patch.setenv(name, str(home / name))
        (home / "cwd").mkdir()
        os.chdir(home / "cwd")
        try:
            yield
        finally:
            os.chdir(before)


@contextmanager
def _unchanged(home: Path, runs: str, outside: dict[str, list[str]]) -> Iterator[None]:
    """Record what differs outside the run folders afterwards, their names separated by spaces."""

    def seen() -> dict[str, str]:
        files = (path for path in home.rglob("*") if path.is_file())
        names = ((path, path.relative_to(home)) for path in files)
        return {
            str(name): hashlib.sha256(path.read_bytes()).hexdigest()
            for path, name in names
            if name.parts[0] not in runs.split()
        }

    before = seen()
    yield
    after = seen()
    outside[runs] = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
