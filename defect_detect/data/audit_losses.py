"""What each framework's own loader drops of the train split, and whether it is dropped here too.

The rules stand in the frameworks' files, read at ultralytics 8.4, torchvision's references/detection, detectron2 0.6
and mmdet 2 and 3 (the same rules). `tests/test_audit.py` holds ultralytics' against the installed package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from defect_detect.data import audit_counts, audit_inputs
from defect_detect.data.audit_inputs import Detector
from defect_detect.data.audited import Loss
from defect_detect.tables import Bools, Dataset, Ints

KEPT, LOST = "kept", "lost"
_CROWD_NOTE = "what they cover counts as background"
_MMDET_LEAST = 32
_ULTRALYTICS_LEAST = 10
_LEAST_SIDE = 2.0
_MOST_RATIO = 100.0
_ZOOM = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One rule of a loader and the rows of images, or of defects that count, that it drops."""

    text: str
    source: str
    images: Bools | None = None
    defects: Bools | None = None
    here: str
    note: str = ""


def losses(train: Dataset, detectors: Sequence[Detector]) -> list[Loss]:
    """Every rule of every loader, also those that drop nothing.

    What depends on the image size is counted for each detector of ultralytics among `detectors`, at 640 px if none is.
    """
    yolos = [asked for asked in detectors if asked.framework == "ultralytics"]
    found = []
    for framework, rules in (
        ("torchvision", _torchvision(train)),
        ("detectron2", _detectron2(train)),
        ("mmdet", _mmdet(train)),
        ("ultralytics", _ultralytics(train)),
    ):
        found += [_loss(framework, "", rule, train) for rule in rules]
    for asked in yolos or [Detector(name="YOLO at 640 px", framework="ultralytics", model="yolo", image_size=640)]:
        found += [_loss("ultralytics", asked.name, rule, train) for rule in _box_candidates(train, asked)]
    return found


def _torchvision(train: Dataset) -> list[_Rule]:
    source = "references/detection/coco_utils.py"
    only_thin = _all_in_image(train, audit_counts.sides(train).min(axis=1, initial=np.inf) <= 1)
    return [
        _Rule(text="images without annotations", source=source, images=train.defect_free, here=KEPT),
        _Rule(text="images all of whose boxes are at most 1 px wide or high", source=source, images=only_thin,
              here=KEPT),
        _Rule(text="crowds", source=source, defects=train.defects.crowd, here=LOST, note=_CROWD_NOTE),
    ]  # fmt: skip


def _detectron2(train: Dataset) -> list[_Rule]:
    crowd = train.defects.crowd
    refused = np.full(len(train.images), bool(train.defects.ignore.any()))
    return [
        _Rule(text="images without annotations, or with crowds only", source="DATALOADER.FILTER_EMPTY_ANNOTATIONS",
              images=train.defect_free | _all_in_image(train, crowd), here=KEPT),
        _Rule(text="crowds", source="detectron2/data/dataset_mapper.py", defects=crowd, here=LOST,
              note="what they cover is not learned from as background either"),
        _Rule(text="every image of a file with an annotation marked ignore: it is refused",
              source="detectron2/data/datasets/coco.py", images=refused, here=KEPT),
    ]  # fmt: skip


def _mmdet(train: Dataset) -> list[_Rule]:
    filter_cfg = "filter_cfg of configs/_base_/datasets/coco_detection.py"
    source = "mmdet/datasets/coco.py"
    small = _short(train) < _MMDET_LEAST
    side = audit_counts.sides(train)
    counts = train.defects.counts
    return [
        _Rule(text="images without annotations", source=filter_cfg, images=train.defect_free, here=KEPT),
        _Rule(text=f"images under {_MMDET_LEAST} px wide or high", source=filter_cfg, images=small, here=KEPT),
        _Rule(text="boxes under 1 px wide or high, or of no area", source=source,
              defects=counts & ((side < 1).any(axis=1) | (train.defects.area <= 0)), here=KEPT),
    ]  # fmt: skip


