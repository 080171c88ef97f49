"""Processes that read pictures for a training: one is killed, one reads for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from defect_detect import installed
from defect_detect.backends import _loading
from defect_detect.errors import DatasetError, RunFailed
from tests.test_resume import asked, pictures, train, until, workers

pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(bool(installed.missing("torchvision")), reason="torchvision is not installed"),
]


def test_a_killed_one_ends_the_training_which_goes_on_after_its_last_epoch(tmp_path: Path) -> None:
    data = pictures(tmp_path, "train"), pictures(tmp_path, "val", count=4)

    def when(what: str, epoch: int, batch: int) -> bool:
        if (what, epoch, batch) == ("batch", 3, 1):
            (reader,) = multiprocessing.active_children()
            assert reader.pid is not None
            os.kill(reader.pid, signal.SIGKILL)
        return False

    with pytest.raises(RunFailed, match=r"a process that reads pictures ended.*--set workers=0"):
        train(asked("ssdlite", workers=1), data, tmp_path / "run", when)
    assert multiprocessing.active_children() == []
    again, outcome = train(asked("ssdlite", workers=1), data, tmp_path / "run")
    assert outcome is not None
    assert again.resumed == [2]


def test_one_that_reads_for_ever_ends_the_training_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a network disk that is gone."""
    monkeypatch.setattr(_loading, "PATIENCE", 2.0)
    data = pictures(tmp_path, "train"), pictures(tmp_path, "val", count=4)
    endless = tmp_path / data[0].images.file[5]
    endless.unlink()
    os.mkfifo(endless)
    started = time.monotonic()
    with pytest.raises(RunFailed, match=r"hangs.*timed out after 2\.0 seconds.*--set workers=0"):
        train(asked("ssdlite", workers=1), data, tmp_path / "run")
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


def test_what_one_says_of_a_picture_is_said_without_its_traceback(tmp_path: Path) -> None:
    data = pictures(tmp_path, "train"), pictures(tmp_path, "val", count=4)
    broken = tmp_path / data[0].images.file[5]
    broken.write_bytes(b"\x89PNG")
    said = []
    for readers in (0, 1):
        with pytest.raises(DatasetError) as caught:
            train(asked("ssdlite", workers=readers), data, tmp_path / f"run{readers}")
        said.append(str(caught.value))
    assert said == [f"{broken}: expected a readable picture, found not one"] * 2


def test_none_outlives_a_tool_that_is_killed(tiny: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "ssd.yaml", tmp_path / "out"
    config.write_text(
        "{framework: torchvision, model: ssdlite320_mobilenet_v3, weights: none, epochs: 500, image_size: 96, batch: 4,"
        " patience: 500, workers: 2, threads: 1, options: {model: {fine: true, width: 0.35}}}"
    )
    tool = [sys.executable, str(Path(__file__).parents[1] / "tools" / "train.py"), str(tiny), str(config)]

    def working() -> list[int]:
        return workers(out) + workers(out / "runs" / "ssd-0")

    with subprocess.Popen([*tool, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        until(lambda: len(working()) == 4 or running.poll() is not None)  # tool, worker, and two that read
        assert running.poll() is None
        running.kill()
    until(lambda: not working(), seconds=60)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^something else$") as caught, _loading.reading(1):
        raise RuntimeError("something else")
    assert not isinstance(caught.value, RunFailed)
    with pytest.raises(RunFailed, match="unable to allocate shared memory"), _loading.reading(1):
        raise RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nunable to allocate shared memory(shm)")
