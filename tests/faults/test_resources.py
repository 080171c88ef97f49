"""Disks that are full or read-only, memory, locks, clocks and odd paths: it works, or it says what is wrong."""

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from defect_detect import comparing, holding, job, runner
from defect_detect.errors import ConfigError, InputError, RunFailed
from tests.faults import cycles

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def said(ended: cycles.Ended, code: int) -> str:
    """What a command said that ended so, and without a traceback."""
    assert ended.returncode == code, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr, ended.stderr[-3000:]
    return ended.stderr


def goes_on(reference: cycles.Reference, out: Path, place: Path) -> None:
    """The same command, now undisturbed, ends as if nothing had been."""
    cycles.settled(out, reference, cycles.whole(out, reference), cycles.run(reference.command, out, {}, place))


# ------------------------------------------------------------------------------------------------------------ disks


FULL_AT = [
    ("tool", "job.json", "write"),
    ("worker1", "checkpoint", "fsync"),
    ("worker1", "result.json", "write"),
    ("tool", "comparison.json", "write"),
    ("tool", "seal.json", "rename"),
]


def test_a_disk_that_fills_up_is_told_and_the_command_goes_on_later(reference: cycles.Reference, place: Path) -> None:
    out = place / "struck"
    for process, file, step in FULL_AT:
        plan = {"process": process, "file": file, "step": step, "at": 0, "lasting": True, "error": errno.ENOSPC}
        told = said(cycles.run(reference.command, out, plan, place), 1)
        assert "No space left on device" in told, (process, file, step)
        assert "what was finished is kept" in told.lower()
        cycles.whole(out, reference)
    goes_on(reference, out, place)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 192 KiB, where this user may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(disk)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_is_too_small_keeps_no_half_file(
    command: cycles.Command, reference: cycles.Reference, place: Path, tiny_disk: Path
) -> None:
    ended = cycles.run(command, tiny_disk / "out", {}, place)

    assert "No space left on device" in said(ended, 1)
    there = [path for path in tiny_disk.rglob("*") if path.is_file() and path.suffix == ".json"]
    for path in there:
        json.loads(path.read_bytes())


def test_a_limit_on_file_sizes_is_told_like_a_full_disk(
    command: cycles.Command, reference: cycles.Reference, place: Path
) -> None:
    out = place / "struck"
    limited = cycles.run(
        command, out, {}, place, limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    )

    assert "File too large" in said(limited, 1)
    goes_on(reference, out, place)


def without_override() -> None:
    """Root passes every permission check; without these capabilities it doesn't."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.parametrize("inside", [False, True], ids=["the parent", "the folder itself"])
def test_a_folder_without_permission_is_refused_by_name(command: cycles.Command, place: Path, *, inside: bool) -> None:
    locked = place / "locked"
    out = locked / "out"
    (out if inside else locked).mkdir(parents=True)
    (out if inside else locked).chmod(0o555)

    told = said(cycles.run(command, out, {}, place, limits=without_override), 2)

    assert f"no permission for {locked}" in told
    assert "Choose another --out" in told


def test_a_read_only_disk_is_refused_by_name(command: cycles.Command, place: Path, tiny_disk: Path) -> None:
    if subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=False).returncode:
        pytest.skip("no right to mount")

    assert "Read-only file system" in said(cycles.run(command, tiny_disk / "out", {}, place), 2)


def test_another_file_system_will_do(command: cycles.Command, reference: cycles.Reference, place: Path) -> None:
    there = Path("/dev/shm")  # noqa: S108 - a folder of this test is made in it
    if not there.is_dir() or there.stat().st_dev == place.stat().st_dev:
        pytest.skip("no other file system")
    out = there / f"defect-detect-{os.getpid()}"
    try:
        said(cycles.run(command, out, {}, place), 0)
        expected = reference.files["comparison.json"]
        assert cycles.contents(out)["comparison.json"] == expected
    finally:
        shutil.rmtree(out, ignore_errors=True)


# ----------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("megabytes", [350])
def test_too_little_memory_is_told(command: cycles.Command, place: Path, megabytes: int) -> None:
    limit = megabytes << 20
    out = place / "struck"
    ended = cycles.run(command, out, {}, place, limits=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))

    assert ended.returncode in (0, 1, 2)
    assert not (out / "comparison.json").exists() or ended.returncode == 0
    if ended.returncode:
        # Below what the interpreter and numpy need, it is these that speak.
        assert "memory" in ended.stderr.lower() or "worker" in ended.stderr or "failed" in ended.stderr


# ----------------------------------------------------------------------------------------------------------- a hang


def training(root: Path, home: Path, **options: object) -> job.TrainJob:
    return job.TrainJob(
        detector="classical", framework="classical", model="threshold", dataset=os.path.relpath(root, home), seed=0,
        settings=job.Settings(epochs=2, image_size=64, weights="none"), options=dict(options),
    )  # fmt: skip


def test_a_worker_that_hangs_is_ended_and_its_stack_is_in_the_log(small: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    started = time.monotonic()

    with pytest.raises(RunFailed, match="hangs: not a word for 3 s"):
        runner.execute(
            home, training(small, home, sleep=500.0), framework="classical", workers=runner.Workers(stalled_after=3)
        )

    assert time.monotonic() - started < 60
    log = (home / "log.txt").read_text()
    assert "most recent call first" in log
    assert "in train" in log
    assert not (home / "result.json").exists()


# ------------------------------------------------------------------------------------------------------------ locks


def test_a_second_command_is_told_who_works_in_the_folder(command: cycles.Command, place: Path) -> None:
    out = place / "held"
    out.mkdir()

    with holding.hold(out):
        told = said(cycles.run(command, out, {}, place), 2)

    assert f"process {os.getpid()} on " in told
    assert "give another --out" in told
    assert [path.name for path in out.iterdir()] == [holding.LOCK]


HOLD = """
import sys, time
from pathlib import Path
from defect_detect import holding
with holding.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_dead_owner_is_free(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError, match=f"process {owner.pid} on"), holding.hold(tmp_path):
        pass

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    assert holding.holder(tmp_path) is not None, "it had no time to take its name away"
    with holding.hold(tmp_path):
        pass
    assert holding.holder(tmp_path) is None


