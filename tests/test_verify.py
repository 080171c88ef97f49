"""A finished comparison proves itself, and whatever is changed in it afterwards shows."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from defect_detect import comparing, folder, logged, sealing
from defect_detect.errors import InputError
from defect_detect.verifying import Verified, verify

ROOT = Path(__file__).parents[1]
CLASSICAL = ROOT / "configs" / "baseline" / "classical.yaml"


@pytest.fixture(scope="module")
def finished(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of a training and of predictions from elsewhere."""
    out = tmp_path_factory.mktemp("verified") / "out"
    settings = ["epochs=1", "image_size=64"]
    source = comparing.Source(path=export)
    judging = comparing.Judging(resamples=50)
    assert comparing.run(source, out, detectors=[CLASSICAL], settings=settings, judging=judging, fiftyone=False) == 0
    said = out / "runs" / "classical-0" / "predictions"
    given = [f"vendor:{split}={said / split / 'predictions.json'}" for split in ("val", "test")]
    code = comparing.run(
        source, out, detectors=[CLASSICAL], settings=settings, given=given, judging=judging, fiftyone=False,
        operator="A. Inspector",
    )  # fmt: skip
    assert code == 0
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out", symlinks=True))


def kinds(told: Verified) -> set[str]:
    return {f"{one.kind} {one.where}" for one in told.findings}


def test_an_untouched_comparison_is_as_it_was_wherever_it_lies(finished: Path, copy: Path) -> None:
    told = verify(copy)

    assert told.findings == verify(finished).findings == []
    assert told.pictures == 40
    assert told.files > 20
    assert told.figures > 500


