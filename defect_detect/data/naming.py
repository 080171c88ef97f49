"""Which image and which class a foreign prediction means: decided once for a whole file, never guessed.

A normalized dataset numbers its images and classes anew, so that the id 7 may be one image to us and
another to the file's author. Whoever speaks one numbering of images speaks the same one of classes:
the two are decided together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from defect_detect.data.coco import PICTURES
from defect_detect.data.identity import Key, key
from defect_detect.errors import Fault, PredictionsError, did_you_mean
from defect_detect.tables import Dataset

Space = Literal["normalized", "source"]
_SPACES: tuple[Space, Space] = ("normalized", "source")
_SHOWN = 8
_ELSEWHERE = "Is it about another split or dataset?"


class Names:
    """What images and classes of a split are called: by file, by name, by either numbering."""

    def __init__(self, dataset: Dataset) -> None:
        self.split = dataset.split
        self.dataset = dataset
        self.category = {category.name: row for row, category in enumerate(dataset.categories)}
        self.labels: Mapping[Space, Mapping[Key | None, int]] = {
            "normalized": {category.id: row for row, category in enumerate(dataset.categories)},
            "source": {key(category.source_id): row for row, category in enumerate(dataset.categories)},
        }

    @functools.cached_property
    def images(self) -> Mapping[Space, Mapping[Key | None, int]]:
        """Rows of images by id, in either numbering."""
        images = self.dataset.images
        return {
            "normalized": {id_: row for row, id_ in enumerate(images.id.tolist())},
            "source": dict(zip(_keys(images.source_id), range(len(images)), strict=True)),
        }

    @functools.cached_property
    def file(self) -> dict[str, int]:
        """Rows by every name that means one image only; few files of predictions need them."""
        return _files(self.dataset)

    def image(self, entry: Mapping[str, Any], space: Space) -> int | Fault:
        """The row of the image that the prediction is about."""
        name = entry.get("file_name")
        if name is None:
            return self._by_id(entry, "image_id", self.images[space])
        row = self.file.get(_plain(str(name)))
        if row is None:
            return Fault(where="", expected=f"a file of the {self.split} split", found=repr(name), fix=_ELSEWHERE)
        return row

    def label(self, entry: Mapping[str, Any], space: Space) -> int | Fault:
        """The row of the category that the prediction says."""
        name = entry.get("category_name")
        if name is None:
            return self._by_id(entry, "category_id", self.labels[space])
        row = self.category.get(str(name))
        if row is None:
            fix = did_you_mean(str(name), self.category) or "Name classes as the dataset does."
            return Fault(where="", expected=f"a class ({', '.join(self.category)})", found=repr(name), fix=fix)
        return row

    def _by_id(self, entry: Mapping[str, Any], field: str, known: Mapping[Key | None, int]) -> int | Fault:
        value = key(entry.get(field))
        if value is None or value not in known:
            found = repr(entry.get(field))[:80]
            return Fault(where="", expected=f"an {field} of the {self.split} split", found=found, fix=_ELSEWHERE)
        return known[value]


Ids = set[Key | None]


def used(entries: Iterable[Any]) -> tuple[Ids, Ids]:
    """The ids by which the entries name images and categories."""
    images, labels = Ids(), Ids()
    for entry in entries:
        if isinstance(entry, Mapping):
            if entry.get("file_name") is None:
                images.add(key(entry.get("image_id")))
            if entry.get("category_name") is None:
                labels.add(key(entry.get("category_id")))
    return images, labels


def decide(path: Path, images: Ids, labels: Ids, names: Names, *, ids: str) -> Space:
    """The numbering that the file's ids of images and categories are of.

    Raises:
        PredictionsError: its ids fit neither numbering, or both with different meanings.
    """
    if ids in _SPACES:
        return "normalized" if ids == "normalized" else "source"
    fitting = [
        space for space in _SPACES if images <= names.images[space].keys() and labels <= names.labels[space].keys()
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        _check_same(path, names, images, labels)
        return fitting[0]
    raise PredictionsError(*_misfit(path, names, images, labels))


def _check_same(path: Path, names: Names, images: Ids, labels: Ids) -> None:
    for what, used, known in (("image", images, names.images), ("category", labels, names.labels)):
        apart = sorted(str(id_) for id_ in used if known["normalized"][id_] != known["source"][id_])
        if apart:
            raise PredictionsError(
                Fault(
                    where=str(path), expected=f"{what} ids with one meaning",
                    found=f"{len(apart)} ids ({', '.join(apart[:_SHOWN])}) that name one {what} in the normalized"
                    " dataset and another in its source",
                    fix=f"Say which (ids=source or ids=normalized), or name the {what} by"
                    f" {'file_name' if what == 'image' else 'category_name'}.",
                )
            )  # fmt: skip


def _misfit(path: Path, names: Names, images: Ids, labels: Ids) -> list[Fault]:
    faults: list[Fault] = []
    for what, used, known in (("image_id", images, names.images), ("category_id", labels, names.labels)):
        unknown = min((used - known[space].keys() for space in _SPACES), key=len)
        if unknown:
            shown = ", ".join(sorted(str(id_) for id_ in unknown)[:_SHOWN])
            faults.append(
                Fault(
                    where=f"{path}: {what}", expected=f"ids of the {names.split} split ({_range(known)})",
                    found=f"{len(unknown)} others: {shown}",
                    fix="Are these predictions about another split or dataset? Give them per split"
                    " (name:val=... name:test=...)." if what == "image_id"
                    else "Number classes as the dataset does, or name them by category_name.",
                )
            )  # fmt: skip
    return faults or [
        Fault(
            where=str(path), expected="images and classes numbered alike",
            found="images that fit one numbering (normalized or source) and classes that fit the other",
            fix="Name images by file_name or classes by category_name.",
        )
    ]  # fmt: skip


def _range(known: Mapping[Space, Mapping[Key | None, int]]) -> str:
    return "; ".join(f"{space}: {_ends([str(id_) for id_ in known[space]])}" for space in _SPACES)


def _ends(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) <= _SHOWN else f"{ids[0]} to {ids[-1]}"


def _keys(ids: Sequence[int | str]) -> Iterable[Key | None]:
    """The ids in their one form; most datasets have small whole numbers, which are in it."""
    if set(map(type, ids)) == {int} and max(map(abs, ids)) < 2**63:  # type: ignore[arg-type]
        return ids
    return map(key, ids)


def _files(dataset: Dataset) -> dict[str, int]:
    """Rows by every name that means one image only: normalized, source, and the bare file name."""
    names: dict[str, set[int]] = {}
    own: dict[str, int] = {}
    source = dataset.images.attribute.get("source_file")
    for row, file in enumerate(dataset.images.file):
        own[file] = row
        inner = file.removeprefix(f"{PICTURES}/")
        given = inner if source is None else _plain(str(source[row]))
        for name in {inner, given, inner.rsplit("/", 1)[-1], given.rsplit("/", 1)[-1]}:
            names.setdefault(name, set()).add(row)
    return {name: rows.pop() for name, rows in names.items() if len(rows) == 1} | own


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
