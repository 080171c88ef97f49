"""Ids are names: whatever numbers an export gives its images, annotations and classes, the figures are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from defect_detect.data import coco
from defect_detect.data.normalize import normalize
from defect_detect.evaluation.matching import evaluate
from defect_detect.tables import Predictions
from tests import exports

# From the number of an entry, counted from 1, to its id; None: it has none.
IDS: dict[str, Callable[[int], Any]] = {
    "from 0": lambda number: number - 1,
    "negative": lambda number: -number,
    "with gaps": lambda number: number * 1_000_003,
    "beyond doubles": lambda number: 2**53 + number,
    "text": str,
    "floats": float,
    "letters": lambda number: f"id-{number}",
}
ANNOTATIONS_ONLY: dict[str, Callable[[int], Any]] = {"one for all": lambda _: 7, "none": lambda _: None}


def perfect(path: Path) -> tuple[list[tuple[Any, ...]], list[int]]:
    """What the splits hold, but for ids; and how many defects a perfect detector finds in each."""
    held, found = [], []
    for split in ("train", "val", "test"):
        data = coco.load(path, split)
        defects = data.defects
        held += [
            (split, data.images.file[image], data.categories[label].name, *box, area, crowd)
            for image, label, box, area, crowd in zip(
                defects.image.tolist(), defects.label.tolist(), defects.box.tolist(), defects.area.tolist(),
                defects.crowd.tolist(), strict=True,
            )
        ]  # fmt: skip
        told = Predictions(
            image=defects.image, label=defects.label, box=defects.box, score=np.full(len(defects), 0.9), region=None
        )
        found.append(int(np.isfinite(evaluate(data, told).matching.found_at).sum()))
    return held, found


def normalized(content: exports.Content, folder: Path) -> Path:
    exports.pictures(folder / "images")
    (folder / "a.json").write_text(json.dumps(content))
    return normalize(folder / "a.json", images=folder / "images", out=folder / "out").root


@pytest.mark.parametrize("name", [*IDS, *ANNOTATIONS_ONLY])
def test_other_ids_change_nothing(name: str, tmp_path: Path) -> None:
    content = exports.boxes_only()
    usual = perfect(normalized(content, tmp_path / "usual"))
    give = (IDS | ANNOTATIONS_ONLY)[name]
    if name in IDS:
        for one in content["images"]:
            one["id"] = give(one["id"])
        for one in content["annotations"]:
            one["image_id"] = give(one["image_id"])
    for one in content["annotations"]:
        one["id"] = give(one["id"])
        if one["id"] is None:
            del one["id"]

    other = perfect(normalized(content, tmp_path / "other"))

    assert other == usual
    assert sum(usual[1]) == len(content["annotations"])