def replaced(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def first_picture(out: Path) -> Path:
    return min((out / "dataset" / "images").rglob("*.png"))


def figure(out: Path) -> None:
    content = json.loads((out / "comparison.json").read_bytes())
    content["detectors"][0]["test"]["fn_rate"]["rate"]["count"] += 1
    (out / "comparison.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def one_annotation_less(out: Path) -> None:
    path = out / "dataset" / "test.json"
    content = json.loads(path.read_bytes())
    content["annotations"].pop()
    path.write_text(json.dumps(content))


def one_prediction_less(out: Path) -> None:
    path = out / "runs/classical-0/predictions/test/predictions.json"
    path.write_text(json.dumps(json.loads(path.read_bytes())[1:]))


def reseal(out: Path) -> None:
    """What a forger would do who forgets the log."""
    request, _ = folder.read(out)
    figure(out)
    sealing.seal(out, request)


RUN = "runs/classical-0"
TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a picture changed": (lambda out: first_picture(out).write_bytes(b"x"), "changed dataset/images/"),
    "a picture removed": (lambda out: first_picture(out).unlink(), "missing dataset/images/"),
    "an annotation removed": (one_annotation_less, "changed dataset/test.json"),
    "the dataset's fingerprint changed": (
        lambda out: replaced(out / "dataset/val.json", b'"fingerprint": "', b'"fingerprint": "0'),
        "changed dataset/val.json",
    ),
    "a checkpoint changed": (
        lambda out: (out / RUN / "checkpoint.json").write_text("{}"), f"changed {RUN}/checkpoint.json",
    ),
    "a checkpoint removed": (lambda out: (out / RUN / "checkpoint.json").unlink(), f"missing {RUN}/checkpoint.json"),
    "a prediction removed": (one_prediction_less, f"changed {RUN}/predictions/test/predictions.json"),
    "a manifest edited": (
        lambda out: replaced(out / RUN / "predictions/test/manifest.json", b'"seed": 0', b'"seed": 7'),
        f"changed {RUN}/predictions/test/manifest.json",
    ),
    "a manifest removed": (
        lambda out: (out / RUN / "predictions/test/manifest.json").unlink(),
        f"missing {RUN}/predictions/test/manifest.json",
    ),
    "a setting edited": (
        lambda out: replaced(out / RUN / "job.json", b'"epochs": 1', b'"epochs": 9'), f"changed {RUN}/job.json",
    ),
    "a result cut short": (lambda out: os.truncate(out / RUN / "result.json", 40), f"changed {RUN}"),
    "a prediction's result emptied": (
        lambda out: os.truncate(out / RUN / "predictions/val/result.json", 0), f"changed {RUN}/predictions/val",
    ),
    "predictions from elsewhere changed": (
        lambda out: (out / "predictions/vendor/test/predictions.json").write_text("[]"),
        "changed predictions/vendor/test/predictions.json",
    ),
    "a figure edited": (figure, "figure comparison.json /detectors/0/test/fn_rate/rate/count"),
    "a figure edited, and sealed again": (reseal, "log seal.json"),
    "the seed of resampling edited": (
        lambda out: replaced(out / "request.json", b'"seed": 0', b'"seed": 4'),
        "figure comparison.json",
    ),
    "a row of the ledger removed": (
        lambda out: (out / "ledger.csv").write_text("\n".join((out / "ledger.csv").read_text().splitlines()[:-1])),
        "figure ledger.csv",
    ),
    "the report edited": (
        lambda out: replaced(out / "report.html", b"</html>", b"<p>all is well</p></html>"), "figure report.html",
    ),
    "the seal removed": (lambda out: (out / "seal.json").unlink(), "unsealed seal.json"),
    "the seal damaged": (lambda out: (out / "seal.json").write_text('{"schema": 1'), "changed seal.json"),
    "a line of the log changed": (
        lambda out: replaced(out / "command.log", b"A. Inspector", b"Somebody"), "log command.log",
    ),
    "a line of the log removed": (
        lambda out: (out / "command.log").write_bytes(
            b"".join((out / "command.log").read_bytes().splitlines(keepends=True)[1:])
        ),
        "log command.log",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_is_changed_shows(name: str, copy: Path) -> None:
    change, expected = TAMPERED[name]
    change(copy)

    found = kinds(verify(copy))

    assert any(one.startswith(expected) for one in found), found


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "verify.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_tool_says_it_in_sentences_and_as_json(copy: Path, tmp_path: Path) -> None:
    assert tool(copy).returncode == 0
    figure(copy)

    said, as_json = tool(copy), tool(copy, "--json")

    assert said.returncode == as_json.returncode == 3
    assert "fn_rate/rate/count: expected" in said.stdout
    assert msgspec.json.decode(as_json.stdout.encode(), type=Verified).findings
    nothing = tool(tmp_path)
    assert nothing.returncode == 2
    assert "finished comparison" in nothing.stderr


def test_figures_of_another_request_are_refused(copy: Path) -> None:
    replaced(copy / "request.json", b"fppi<=0.1", b"fppi<=0.5")

    with pytest.raises(InputError, match=r"fppi<=0\.5"):
        verify(copy)


def test_a_comparison_that_is_being_written_is_not_verified(copy: Path) -> None:
    from defect_detect import holding

    with holding.hold(copy), pytest.raises(InputError, match="nobody writes to"):
        verify(copy)


def test_verification_writes_nothing(copy: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in copy.rglob("*")}

    before = state()
    verify(copy)

    assert state() == before


def test_the_log_names_who_asked_for_what(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "command.log").read_text().splitlines()]
    asked = [line for line in lines if "command" in line]

    assert [line["operator"] for line in asked] == [None, "A. Inspector"]
    assert all(line["versions"]["numpy"] and line["time"] and line["by"] for line in asked)
    assert [line["ended"]["code"] for line in lines if "ended" in line] == [0, 0]
    assert logged.last_seal(finished) == sealing.of(finished)


def test_a_log_line_that_a_full_disk_cut_short_is_told_and_not_continued(tmp_path: Path) -> None:
    logged.append(tmp_path, {"time": "1"})
    with (tmp_path / logged.NAME).open("ab") as file:
        file.write(b'{"time": "2", "comm')
    logged.append(tmp_path, {"time": "3"})

    assert [fault.partition(" is")[0] for fault in logged.faults(tmp_path)] == ["line 2"]
    assert json.loads((tmp_path / logged.NAME).read_bytes().splitlines()[-1])["time"] == "3"
