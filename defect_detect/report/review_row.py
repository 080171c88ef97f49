"""One row of a review's table: its cells as values, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from defect_detect.errors import Fault
from defect_detect.evaluation.review import Entry, Header

CORNERS = ("x0", "y0", "x1", "y1")
TRUE_CORNERS = tuple(f"true_{name}" for name in CORNERS)
_SAMPLE = ("sample_drawn", "sample_of", "sample_seed")
_HEADER = ("review", "dataset", "split")
COLUMNS = (
    "decision", "note", "image", "category", *CORNERS, "missed_by", "detector", "seed", "score", "annotation",
    "sampled", "true_category", *TRUE_CORNERS, *_HEADER, *_SAMPLE,
)  # fmt: skip
REQUIRED = ("decision", "image", "category", *CORNERS, *_HEADER)
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_Kind = TypeVar("_Kind", Header, Entry)


class Row:
    """One row's cells as values; `faults` is what is wrong with them."""

    def __init__(self, where: str, cells: Mapping[str, str]) -> None:
        self.where, self.faults = where, list[Fault | str]()
        # Without the apostrophe that kept a spreadsheet from running it.
        self._cells = {name: cell.removeprefix("'") for name, cell in cells.items() if cell.strip()}

    def header(self) -> Header | None:
        """What all entries speak of; None in a row that somebody added, which is of the others' review."""
        if not any(self._cells.get(name) for name in _HEADER):
            return None
        sample = None
        if any(self._cells.get(name) for name in _SAMPLE):
            drawn, of, seed = (self._number(name, int) for name in _SAMPLE)
            sample = {"drawn": drawn, "of": of, "seed": seed}
        content = {
            "review": self._number("review", int),
            "dataset": self._text("dataset"),
            "split": self._text("split"),
        }
        return self._made(content | {"sample": sample}, Header)

    def entry(self) -> Entry | None:
        """The decision; None where the row holds the header alone."""
        if not self._cells.keys() & {"image", "decision"}:
            return None
        content: dict[str, Any] = {
            "decision": self._cells.get("decision", "").strip().lower(),
            "image": self._text("image"),
            "category": self._text("category"),
            "box": [self._number(name, float) for name in CORNERS],
            "sampled": self._word("sampled"),
            "missed_by": self._list("missed_by"),
            "note": self._cells.get("note", ""),
        }
        for name, kind in (("annotation", int), ("seed", int), ("score", float)):
            if self._cells.get(name):
                content[name] = self._number(name, kind)
        for name in ("detector", "true_category"):
            if self._cells.get(name):
                content[name] = self._cells[name]
        if any(self._cells.get(name) for name in TRUE_CORNERS):
            content["true_box"] = [self._number(name, float) for name in TRUE_CORNERS]
        return self._made(content, Entry)

    def _made(self, content: Mapping[str, Any], kind: type[_Kind]) -> _Kind | None:
        if self.faults:
            return None
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:  # pragma: no cover - each cell was looked at before
            self.faults.append(Fault(where=self.where, expected=f"a {kind.__name__.lower()}", found=str(error)))
            return None

    def _text(self, name: str) -> str:
        if not self._cells.get(name):
            self._wrong(name, "a text")
        return self._cells.get(name, "")

    def _number(self, name: str, kind: Callable[[float], Any]) -> Any:
        cell = self._cells.get(name, "")
        try:
            # Spreadsheets of half the world write 3,5.
            value = float(cell.replace(",", "."))
            if value not in (float("inf"), float("-inf")) and kind(value) == value:
                return kind(value)
        except (ValueError, OverflowError):
            pass
        self._wrong(name, "a whole number" if kind is int else "a number")
        return None

    def _word(self, name: str) -> bool:
        cell = self._cells.get(name, "").strip().lower()
        if cell and cell not in _WORDS:
            self._wrong(name, "yes or nothing")
        return _WORDS.get(cell, False)

    def _list(self, name: str) -> list[str]:
        cell = self._cells.get(name, "")
        try:
            return list(msgspec.json.decode(cell, type=list[str])) if cell else []
        except msgspec.MsgspecError:
            self._wrong(name, 'detectors as ["a","b"], or nothing')
            return []

    def _wrong(self, name: str, expected: str) -> None:
        found = repr(self._cells.get(name, "")) if self._cells.get(name) else "nothing"
        self.faults.append(Fault(where=f"{self.where}, {name}", expected=expected, found=found))
