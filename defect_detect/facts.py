"""What a comparison stands on: the dataset in counts, versions, and what it cost."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect import folder, job
from defect_detect.data import coco
from defect_detect.evaluation.comparison import DatasetFacts


def dataset(root: Path, source: str) -> DatasetFacts:
    """What the comparison is judged on, in counts."""
    data = {split: coco.load(root, split) for split in coco.splits(root)}
    first = next(iter(data.values()))
    return DatasetFacts(
        name=source,
        fingerprints={split: d.fingerprint for split, d in data.items()},
        categories=[category.name for category in first.categories],
        images={split: len(d.images) for split, d in data.items()},
        units={split: len(np.unique(d.images.group)) for split, d in data.items()},
        defective={split: len(np.unique(d.defects.image[d.defects.counts])) for split, d in data.items()},
        defect_free={split: int(d.defect_free.sum()) for split, d in data.items()},
        defects={split: int(d.defects.counts.sum()) for split, d in data.items()},
        masks=all(d.has_masks for d in data.values()),
        quarantined={split: said.quarantined_defects for split, said in coco.describe(root).splits.items()},
        scale=first.scale,
        unit=first.unit,
    )


def versions() -> dict[str, str]:
    """What the judging stands on."""
    names = ("defect-detect", "numpy", "scipy", "pycocotools")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def measurements(out: Path, request: folder.Request) -> dict[str, Any]:
    """Times, memory and sizes of every run, by its name; kept apart from the figures, since they never repeat."""
    costs: dict[str, Any] = {"machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}}
    for name, seeds in request.trained.items():
        for seed in seeds:
            home = folder.run_folder(out, name, seed)
            made = job.decode_result((home / "result.json").read_bytes())
            said = job.decode_result((home / "predictions" / "test" / "result.json").read_bytes())
            if isinstance(made, job.Trained) and isinstance(said, job.Predicted):
                costs[home.name] = {
                    "training_seconds": made.seconds,
                    "training_peak_memory_bytes": made.peak_memory_bytes,
                    "parameters": made.outcome.parameters,
                    "latency_p50_seconds": said.latency_p50,
                    "latency_p95_seconds": said.latency_p95,
                    "prediction_peak_memory_bytes": said.peak_memory_bytes,
                }
    return costs
