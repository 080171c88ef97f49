"""What normalization did to the input, one record for each deviation. Nothing changes without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from defect_detect.data.packed_list import PackedList
from defect_detect.errors import DatasetError, Fault

Action = Literal["repaired", "merged", "quarantined", "noted"]

_ORDER: tuple[Action, ...] = ("quarantined", "repaired", "merged", "noted")
_LONGEST = 200


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """One deviation of the input and what became of it: a line of `repairs.jsonl`."""

    where: str
    """Path into the input: `train.json: annotations[3].bbox`."""
    what: str
    """The name of the rule, the same for every deviation of its kind."""
    before: Any
    after: Any
    action: Action = "repaired"
    """`repaired`: the right answer is unique. `merged`: the item stands there twice and is kept once.
    `quarantined`: no answer is unique, so the item is left out. `noted`: kept as it is, but worth knowing."""
    split: str = ""
    """Where a quarantined item would have gone, when that is known."""
    detail: str = ""
    """What this one item adds to the rule."""


@dataclass(slots=True)
class Log:
    """Collects the repairs, and the faults for which the whole input is refused."""

    repairs: PackedList[Repair] = field(default_factory=lambda: PackedList(Repair))
    faults: list[Fault] = field(default_factory=list)

    def repaired(self, where: str, what: str, before: object, after: object) -> None:
        """The right answer is unique and has been put in place."""
        self.repairs.append(Repair(where=where, what=what, before=_short(before), after=_short(after)))

    def merged(self, where: str, what: str, before: object, into: str) -> None:
        """The item says again what the one at `into` says: nothing is lost by leaving it out."""
        self.repairs.append(Repair(where=where, what=what, before=_short(before), after=into, action="merged"))

    def quarantined(self, where: str, what: str, before: object, split: str = "", *, detail: str = "") -> None:
        """The item has no unique answer and is left out."""
        self.repairs.append(
            Repair(
                where=where, what=what, before=_short(before), after=None, action="quarantined", split=split,
                detail=_printable(detail),
            )
        )  # fmt: skip

    def only_note(self, since: int) -> None:
        """What was repaired from record `since` on belongs to an item that is left out: true, but undone."""
        if len(self.repairs) > since:
            self.repairs.change(lambda _, repair: msgspec.structs.replace(repair, action="noted"), since)

    def noted(self, where: str, what: str, before: object) -> None:
        """Nothing was changed, but people should know."""
        value = _short(before)
        self.repairs.append(Repair(where=where, what=what, before=value, after=value, action="noted"))

    def refused(self, where: str, *, expected: str, found: str, fix: str = "") -> None:
        """The whole input can't be used; raised by `check`, together with all others."""
        self.faults.append(Fault(where=where, expected=expected, found=found, fix=fix))

    def check(self, *, strict: bool = False) -> None:
        """Raise all that was refused so far; with `strict`, repairs and quarantines as well.

        Raises:
            Refused: there is something to refuse.
        """
        faults = list(self.faults)
        if strict:
            faults += [_refusal(repair) for repair in self.repairs if repair.action != "noted"]
        if faults:
            raise Refused(faults, self.repairs)


class Refused(DatasetError):
    """The input as a whole can't be used: `faults`; and what else was seen in it: `repairs`."""

    def __init__(self, faults: Iterable[Fault], repairs: Sequence[Repair] = ()) -> None:
        super().__init__(*faults)
        self.repairs = repairs


def summary(repairs: Iterable[Repair]) -> list[tuple[Action, str, int, str]]:
    """Rows of action, rule, count and one example's place; the most frequent first."""
    counts = Counter[tuple[Action, str]]()
    example: dict[tuple[Action, str], str] = {}
    for repair in repairs:
        kind = repair.action, repair.what
        counts[kind] += 1
        example.setdefault(kind, repair.where)
    order = sorted(counts, key=lambda kind: (_ORDER.index(kind[0]), -counts[kind], kind[1]))
    return [(action, what, counts[action, what], example[action, what]) for action, what in order]


def _refusal(repair: Repair) -> Fault:
    after = {
        "repaired": f"would become {repair.after!r}", "merged": f"would be left out for {repair.after}",
    }.get(repair.action, "would be left out")  # fmt: skip
    return Fault(
        where=repair.where,
        expected="a clean file (strict)",
        found=f"{repair.what}: {repair.detail or repr(repair.before)}",
        fix=after,
    )


def _short(value: object) -> object:
    """The value as JSON can hold it, cut where it is long (a mask's run lengths)."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str) and len(value) <= _LONGEST:
        return _printable(value)
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, float) and text not in ("nan", "inf", "-inf"):
        return value
    text = _printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
