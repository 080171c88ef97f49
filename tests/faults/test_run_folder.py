"""A run folder against a model of it: started, killed, damaged and started again, in any order."""

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from defect_detect import job, runner
from defect_detect.errors import RunFailed, WorkerDied

WORKER = """#!{python} -IS
# Does in milliseconds what a worker does: leaves a checkpoint and a result, or dies on the way.
import json, os, signal, sys
run, home = sys.argv[-1], os.path.dirname(os.path.dirname(sys.argv[-1]))
how = open(home + "/how").read()
open(home + "/started", "a").write("x")
epochs = json.load(open(run + "/job.json"))["settings"]["epochs"]
def dies(when):
    if how == when:
        os.kill(os.getpid(), signal.SIGKILL)
open(run + "/log.txt", "a").write("begun")
dies("at its start")
open(run + "/.checkpoint.bin.abcdefgh.part", "w").write("half")
dies("while its checkpoint is written")
os.replace(run + "/.checkpoint.bin.abcdefgh.part", run + "/checkpoint.bin")
open(run + "/checkpoint.bin", "w").write("checkpoint of %d epochs" % epochs)
dies("before its result")
result = open(home + ("/failed" if how == "fails" else "/result-%d" % epochs)).read()
open(run + "/.result.json.abcdefgh.part", "w").write(result[:20])
dies("while its result is written")
open(run + "/.result.json.abcdefgh.part", "w").write(result)
os.replace(run + "/.result.json.abcdefgh.part", run + "/result.json")
dies("after its result")
"""
DIES = ("at its start", "while its checkpoint is written", "before its result", "while its result is written")
JOBS = (1, 2)
FILES = ("job.json", "result.json", "checkpoint.bin")


def wanted(epochs: int) -> job.TrainJob:
    return job.TrainJob(
        detector="fake", framework="fake", model="fake", dataset="../data", seed=0, settings=job.Settings(epochs=epochs)
    )


def checkpoint(epochs: int) -> bytes:
    return f"checkpoint of {epochs} epochs".encode()


def result(epochs: int) -> job.Trained:
    return job.Trained(
        outcome=job.TrainOutcome(
            checkpoint="checkpoint.bin", images_seen=1, defect_free_seen=0, parameters=1, initial_weights="none"
        ),
        history=job.History(epochs=epochs, best_epoch=1, best_score=0.5, stopped_early=False, under_trained=False),
        checkpoint_sha256=hashlib.sha256(checkpoint(epochs)).hexdigest(), dataset_fingerprints={}, versions={},
        seconds=1.0, peak_memory_bytes=1,
    )  # fmt: skip


class RunFolder(RuleBasedStateMachine):
    """`done`: the job whose whole result the folder holds; `begun`: how often a worker should have started."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        (self.place / "runs").mkdir()
        self.run = self.place / "runs" / "fake-0"
        python = self.place / "python"
        python.write_text(WORKER.format(python=sys.executable))
        python.chmod(0o755)
        (self.place / "failed").write_bytes(job.encode(job.Failed(kind="failed", message="it can't")))
        for epochs in JOBS:
            (self.place / f"result-{epochs}").write_bytes(job.encode(result(epochs)))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(runner, "python_of", lambda _: python)
        self.done: int | None = None
        self.begun = 0

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.place)

    def execute(self, epochs: int, how: str) -> job.Trained | job.Predicted:
        (self.place / "how").write_text(how)
        if self.done != epochs:
            self.begun += 1
        return runner.execute(self.run, wanted(epochs), framework="fake")

    @rule(epochs=st.sampled_from(JOBS), how=st.sampled_from(["well", "after its result"]))
    def runs_to_its_end(self, epochs: int, how: str) -> None:
        """A worker that dies after its result has done its work."""
        assert self.execute(epochs, how) == result(epochs)
        self.done = epochs
        assert (self.run / "checkpoint.bin").read_bytes() == checkpoint(epochs)
        assert not list(self.run.rglob(".*.part"))

    @rule(epochs=st.sampled_from(JOBS), how=st.sampled_from(DIES))
    def is_killed(self, epochs: int, how: str) -> None:
        if self.done == epochs:
            assert self.execute(epochs, how) == result(epochs)  # nothing is started, so nothing dies
            return
        with pytest.raises(WorkerDied, match="SIGKILL"):
            self.execute(epochs, how)
        self.done = None
        assert not (self.run / "result.json").exists()

    @rule(epochs=st.sampled_from(JOBS))
    def fails(self, epochs: int) -> None:
        if self.done == epochs:
            return
        with pytest.raises(RunFailed, match="it can't"):
            self.execute(epochs, "fails")
        self.done = None

    @precondition(lambda self: self.done is not None)
    @rule(file=st.sampled_from(FILES), how=st.sampled_from(["cut", "changed", "removed", "emptied"]))
    def is_damaged(self, file: str, how: str) -> None:
        path = self.run / file
        content = path.read_bytes()
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes({"cut": content[: len(content) // 2], "changed": b"#" + content[1:], "emptied": b""}[how])
        self.done = None

    @rule(where=st.sampled_from([".", "resume"]))
    def a_half_file_is_left(self, where: str) -> None:
        if self.run.is_dir():
            (self.run / where).mkdir(exist_ok=True)
            (self.run / where / ".result.json.zzzzzzzz.part").write_text("{")

    @invariant()
    def workers_started_only_when_they_had_to(self) -> None:
        started = self.place / "started"
        assert (started.stat().st_size if started.exists() else 0) == self.begun

    @invariant()
    def what_is_shown_is_whole(self) -> None:
        found = runner.finished(self.run, wanted(1)) or runner.finished(self.run, wanted(2))
        assert found == (None if self.done is None else result(self.done))

    @invariant()
    def nothing_that_was_finished_is_lost(self) -> None:
        """What is set aside still holds what it held."""
        for path in (self.place / "runs").glob("fake-0.replaced-*/result.json"):
            content = path.read_bytes()
            if content in [job.encode(result(epochs)) for epochs in JOBS]:
                msgspec.json.decode(content)


TestRunFolder = RunFolder.TestCase
TestRunFolder.settings = settings(max_examples=25, stateful_step_count=8, deadline=None)
