"""The hash that names a split: equal where everything that judges a detector is equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from defect_detect.data.regions import to_coco
from defect_detect.tables import Dataset


def fingerprint(dataset: Dataset, sha256: Sequence[str]) -> str:
    """SHA-256 in hex over pictures (`sha256` of each), sizes, groups, defects and class names.

    Ids, attributes, severities and the scale are left out: they change no prediction and no match.
    """
    digest = hashlib.sha256(msgspec.json.encode([category.name for category in dataset.categories]))
    images, defects = dataset.images, dataset.defects
    of_image: list[list[bytes]] = [[] for _ in images.file]
    for image, defect in zip(defects.image.tolist(), _defects(dataset), strict=True):
        of_image[image].append(msgspec.json.encode(defect))
    size, group = images.size.tolist(), images.group.tolist()
    for row in sorted(range(len(images)), key=images.file.__getitem__):
        head = (images.file[row], sha256[row], *size[row], str(group[row]))
        digest.update(b"\nimage " + msgspec.json.encode(head))
        for content in sorted(of_image[row]):
            digest.update(b"\n" + content)
    return digest.hexdigest()


def _defects(dataset: Dataset) -> Iterator[tuple[Any, ...]]:
    defects = dataset.defects
    # Width and height, not corners: that is what the file holds, so a reload hashes the same.
    xywh = np.concatenate([defects.box[:, :2], defects.box[:, 2:] - defects.box[:, :2]], axis=1)
    regions: Iterable[Any] = [None] * len(defects) if defects.region is None else map(to_coco, defects.region)
    return zip(
        defects.label.tolist(), xywh.tolist(), defects.area.tolist(), defects.crowd.tolist(), defects.ignore.tolist(),
        regions, strict=True,
    )  # fmt: skip