def _ultralytics(train: Dataset) -> list[_Rule]:
    source = "ultralytics/data/utils.py"
    small = _short(train) < _ULTRALYTICS_LEAST
    defects = train.defects
    rows = np.column_stack([defects.image, defects.label, defects.box])
    _, first = np.unique(rows, axis=0, return_index=True)
    again = defects.counts.copy()
    again[first] = False
    stems = [str(PurePosixPath(name).with_suffix("")) for name in train.images.file]
    _, place, times = np.unique(np.array(stems, np.str_), return_inverse=True, return_counts=True)
    return [
        _Rule(text=f"images under {_ULTRALYTICS_LEAST} px wide or high", source=source, images=small, here=KEPT),
        _Rule(text="images that share a label file with another, as a.jpg and a.png do", source=source,
              images=times[place] > 1, here=KEPT),
        _Rule(text="boxes given twice with the same class", source=source, defects=again, here=KEPT),
    ]  # fmt: skip


def _box_candidates(train: Dataset, asked: Detector) -> list[_Rule]:
    """`RandomPerspective.box_candidates`, which mosaics and single pictures go through alike in training."""
    source = "ultralytics/data/augment.py"
    side = audit_inputs.box_sides(train, audit_inputs.of(asked))
    counts, short = train.defects.counts, side.min(axis=1, initial=np.inf)
    zoom = _smallest_zoom(asked.options.get("scale", _ZOOM))
    thin = counts & (side.max(axis=1, initial=0) >= _MOST_RATIO * short)
    always = counts & (short <= _LEAST_SIDE) & ~thin
    at_times = counts & ~thin & ~always & (short * zoom <= _LEAST_SIDE)
    larger = "a larger image_size keeps them"
    return [
        _Rule(text=f"boxes of at most {_LEAST_SIDE:g} px at the network's input, unless a zoom enlarges them",
              source=source, defects=always, here=LOST, note=larger),
        _Rule(text=f"boxes of at most {_LEAST_SIDE / zoom:g} px at the network's input, where a zoom shrinks them",
              source=source, defects=at_times, here=LOST, note=f"{larger}; so does options.scale: 0"),
        _Rule(text=f"boxes at least {_MOST_RATIO:g} times as long as wide", source=source, defects=thin, here=LOST,
              note="tiling keeps them"),
    ]  # fmt: skip


def _smallest_zoom(scale: Any) -> float:
    """The least factor of ultralytics' random zoom: `scale` is its reach about 1, or its two ends."""
    least = scale[0] if isinstance(scale, list | tuple) and scale else scale
    if not isinstance(least, int | float):
        return 1 - _ZOOM
    return float(np.clip(least if least is not scale else 1 - least, 1e-3, 1.0))


def _short(data: Dataset) -> Ints:
    """(N,) px of each picture's shorter side."""
    found: Ints = data.images.size.min(axis=1, initial=np.iinfo(np.int64).max)
    return found


def _all_in_image(data: Dataset, which: Bools) -> Bools:
    """(N,) images that have annotations, all of which are among `which` (G,)."""
    count = len(data.images)
    every = np.bincount(data.defects.image, minlength=count)
    some = np.bincount(data.defects.image[which], minlength=count)
    found: Bools = (every > 0) & (some == every)
    return found


def _loss(framework: str, detector: str, rule: _Rule, train: Dataset) -> Loss:
    rows = rule.images if rule.images is not None else rule.defects
    of = len(train.images) if rule.images is not None else len(train.defects)
    return Loss(
        framework=framework, detector=detector, rule=rule.text, source=rule.source,
        unit="images" if rule.images is not None else "annotations", of=of,
        count=0 if rows is None else int(rows.sum()), here=rule.here, note=rule.note,
    )  # fmt: skip
