"""Jobs in processes of their own: what becomes of them is a value or an error, never a mystery."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from defect_detect import job, runner
from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, FrameworkMissing, RunFailed, WorkerDied


def training(root: Path, home: Path, **changes: object) -> job.TrainJob:
    settings = job.Settings(epochs=int(changes.pop("epochs", 2)), image_size=96, weights="none")  # type: ignore[call-overload]
    options = changes.pop("options", {})
    assert not changes
    return job.TrainJob(
        detector="classical",
        framework="classical",
        model="threshold",
        dataset=os.path.relpath(root, home),
        seed=0,
        settings=settings,
        options=options,  # type: ignore[arg-type]
    )


def worker_of(home: Path, seconds: float = 20) -> int:
    """The process id of the worker that works in `home`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"defect_detect.worker" in words and str(home).encode() in words:
                    return int(entry.name)
        time.sleep(0.01)
    raise AssertionError(f"no worker in {home}")


def test_a_training_leaves_its_result_and_says_how_it_goes(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "classical-0"
    said: list[job.Progress] = []

    result = runner.execute(home, training(tiny, home), framework="classical", report=said.append)

    assert isinstance(result, job.Trained)
    assert (home / result.outcome.checkpoint).is_file()
    assert [p.epoch for p in said if p.stage == "validate"] == [1, 2]
    assert (home / "metrics.csv").read_text().count("\n") == 3
    assert not list(home.glob(".*"))


def test_a_finished_job_is_not_done_again(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    first = runner.execute(home, training(tiny, home), framework="classical")
    before = (home / "result.json").stat().st_mtime_ns

    assert runner.execute(home, training(tiny, home), framework="classical") == first
    assert (home / "result.json").stat().st_mtime_ns == before


def test_another_job_sets_the_old_folder_aside(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    runner.execute(home, training(tiny, home), framework="classical")
    old = (home / "result.json").read_bytes()

    runner.execute(home, training(tiny, home, epochs=3), framework="classical")

    assert (tmp_path / "run.replaced-1" / "result.json").read_bytes() == old
    assert job.decode_result((home / "result.json").read_bytes()).history.epochs == 3  # type: ignore[union-attr]


def test_a_changed_checkpoint_is_noticed(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    wanted = training(tiny, home)
    result = runner.execute(home, wanted, framework="classical")
    assert isinstance(result, job.Trained)
    with (home / result.outcome.checkpoint).open("ab") as file:
        file.write(b" ")

    assert runner.finished(home, wanted) is None


def test_a_killed_worker_is_told_by_its_signal_and_the_job_can_be_repeated(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    slow = training(tiny, home, epochs=200, options={"sleep": 0.2})
    killer = threading.Thread(target=lambda: os.kill(worker_of(home), signal.SIGKILL))
    killer.start()

    with pytest.raises(WorkerDied, match="SIGKILL"):
        runner.execute(home, slow, framework="classical")
    killer.join()

    quick = training(tiny, home)
    assert isinstance(runner.execute(home, quick, framework="classical"), job.Trained)


def test_an_interrupted_runner_leaves_no_worker(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    slow = training(tiny, home, epochs=200, options={"sleep": 0.2})

    def interrupt(progress: job.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.execute(home, slow, framework="classical", report=interrupt)

    with pytest.raises(AssertionError):
        worker_of(home, seconds=0.3)
    assert not (home / "result.json").exists()


def test_what_a_backend_refuses_is_the_users_mistake(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"

    with pytest.raises(ConfigError, match="sigma"):
        runner.execute(home, training(tiny, home, options={"sigmo": 1}), framework="classical")


def test_a_dataset_that_changed_under_the_job_is_refused(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    wanted = job.decode_job(
        job.encode(training(tiny, home)).replace(b'"fingerprints": {}', b'"fingerprints": {"train": "another"}')
    )

    with pytest.raises(RunFailed, match=r"train split .* changed"):
        runner.execute(home, wanted, framework="classical")


def test_predictions_come_with_a_manifest(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    runner.execute(home, training(tiny, home), framework="classical")
    target = home / "predictions" / "test"
    wanted = job.PredictJob(trained="../..", dataset=os.path.relpath(tiny, target), split="test")

    result = runner.execute(target, wanted, framework="classical")

    assert isinstance(result, job.Predicted)
    assert b'"detector": "classical"' in (target / "manifest.json").read_bytes()
    assert result.latency_p50 is not None


def test_a_checkpoint_that_is_not_the_trained_one_is_refused(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    trained = runner.execute(home, training(tiny, home), framework="classical")
    assert isinstance(trained, job.Trained)
    atomic_write(home / trained.outcome.checkpoint, b"{}")
    target = home / "predictions" / "test"
    wanted = job.PredictJob(trained="../..", dataset=os.path.relpath(tiny, target), split="test")

    with pytest.raises(RunFailed, match="not the checkpoint that was trained"):
        runner.execute(target, wanted, framework="classical")


def test_a_missing_framework_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A Python that has this package and nothing else: the framework's own is looked for there.
    import subprocess
    import sys

    bare = tmp_path / "envs" / "ultralytics"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    monkeypatch.setenv("DEFECT_DETECT_ENVS", str(tmp_path / "envs"))

    with pytest.raises(FrameworkMissing, match="worker"):
        runner.check("ultralytics")


def fake_python(envs: Path) -> Path:
    python = envs / "mmdet" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\ntouch ran\n")
    python.chmod(0o755)
    return python


def test_an_interpreter_of_the_working_directory_is_run_only_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = fake_python(tmp_path / "stranger" / "envs")
    monkeypatch.chdir(tmp_path / "stranger")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for given in (None, ""):
        if given is None:
            monkeypatch.delenv("DEFECT_DETECT_ENVS", raising=False)
        else:
            monkeypatch.setenv("DEFECT_DETECT_ENVS", given)
        assert runner.python_of("mmdet") != theirs
        assert tmp_path / "stranger" not in runner.python_of("mmdet").parents
    # Nor do relative folders of data lead there.
    monkeypatch.setenv("XDG_DATA_HOME", ".")
    fake_python(tmp_path / "stranger" / "defect-detect" / "envs")
    assert all(tmp_path not in envs.parents for envs in runner.environments())
    monkeypatch.setenv("DEFECT_DETECT_ENVS", "envs")
    assert runner.python_of("mmdet") == theirs
    with pytest.raises(FrameworkMissing):
        runner.check("mmdet")
    assert (tmp_path / "stranger" / "ran").exists()


def test_environments_are_looked_for_beside_the_package_then_among_the_users_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DEFECT_DETECT_ENVS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    package = tmp_path / "project" / "defect_detect"
    monkeypatch.setattr(runner, "__file__", str(package / "runner.py"))
    assert runner.python_of("mmdet") == Path(sys.executable)
    users = fake_python(tmp_path / "data" / "defect-detect" / "envs")
    assert runner.python_of("mmdet") == users
    projects = fake_python(tmp_path / "project" / "envs")
    assert runner.python_of("mmdet") == projects


def test_a_worker_names_what_its_framework_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from defect_detect import installed
    from defect_detect.backends import classical

    monkeypatch.setattr(classical, "requires", ("no-such-framework>=1.2",))

    assert installed.missing("classical") == ["no-such-framework>=1.2"]
    assert installed.versions("classical")["no-such-framework"] == "missing"
