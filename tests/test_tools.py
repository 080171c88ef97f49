"""The tools as people run them: real processes, real files, exit codes and sentences."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from defect_detect import options
from defect_detect.errors import ConfigError, RunFailed

ROOT = Path(__file__).parents[1]
CLASSICAL = "configs/baseline/classical.yaml"
FAST = ["--no-fiftyone", "--resamples", "200"]


def tool(name: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=300)


def refused(run: subprocess.CompletedProcess[str]) -> str:
    """What a tool said to a user's mistake: exit code 2, sentences, no traceback."""
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.fixture(scope="module")
def comparison(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of two settings of the baseline, made from a raw export."""
    folder = tmp_path_factory.mktemp("comparison")
    other = folder / "blunt.yaml"
    other.write_text((ROOT / CLASSICAL).read_text().replace("epochs: 12", "epochs: 1"))
    run = tool("compare", export, "--out", folder / "out", "--detectors", CLASSICAL, other, *FAST)
    assert run.returncode == 0, run.stderr
    return folder / "out"


@pytest.mark.parametrize("path", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_every_tool_explains_itself(path: Path) -> None:
    run = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=True)

    assert "usage:" in run.stdout


def test_a_comparison_leaves_every_report(comparison: Path) -> None:
    for name in ("comparison.json", "comparison.md", "report.html", "ledger.csv", "measurements.json", "command.log"):
        assert (comparison / name).stat().st_size > 0, name
    assert not list(comparison.rglob("*.part"))


def test_the_ledger_agrees_with_the_figures(comparison: Path) -> None:
    figures = json.loads((comparison / "comparison.json").read_text())
    with (comparison / "ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    for detector in figures["detectors"]:
        mine = [row for row in rows if row["detector"] == detector["name"]]
        rate = detector["test"]["fn_rate"]["rate"]
        assert len(mine) == rate["of"] == figures["dataset"]["defects"]["test"]
        assert sum(row["found"] in ("0", "False", "false", "no") for row in mine) == rate["count"]


def test_a_rerun_trains_nothing_and_says_the_same(comparison: Path, export: Path) -> None:
    before = (comparison / "comparison.json").read_bytes()
    trained = {path: path.stat().st_mtime_ns for path in comparison.glob("runs/*/result.json")}
    other = comparison.parent / "blunt.yaml"

    run = tool("compare", export, "--out", comparison, "--detectors", CLASSICAL, other, *FAST)

    assert run.returncode == 0, run.stderr
    assert "trained before, kept" in run.stderr
    assert (comparison / "comparison.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in comparison.glob("runs/*/result.json")} == trained


def test_stored_predictions_judge_the_same_elsewhere(comparison: Path, tmp_path: Path) -> None:
    home = comparison / "runs" / "classical-0" / "predictions"
    given = [f"classical:{split}={home / split / 'predictions.json'}" for split in ("val", "test")]

    run = tool("evaluate", comparison / "dataset", "--out", tmp_path / "again", "--predictions", *given, *FAST)

    assert run.returncode == 0, run.stderr
    first = json.loads((comparison / "comparison.json").read_text())["detectors"]
    again = json.loads((tmp_path / "again" / "comparison.json").read_text())["detectors"][0]
    same = next(detector for detector in first if detector["name"] == "classical")
    assert again["test"]["fn_rate"]["rate"] == same["test"]["fn_rate"]["rate"]
    assert again["operating_point"]["thresholds"] == same["operating_point"]["thresholds"]


def test_train_then_predict(tiny: Path, tmp_path: Path) -> None:
    trained = tool("train", tiny, CLASSICAL, "--set", "epochs=2", "--out", tmp_path / "mine")
    assert trained.returncode == 0, trained.stderr

    run = tool("predict", tiny, tmp_path / "mine" / "runs" / "classical-0", "--split", "train")

    assert run.returncode == 0, run.stderr
    assert json.loads(Path(run.stdout.strip()).read_text())


def test_only_a_fixed_score_can_be_judged_without_validation(comparison: Path, tmp_path: Path) -> None:
    given = f"a={comparison / 'runs/classical-0/predictions/test/predictions.json'}"
    data = comparison / "dataset"

    assert "score=" in refused(tool("evaluate", data, "--out", tmp_path / "a", "--predictions", given, *FAST))
    fixed = tool("evaluate", data, "--out", tmp_path / "b", "--predictions", given, "--policy", "score=0.5", *FAST)
    assert fixed.returncode == 0, fixed.stderr


def test_a_setting_can_be_meant_for_one_detector(export: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text((ROOT / CLASSICAL).read_text())

    run = tool("compare", export, "--out", tmp_path / "out", "--detectors", CLASSICAL, other,
               "--set", "epochs=2", "other.epochs=1", *FAST)  # fmt: skip

    assert run.returncode == 0, run.stderr
    epochs = {n: json.loads((tmp_path / f"out/runs/{n}-0/job.json").read_text())["settings"]["epochs"]
              for n in ("classical", "other")}  # fmt: skip
    assert epochs == {"classical": 2, "other": 1}


def test_a_silent_detector_misses_everything(comparison: Path, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    given = [f"silent:{split}={tmp_path / 'none.json'}" for split in ("val", "test")]

    run = tool("evaluate", comparison / "dataset", "--out", tmp_path / "out", "--predictions", *given, *FAST)

    assert run.returncode == 0, run.stderr
    detector = json.loads((tmp_path / "out" / "comparison.json").read_text())["detectors"][0]
    rate = detector["test"]["fn_rate"]["rate"]
    assert rate["count"] == rate["of"] > 0
    assert detector["froc"]["lamr"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.json"], "nowhere.json"),
        (["{export}", "--detectors", "configs/yolo/yolo62n.yaml"], "yolo62n"),
        (["{export}", "--detectors", CLASSICAL, "--set", "epoch=3"], "Did you mean 'epochs'?"),
        (["{export}", "--detectors", CLASSICAL, "--policy", "fppi=0.1"], "fppi=0.1"),
        (["{export}", "--detectors", CLASSICAL, CLASSICAL], "twice"),
        (["{export}", "--predictions", "vendor:val=missing.json"], "missing.json"),
        (["{export}", "--predictions", "vendor:dev={export}"], "NAME:val=FILE"),
        (["{export}", "--detectors", CLASSICAL, "--severity", "crack"], "KEY=VALUE"),
        (["{export}", "--detectors", CLASSICAL, "--accept-below", "crack=small"], "above 0"),
    ],
)
def test_a_users_mistake_is_a_sentence(export: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    filled = [argument.format(export=export) for argument in arguments]

    assert says in refused(tool("compare", *filled, "--out", tmp_path / "out", *FAST))


def edited(export: Path, folder: Path, change: str) -> Path:
    """The export as ready splits with one thing wrong."""
    content = json.loads(export.read_text())
    thirds = {name: content["images"][k::3] for k, name in enumerate(("train", "val", "test"))}
    shutil.copytree(export.parent / "images", folder / "images")
    for name, third in thirds.items():
        images = third
        ids = {image["id"] for image in images}
        annotations = [a for a in content["annotations"] if a["image_id"] in ids]
        if name == "val" and change == "no defects":
            annotations = []
        if name == "test" and change == "empty split":
            images, annotations = [], []
        (folder / f"{name}.json").write_text(json.dumps({**content, "images": images, "annotations": annotations}))
    if change == "missing pictures":
        for path in (folder / "images").iterdir():
            path.unlink()
    return folder


@pytest.mark.parametrize(
    ("change", "says"), [("no defects", "val"), ("empty split", "test"), ("missing pictures", "image")]
)
def test_a_dataset_nothing_can_be_measured_on_is_refused_before_training(
    export: Path, tmp_path: Path, change: str, says: str
) -> None:
    data = edited(export, tmp_path / "data", change)

    said = refused(tool("compare", data, "--out", tmp_path / "out", "--detectors", CLASSICAL, *FAST))

    assert says in said
    assert not (tmp_path / "out" / "runs").exists()


def test_predictions_on_other_images_are_refused(comparison: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(
        json.dumps([{"file_name": "elsewhere.png", "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}])
    )

    given = f"a={tmp_path / 'other.json'}"
    said = refused(
        tool(
            "evaluate",
            comparison / "dataset",
            "--out",
            tmp_path,
            "--predictions",
            given,
            "--policy",
            "score=0.5",
            *FAST,
        )
    )

    assert "elsewhere.png" in said


def test_one_failure_keeps_what_the_others_finished(comparison: Path, export: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(comparison, out, symlinks=True)
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        (ROOT / CLASSICAL).read_text()
        + "weights: somewhere.pt\n".replace("weights", "learning_rate").replace("somewhere.pt", "0.1")
    )

    run = tool("compare", export, "--out", out, "--detectors", CLASSICAL, broken, *FAST)

    assert "broken-0 failed" in refused(run)
    assert [d["name"] for d in json.loads((out / "comparison.json").read_text())["detectors"]] == ["classical"]


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (PermissionError(13, "Permission denied", "/locked"), 2, "no permission for /locked"),
        (OSError(28, "No space left on device", "/full"), 1, "No space left on device: /full"),
        (RunFailed("it broke"), 1, "failed: it broke"),
        (ConfigError("wrong"), 2, "error: wrong"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
)
def test_every_end_has_its_code_and_sentence(
    raised: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise raised

    assert options.ended(action) == code
    assert says in capsys.readouterr().err


def test_ctrl_c_ends_in_order_and_the_same_command_goes_on(export: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text((ROOT / CLASSICAL).read_text().replace("options:", "options:\n  sleep: 0.3"))
    command = [sys.executable, "tools/compare.py", str(export), "--out", str(tmp_path / "out"),
               "--detectors", CLASSICAL, str(slow), *FAST]  # fmt: skip
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    job = tmp_path / "out" / "runs" / "slow-0" / "job.json"
    deadline = time.monotonic() + 60
    while not job.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[1]

    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert (tmp_path / "out" / "runs" / "classical-0" / "result.json").exists()
    assert not (tmp_path / "out" / "runs" / "slow-0" / "result.json").exists()


def test_predict_takes_the_dataset_that_was_trained_on_and_no_other(
    comparison: Path, export: Path, tmp_path: Path
) -> None:
    run = comparison / "runs" / "classical-0"
    other = tmp_path / "other.json"
    shutil.copy(export, other)

    assert "tools/normalize.py" in refused(tool("predict", other, run))
    known = tool("predict", export, run, "--split", "val")
    assert known.returncode == 0, known.stderr
