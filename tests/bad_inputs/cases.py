"""What a row of the table is, and the sound things that rows spoil."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import exports

OUTCOMES = ("repaired", "merged", "quarantined", "noted", "refused", "failed", "sound")
CODES = {"refused": (2,), "failed": (1,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Whole things that rows copy and spoil.

    export      a COCO file with pictures
    dataset     the same, normalized: boxes with masks
    said        split -> COCO results about it, in normalized ids
    comparison  a finished comparison with one detector trained and one given
    """

    export: Path
    dataset: Path
    said: dict[str, Path]
    comparison: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row makes its input; `sound` is shared and never written to."""

    home: Path
    sound: Sound

    @property
    def out(self) -> Path:
        """Where the tool is told to write."""
        return self.home / "out"

    def file(self, name: str, content: object) -> Path:
        """A file with these bytes, this text, or this as JSON."""
        path = self.home / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = (
            content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else coded(content)
        )
        path.write_bytes(raw)
        return path

    def copy(self, what: Path, name: str) -> Path:
        """A copy that may be spoilt."""
        target = self.home / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if what.is_dir():
            shutil.copytree(what, target, symlinks=True)
        else:
            shutil.copy(what, target)
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row.

    kind     of input: datasets, images, masks, predictions, manifests, configs, checkpoints, reviews, runs, splits
    given    makes the input; returns the tool and its arguments
    outcome  one of OUTCOMES
    says     a rule of repairs.jsonl that was applied, or words of the message
    kept     (images, annotations) that are left of a dataset
    """

    kind: str
    name: str
    given: Callable[[Place], list[object]]
    outcome: str
    says: str = ""
    kept: tuple[int, int] | None = None

    @property
    def codes(self) -> tuple[int, ...]:
        """The exit codes that may be, as the tools' help has them."""
        return CODES.get(self.outcome, (0,))


def coded(content: object) -> bytes:
    """JSON, with NaN and lone surrogates where the content has them."""
    return json.dumps(content).encode("utf-8", "surrogatepass")


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the JSON file in place: by what `change` does to the content, or returns."""
    content = json.loads(path.read_bytes())
    made = change(content)
    raw = content if made is None else made
    path.write_bytes(raw if isinstance(raw, bytes) else coded(raw))


@functools.cache
def rows() -> tuple[Case, ...]:
    """The whole table."""
    from tests.bad_inputs import configs, datasets, formats, pictures, reviews, runs, said, splits

    tables = (datasets, pictures, formats, said, configs, reviews, splits, runs)
    return tuple(case for table in tables for case in table.CASES)


def normalizing(  # noqa: PLR0917 - rows read as lines of a table
    kind: str, name: str, change: Callable[[exports.Content], object], outcome: str, says: str = "",
    kept: tuple[int, int] | None = None, *, options: tuple[str, ...] = (), boxes: bool = False,
) -> Case:  # fmt: skip
    """A row that normalizes `tests.exports`' clean export after `change`, which edits it or returns other content."""

    def given(place: Place) -> list[object]:
        content = exports.boxes_only() if boxes else exports.clean()
        made = change(content)
        path = place.file("export.json", content if made is None else made)
        exports.pictures(path.parent / "images")
        return ["normalize", path, "--out", place.out, *options]

    return Case(kind=kind, name=name, given=given, outcome=outcome, says=says, kept=kept)
