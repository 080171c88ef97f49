"""A sample of what `tests.faults.kill` does for hours: a blow at each kind of step, and what must hold after it."""

import random
import signal
from pathlib import Path

import pytest

from tests.faults import cycles

STEPS = {
    name: {"process": process, "file": file, "step": step, "when": when, "at": 0}
    for name, (process, file, step, when) in {
        "while the job is written": ("tool", "job.json", "write", "half"),
        "before the job's fsync": ("tool", "job.json", "fsync", "before"),
        "after a worker's start": ("tool", "classical-0", "start", "after"),
        "while the checkpoint is written": ("worker1", "checkpoint", "write", "half"),
        "before the checkpoint's rename": ("worker1", "checkpoint", "rename", "before"),
        "after the checkpoint's rename": ("worker1", "checkpoint", "rename", "after"),
        "while the result is written": ("worker1", "result.json", "write", "half"),
        "after the result's rename": ("worker1", "result.json", "rename", "after"),
        "before predictions are renamed": ("worker1", "predictions.json", "rename", "before"),
        "while a manifest is written": ("worker1", "manifest", "write", "half"),
        "while the report is written": ("tool", "report.html", "write", "half"),
        "before the figures are renamed": ("tool", "comparison.json", "rename", "before"),
        "while the seal is written": ("tool", "seal.json", "write", "half"),
    }.items()
}


@pytest.mark.parametrize("names", [list(STEPS)[0::4], list(STEPS)[2::4]], ids=["some", "others"])
def test_a_comparison_struck_at_named_steps_ends_as_if_it_had_not_been(
    names: list[str], reference: cycles.Reference, place: Path
) -> None:
    out, finished = place / "struck", {}
    for number, name in enumerate(names):
        kill = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)[number % 3]
        # Both ends of it: a worker dies with its parent, and a parent goes on without its worker.
        ended = cycles.run(reference.command, out, STEPS[name] | {"signal": int(kill)}, place)
        there = cycles.whole(out, reference)
        assert "Traceback" not in ended.stderr, name
        assert finished.items() <= there.items(), f"{name}: done twice"
        finished = there

    cycles.settled(out, reference, finished, cycles.run(reference.command, out, {}, place))


@pytest.mark.parametrize("seed", [0])
def test_a_comparison_struck_at_random_ends_as_if_it_had_not_been(
    seed: int, reference: cycles.Reference, place: Path
) -> None:
    assert len(cycles.cycle(reference, place, random.Random(seed), 2)) <= 2


def test_this_harness_can_fail(reference: cycles.Reference, place: Path) -> None:
    out = place / "struck"
    ended = cycles.run(reference.command, out, {}, place)
    finished = cycles.whole(out, reference)
    cycles.settled(out, reference, finished, ended)

    (out / "runs" / "classical-0" / ".result.json.abcdefgh.part").touch()
    with pytest.raises(cycles.Broken, match="left over"):
        cycles.settled(out, reference, finished, ended)
    (out / "runs" / "classical-0" / ".result.json.abcdefgh.part").unlink()
    with (out / "comparison.json").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(cycles.Broken, match=r"comparison\.json"):
        cycles.whole(out, reference)