def test_a_process_that_an_owner_left_keeps_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_DYING", 0.2)
    left = (
        "import os, subprocess, sys; from pathlib import Path; from defect_detect import holding\n"
        "with holding.hold(Path(sys.argv[1])):\n"
        "    child = subprocess.Popen(['sleep', '600'], pass_fds=holding.handles(),\n"
        "                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True); os._exit(0)"
    )
    owner = subprocess.run([sys.executable, "-c", left, str(tmp_path)], capture_output=True, check=True)
    try:
        with pytest.raises(ConfigError, match="gone, but one that it started still running"), holding.hold(tmp_path):
            pass
    finally:
        os.kill(int(owner.stdout), signal.SIGKILL)


def test_a_file_system_without_locks_goes_by_the_name_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(holding.fcntl, "flock", none)
    with holding.hold(tmp_path), pytest.raises(ConfigError, match=f"process {os.getpid()}"), holding.hold(tmp_path):
        pass
    with holding.hold(tmp_path):
        pass


# ------------------------------------------------------------------------------------------------- clocks and paths


def test_a_clock_that_jumps_years_changes_nothing(reference: cycles.Reference, place: Path) -> None:
    out = place / "struck"
    ended = cycles.run(reference.command, out, {"clock": True}, place)

    cycles.settled(out, reference, cycles.whole(out, reference), ended)


ODD = "Prüfung 3 日本 ☃ 'quoted' $HOME ;x/two\nlines/--out/[bold]<script>/" + "l" * 250


def test_odd_paths_work(command: cycles.Command, reference: cycles.Reference, place: Path) -> None:
    """Spaces, Unicode, a line break, an option, markup, and a name as long as names may be."""
    out = place / ODD

    said(cycles.run(command, out, {}, place), 0)
    before = (out / "runs/classical-0/result.json").stat().st_mtime_ns
    said(cycles.run(command, out, {}, place), 0)

    assert cycles.contents(out)["comparison.json"] == reference.files["comparison.json"]
    assert (out / "runs/classical-0/result.json").stat().st_mtime_ns == before


def test_a_path_that_is_no_text_is_refused(command: cycles.Command, place: Path) -> None:
    out = Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9"))

    told = said(cycles.run(command, out, {}, place), 2)

    assert "expected a name in UTF-8" in told
    assert "byte 0xe9" in told
    assert not out.exists()


def test_a_path_longer_than_the_system_allows_is_refused(command: cycles.Command, place: Path) -> None:
    out = place / "/".join(["l" * 200] * 25)

    assert "File name too long" in said(cycles.run(command, out, {}, place), 1)


def test_relative_paths_from_another_folder_find_what_was_done(
    command: cycles.Command, reference: cycles.Reference, place: Path
) -> None:
    source, *others = command.arguments
    for name in ("here", "there/deeper"):
        (place / name).mkdir(parents=True)
    out = place / "there" / "out"

    def run(cwd: Path) -> cycles.Ended:
        words = [os.path.relpath(source, cwd), *others, "--out", os.path.relpath(out, cwd)]
        return cycles.run(cycles.Command(tool="compare", arguments=words), None, {}, place, cwd=cwd)

    said(run(place / "here"), 0)
    before = (out / "runs/classical-0/result.json").stat().st_mtime_ns
    told = said(run(place / "there" / "deeper"), 0)

    assert "trained before, kept" in told
    assert (out / "runs/classical-0/result.json").stat().st_mtime_ns == before
    assert cycles.contents(out)["comparison.json"] == reference.files["comparison.json"]


# ---------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_workers_in_order(signum: int, code: int, command: cycles.Command, place: Path) -> None:
    slow = cycles.Command(tool="compare", arguments=[*command.arguments, "--set", "options.sleep=300"])
    plan = {"process": "worker1", "step": "open", "file": "log.txt", "at": 0, "when": "after"}

    ended = cycles.run(slow, place / "struck", plan | {"victim": "other", "signal": int(signum)}, place)

    assert "the same command goes on from there" in said(ended, code)


def test_ctrl_c_twice_ends_it_all_the_same(command: cycles.Command, reference: cycles.Reference, place: Path) -> None:
    """The second one comes while workers are being ended."""
    out = place / "struck"
    slow = [*command.arguments, "--set", "options.sleep=300", "--out", str(out)]
    tool = cycles.ROOT / "tools" / "compare.py"
    with subprocess.Popen(
        [sys.executable, tool, *slow], cwd=cycles.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (out / "runs/classical-0/log.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    # A shell says 130 of both: ended by the second one's default once Python was on its way out.
    assert process.returncode in {130, -signal.SIGINT}, told
    assert "Traceback" not in told
    assert [one for one in psutil.Process().children(recursive=True) if cycles._alive(one)] == []

    said(cycles.run(command, out, {}, place), 0)
    assert cycles.contents(out)["comparison.json"] == reference.files["comparison.json"]


def test_a_folder_that_somebody_else_works_in_is_not_changed(small: Path, tmp_path: Path) -> None:
    with holding.hold(tmp_path), pytest.raises(InputError, match="nobody writes to"):
        comparing.run(
            comparing.Source(path=small), tmp_path, detectors=[cycles.ROOT / "configs/baseline/classical.yaml"],
            judging=comparing.Judging(), fiftyone=False,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [holding.LOCK]
