"""Every row of tests/bad_inputs: what becomes of a bad input, by the tool as people run it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType

import pytest

from tests.bad_inputs.cases import OUTCOMES, Case, Place, Sound, rows
from tests.bad_inputs.whole import whole

ROOT = Path(__file__).parents[1]
PATIENCE = 60
KINDS = ("datasets", "images", "masks", "formats", "predictions", "manifests", "configs", "reviews", "splits", "runs",
         "checkpoints")  # fmt: skip


@pytest.fixture(name="sound", scope="session")
def _sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return whole(tmp_path_factory.mktemp("sound"))


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"still running after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def state(folder: Path) -> dict[str, str]:
    """Every file below by the hash of its content, links by where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    # Every command in a comparison's folder adds a line to its log.
    return {name: content for name, content in found.items() if Path(name).name not in ("command.log", ".lock")}


@pytest.mark.parametrize("case", rows(), ids=lambda case: f"{case.kind}-{case.name}")
def test_what_becomes_of_it(
    case: Case, sound: Sound, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(home=tmp_path, sound=sound)
    name, *arguments = case.given(place)
    before = state(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])

    try:
        code = tool(str(name)).main()
    except SystemExit as ended:  # argparse, of an option it can't read
        code = ended.code
    said = capfd.readouterr()

    words = said.out + said.err
    assert code in case.codes, words
    assert "Traceback" not in words
    left = state(tmp_path)
    assert {name: left[name] for name in before} == before, "the input was changed"
    assert not [name for name in left if name.endswith(".part")]
    if case.outcome in ("refused", "failed"):
        check_refusal(case, said.err, {name for name in left if name not in before})
    elif name == "normalize":
        check_normalized(case, place)
    else:
        assert case.says in words


def check_refusal(case: Case, said: str, new: set[str]) -> None:
    """A sentence that names place, what was expected and found, and what to do; and nothing was written."""
    spoken = " ".join(said.split())
    assert case.says.lower() in spoken.lower(), said
    assert len(said) < 50_000
    # Of a comparison the command's log and the dataset may be there, each whole.
    written = {Path(name).name for name in new}
    assert not written & {"comparison.json", "report.html", "ledger.csv", "result.json"}
    # What reviews and baselines say is judged once the predictions are there, which are whole.
    assert case.kind in ("reviews", "runs") or "predictions.json" not in written
    if case.kind in ("datasets", "images", "masks", "formats"):
        assert not new
    if "usage:" in said:
        assert re.search(r"error: argument --[a-z-]+: invalid", said)
        return
    lines = [line for line in said.splitlines() if line.startswith(("error: ", "failed: "))]
    assert lines, said
    if case.outcome == "refused" and case.says != "strict":
        # An option's own form is what to do; of a file it is said.
        told = re.compile(r"error: (--.+: expected .+, found .+|.+: expected .+, found .+[.?])$")
        assert any(told.match(line) for line in lines), said


def check_normalized(case: Case, place: Place) -> None:
    listed = [json.loads(line) for line in (place.out / "repairs.jsonl").read_text().splitlines()]
    actions = {(one["action"], one["what"]) for one in listed}
    if case.outcome == "sound":
        assert not {action for action, _ in actions} - {"noted"}, actions
    else:
        assert any(action == case.outcome and case.says in what for action, what in actions), actions
    content = json.loads((place.out / "dataset.json").read_text())
    tallies = content["images"], content["annotations"]
    for tally in tallies:
        assert tally["given"] == tally["kept"] + tally["merged"] + tally["quarantined"]
    if case.kept is not None:
        assert tuple(tally["kept"] for tally in tallies) == case.kept
    for split in content["splits"]:
        check_numbers(json.loads((place.out / f"{split}.json").read_text()))


def check_numbers(content: dict[str, list[dict[str, object]]]) -> None:
    """What is kept is finite and inside its picture; JSON of ours has no NaN."""
    size = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for defect in content["annotations"]:
        x, y, w, h = defect["bbox"]
        width, height = size[defect["image_id"]]
        assert 0 <= x < x + w <= width + 1e-9
        assert 0 <= y < y + h <= height + 1e-9
        assert 0 < defect["area"] <= width * height


@pytest.mark.parametrize("case", rows()[7::55], ids=lambda case: f"{case.kind}-{case.name}")
def test_a_process_of_its_own_says_the_same(case: Case, sound: Sound, tmp_path: Path) -> None:
    name, *arguments = case.given(Place(home=tmp_path, sound=sound))
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE)
    assert run.returncode in case.codes, run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_the_table_is_large_and_has_no_row_twice() -> None:
    table = rows()
    assert len(table) >= 150
    assert max(Counter((case.kind, case.name) for case in table).values()) == 1
    assert {case.kind for case in table} == set(KINDS)
    assert {case.outcome for case in table} <= set(OUTCOMES)
