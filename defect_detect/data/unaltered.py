"""Whether a normalized dataset still is what was written: an edit by hand would change figures without a word."""

from __future__ import annotations

from pathlib import Path

import msgspec

from defect_detect.data import coco
from defect_detect.data.fingerprint import fingerprint
from defect_detect.data.splitfile import not_ours
from defect_detect.errors import DatasetError, Fault


class _Picture(msgspec.Struct, frozen=True, gc=False):
    sha256: str


class _Pictures(msgspec.Struct, frozen=True, gc=False):
    images: list[_Picture]


def check(root: Path) -> None:
    """Hold every split against its fingerprint and against dataset.json. Pictures are not read.

    Raises:
        DatasetError: something was changed, or a split is damaged; every split that is.
    """
    content = coco.describe(root)
    faults: list[Fault | str] = []
    for split, said in content.splits.items():
        path = root / f"{split}.json"
        try:
            data = coco.load(root, split)
            listed = msgspec.json.decode(path.read_bytes(), type=_Pictures)
        except DatasetError as error:
            faults += error.faults
            continue
        found = fingerprint(data, [image.sha256 for image in listed.images])
        if found != data.fingerprint or found != said.fingerprint:
            faults.append(not_ours(path, f"a changed one: its content is {found[:12]}, it was {said.fingerprint[:12]}"))
        elif (len(data.images), len(data.defects)) != (said.images, said.defects):
            faults.append(not_ours(path, "other counts than dataset.json has"))
        elif [category.name for category in data.categories] != content.categories:
            faults.append(not_ours(path, "other classes than dataset.json has"))
    if faults:
        raise DatasetError(*faults)
