"""The same seed, data and machine give the same bytes: figures always, trainings where `deterministic` is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from defect_detect import job

ROOT = Path(__file__).parents[1]
MODELS = ["configs/ssd/ssd_light.yaml", "configs/maskrcnn/mask_rcnn_light.yaml", "configs/yolo/yolo26n_light.yaml"]


def compared(out: Path, *words: str, **environment: str) -> Path:
    command = [sys.executable, str(ROOT / "tools" / words[0]), *words[1:], "--no-fiftyone", "--resamples", "100",
               "--out", str(out)]  # fmt: skip
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return out


def test_training_and_judging_twice_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    words = (
        "compare.py",
        str(tiny),
        "--detectors",
        "configs/baseline/classical.yaml",
        "--set",
        "epochs=2",
        "--seeds",
        "2",
    )

    one = compared(tmp_path / "one", *words, PYTHONHASHSEED="1")
    two = compared(tmp_path / "two", *words, "--jobs", "2", PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C")

    of_a_run = ("checkpoint.json", "predictions/val/predictions.json", "predictions/test/predictions.json")
    names = [f"runs/classical-{seed}/{file}" for seed in (0, 1) for file in of_a_run]
    names += ["comparison.json", "ledger.csv"]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_judging_the_same_predictions_elsewhere_gives_the_same_figures(tiny: Path, tmp_path: Path) -> None:
    trained = compared(tmp_path / "trained", "compare.py", str(tiny), "--detectors", "configs/baseline/classical.yaml",
                       "--set", "epochs=1")  # fmt: skip
    said = trained / "runs" / "classical-0" / "predictions"
    given = [f"a:{split}={said / split / 'predictions.json'}" for split in ("val", "test")]

    one = compared(tmp_path / "one", "evaluate.py", str(tiny), "--predictions", *given, OMP_NUM_THREADS="1")
    two = compared(tmp_path / "two", "evaluate.py", str(tiny), "--predictions", *given, OMP_NUM_THREADS="2")
    pure = compared(tmp_path / "pure", "evaluate.py", str(tiny), "--predictions", *given, DEFECT_DETECT_PURE="1")

    expected = (one / "comparison.json").read_bytes()
    assert (two / "comparison.json").read_bytes() == expected
    assert (pure / "comparison.json").read_bytes() == expected


@pytest.mark.framework
@pytest.mark.parametrize("config", MODELS, ids=lambda config: Path(config).stem)
def test_a_backend_that_says_so_trains_to_the_same_bytes(config: str, tiny: Path, tmp_path: Path) -> None:
    words = (
        "compare.py",
        str(tiny),
        "--detectors",
        config,
        "--set",
        "epochs=1",
        "image_size=64",
        "batch=4",
        "threads=1",
    )
    name = Path(config).stem

    one, two = (compared(tmp_path / folder, *words) for folder in ("one", "two"))

    result = job.decode_result((one / "runs" / f"{name}-0" / "result.json").read_bytes())
    assert isinstance(result, job.Trained)
    assert result.outcome.deterministic, "it doesn't say so: docs/reliability.md must tell why"
    assert (one / "comparison.json").read_bytes() == (two / "comparison.json").read_bytes()
