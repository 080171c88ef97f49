"""The main job with real frameworks: export in; three trained detectors, a report and a FiftyOne dataset out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHT = [
    "configs/yolo/yolo26n_light.yaml",
    "configs/ssd/ssd_light.yaml",
    "configs/maskrcnn/mask_rcnn_light.yaml",
]


@pytest.mark.framework
@pytest.mark.fiftyone
def test_three_families_are_trained_compared_and_stored(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "line4"
    database = {"FIFTYONE_DATABASE_DIR": str(tmp_path / "mongo"), "FIFTYONE_DATABASE_NAME": "end-to-end"}
    command = [sys.executable, "tools/compare.py", str(export), "--out", str(out), "--detectors", *LIGHT,
               "--set", "epochs=1", "image_size=96", "batch=4", "threads=1", "--resamples", "200"]  # fmt: skip

    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | database, capture_output=True, text=True, check=False, timeout=600
    )

    assert run.returncode == 0, run.stderr
    figures = json.loads((out / "comparison.json").read_text())
    assert {detector["family"] for detector in figures["detectors"]} == {"yolo", "ssd", "mask_rcnn"}
    trained = figures["dataset"]["images"]["train"]
    for detector in figures["detectors"]:
        assert detector["test"]["fn_rate"]["rate"]["of"] == figures["dataset"]["defects"]["test"]
    for name in ("yolo26n_light", "ssd_light", "mask_rcnn_light"):
        manifest = json.loads((out / "runs" / f"{name}-0" / "predictions" / "test" / "manifest.json").read_text())
        assert manifest["images_seen"] == trained
        assert manifest["defect_free_seen"] == figures["dataset"]["defect_free"]["train"]
        assert manifest["initial_weights"] == "none"
    assert "look at the misses" in run.stderr
