"""The audit of a normalized dataset: what to know of it before hours are spent on training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from defect_detect.data import (
    audit_counts,
    audit_inputs,
    audit_labels,
    audit_losses,
    audit_precision,
    coco,
    pixels,
    similar,
)
from defect_detect.data.audit_inputs import Detector
from defect_detect.data.audit_warnings import warnings
from defect_detect.data.audited import Alike, Audit
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset

__all__ = ["Detector", "audit", "loaded", "looking_alike"]

_COMPARED = 1000


def loaded(root: Path) -> list[Dataset]:
    """The splits of a normalized dataset, in the order train, val, test.

    Raises:
        DatasetError: it is not one, or a file of it was damaged.
    """
    return [coco.load(root, split) for split in coco.splits(root)]


def audit(
    splits: Sequence[Dataset], detectors: Sequence[Detector], *, name: str, alike: Sequence[Alike] | None = None
) -> Audit:
    """All figures.

    Args:
        splits: as `loaded`; what asks for train or test is left out where there is none.
        detectors: what is to be trained.
        name: what people call the dataset.
        alike: of `looking_alike`, which reads every picture; None: not looked for.

    Raises:
        DatasetError: there is no split.
    """
    if not splits:
        raise DatasetError(Fault(where=name, expected="a dataset with at least one split", found="none"))
    by_name = {data.split: data for data in splits}
    first = splits[0]
    counts = [audit_counts.of_split(data) for data in splits]
    classes = audit_counts.of_classes(splits)
    shown = [audit_inputs.shown_to(asked, splits) for asked in detectors]
    losses = audit_losses.losses(by_name["train"], detectors) if "train" in by_name else []
    precision = (
        [audit_precision.of_class(by_name["test"], label) for label in range(len(first.categories))]
        if "test" in by_name
        else []
    )
    suspects = audit_labels.suspects(splits)
    return Audit(
        dataset=name,
        fingerprints={data.split: data.fingerprint for data in splits},
        scale=first.scale,
        unit=first.unit,
        regions=first.has_masks,
        splits=counts,
        classes=classes,
        shown=shown,
        losses=losses,
        precision=precision,
        suspects=suspects,
        alike=None if alike is None else list(alike),
        warnings=warnings(
            splits=counts, classes=classes, shown=shown, losses=losses, precision=precision, suspects=suspects,
            alike=alike,
        ),
    )  # fmt: skip


def looking_alike(splits: Sequence[Dataset], *, limit: int = similar.LIMIT) -> list[Alike]:
    """Groups of pictures that look nearly the same (`data.similar`) and lie in several splits. Reads every picture.

    Raises:
        DatasetError: a picture can't be read.
    """
    where = [(data.split, name, data.root / name) for data in splits for name in data.images.file]
    found: dict[int, dict[str, list[str]]] = {}
    for group, (split, name, _) in zip(similar.similar([path for *_, path in where], limit=limit), where, strict=True):
        found.setdefault(int(group), {}).setdefault(split, []).append(name)
    roots = {data.split: data.root for data in splits}
    return [_alike(files, roots) for files in found.values() if len(files) > 1]


def _alike(files: dict[str, list[str]], roots: Mapping[str, Path]) -> Alike:
    """With the nearest two, among the first 1,000 files of each split."""
    hashed = [
        (split, name, np.frombuffer(bytes.fromhex(similar.sketch(pixels.read(roots[split] / name))), np.uint8))
        for split, names in files.items()
        for name in names[:_COMPARED]
    ]
    place = np.array([list(files).index(split) for split, *_ in hashed])
    bits = np.unpackbits(np.stack([code for *_, code in hashed]), axis=1).astype(np.float32)
    differ = bits @ (1 - bits.T) + (1 - bits) @ bits.T
    differ[place[:, None] == place] = np.inf
    first, second = np.unravel_index(int(differ.argmin()), differ.shape)
    (split_a, a, _), (split_b, b, _) = hashed[int(first)], hashed[int(second)]
    return Alike(files=files, nearest={split_a: a, split_b: b}, bits=int(differ[first, second]))
