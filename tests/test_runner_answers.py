"""What a worker answers when it is asked what it lacks, as interpreters of all kinds do or don't."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from defect_detect import runner
from defect_detect.errors import FrameworkMissing

NOTHING = '{"missing": [], "versions": {}}'
LACKING = '{"missing": ["ultralytics", "torch>=2"], "versions": {}}'


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Makes the interpreter of ultralytics one that runs these lines of shell."""

    def make(script: str) -> Path:
        python = tmp_path / "envs" / "ultralytics" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        monkeypatch.setenv("DEFECT_DETECT_ENVS", str(tmp_path / "envs"))
        return python

    return make


@pytest.mark.parametrize(
    "script",
    [
        f"echo '{NOTHING}'",
        f"printf '%s' '{NOTHING}'",
        'printf \'{\\n  "missing": [\\n  ],\\n  "versions": {}\\n}\\n\'',
        f"echo 'a warning of a library' >&2; echo '{NOTHING}'",
        f"printf '\\n\\n  %s\\n\\n' '{NOTHING}'",
    ],
    ids=["one line", "no line end", "many lines", "noise beside", "blanks around"],
)
def test_an_answer_that_nothing_lacks_is_understood(script: str, answering) -> None:
    answering(script)

    runner.check("ultralytics")


@pytest.mark.parametrize("form", ["%s\n", "%s", "\n\n%s\n"])
def test_all_that_is_lacking_is_named(form: str, answering) -> None:
    python = answering(f"printf '{form}' '{LACKING}'")

    with pytest.raises(FrameworkMissing, match=r"ultralytics: ultralytics, torch>=2 not installed in") as told:
        runner.check("ultralytics")
    assert str(python) in str(told.value)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "nothing; its exit code was 0"),
        ("exit 3", "nothing; its exit code was 3"),
        ("echo 'No module named defect_detect' >&2; exit 1", "No module named defect_detect"),
        ("kill -9 $$", "nothing; its exit code was -9"),
        ("kill -11 $$", "nothing; its exit code was -11"),
        ("printf '{\"missing\": ['; kill -9 $$", "nothing; its exit code was -9"),
        (f"echo welcome; echo '{NOTHING}'", "nothing; its exit code was 0"),
        (f"echo '{NOTHING}'; echo bye", "nothing; its exit code was 0"),
        (f"echo '{NOTHING}'; echo '{LACKING}'", "nothing; its exit code was 0"),
        ("echo '[]'", "nothing; its exit code was 0"),
        ("echo null", "nothing; its exit code was 0"),
        ("echo '{}'", "another version"),
    ],
    ids=["nothing", "a failure", "no package", "killed", "crashed", "killed halfway", "noise before", "noise after",
         "two answers", "a list", "null", "no such key"],
)  # fmt: skip
def test_what_is_no_answer_says_so_and_never_passes(script: str, says: str, answering) -> None:
    python = answering(script)

    with pytest.raises(FrameworkMissing) as told:
        runner.check("ultralytics")
    assert str(python) in str(told.value)
    assert says in str(told.value)


def test_an_interpreter_that_cannot_run_is_told(answering, tmp_path: Path) -> None:
    python = answering("exit 0")
    python.write_bytes(b"\x7fELF nothing else")

    with pytest.raises(FrameworkMissing, match="can't be run: Exec format error"):
        runner.check("ultralytics")


def test_one_that_hangs_is_given_up(answering) -> None:
    python = answering('echo $$ > "$(dirname "$0")/pid"; exec sleep 60')

    with pytest.raises(FrameworkMissing, match=r"no answer within 1 s"):
        runner.ask(python, "--check", limit=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((python.parent / "pid").read_text()), signal.SIGCONT)
