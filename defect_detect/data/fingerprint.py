"""The hash that names a split: equal where everything that judges a detector is equal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from defect_detect.data.regions import to_coco
from defect_detect.tables import Dataset


def fingerprint(dataset: Dataset, sha256: Sequence[str]) -> str:
    """SHA-256 in hex over pictures (`sha256` of each), sizes, groups, defects and class names.

    Ids, attributes, severities and the scale are left out: they change no prediction and no match.
    """
    digest = hashlib.sha256(msgspec.json.encode([category.name for category in dataset.categories]))
    images, defects = dataset.images, dataset.defects
    of_image: list[list[bytes]] = [[] for _ in images.file]
    for row, image in enumerate(defects.image.tolist()):
        of_image[image].append(msgspec.json.encode(_defect(dataset, row)))
    for row in sorted(range(len(images)), key=images.file.__getitem__):
        head = (images.file[row], sha256[row], *images.size[row].tolist(), str(images.group[row]))
        digest.update(b"\nimage " + msgspec.json.encode(head))
        for content in sorted(of_image[row]):
            digest.update(b"\n" + content)
    return digest.hexdigest()


def _defect(dataset: Dataset, row: int) -> list[Any]:
    defects = dataset.defects
    x0, y0, x1, y1 = defects.box[row].tolist()
    return [
        int(defects.label[row]),
        # Width and height, not corners: that is what the file holds, so a reload hashes the same.
        [x0, y0, x1 - x0, y1 - y0],
        float(defects.area[row]),
        bool(defects.crowd[row]),
        bool(defects.ignore[row]),
        to_coco(defects.region[row]) if defects.region is not None else None,
    ]
