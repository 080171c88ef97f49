"""The sound things that rows spoil, made once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from defect_detect import comparing
from defect_detect.data import coco, demo, predictions
from defect_detect.data.normalize import normalize
from defect_detect.tables import Dataset, Predictions
from tests.bad_inputs.cases import Sound

CONFIG = Path(__file__).parents[2] / "configs" / "baseline" / "classical.yaml"


def whole(home: Path) -> Sound:
    """An export, what became of it, predictions about it, and a comparison of two detectors."""
    export = demo.generate(home / "export", images=30, size=64, seed=3)
    root = normalize(export, images=None, out=home / "dataset").root
    said = {}
    for split in ("val", "test"):
        truth = coco.load(root, split)
        said[split] = home / "said" / f"{split}.json"
        said[split].parent.mkdir(exist_ok=True)
        predictions.write(said[split], _said(truth), truth)
    comparing.run(
        comparing.Source(path=root), home / "comparison", detectors=[CONFIG], settings=["epochs=1", "threads=1"],
        given=[f"vendor:{split}={path}" for split, path in said.items()], judging=comparing.Judging(resamples=20),
        fiftyone=False, console=Console(file=io.StringIO()),
    )  # fmt: skip
    return Sound(export=export, dataset=root, said=said, comparison=home / "comparison")


def _said(truth: Dataset) -> Predictions:
    """Every second defect, with rising scores."""
    rows = np.arange(0, len(truth.defects), 2)
    return Predictions(
        image=truth.defects.image[rows], label=truth.defects.label[rows], box=truth.defects.box[rows],
        score=np.linspace(0.3, 0.9, len(rows)),
    )  # fmt: skip
