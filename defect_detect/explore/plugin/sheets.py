"""The panel's tables as text, and which defects a click on a cell means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Estimate, Interval, Rate
from defect_detect.evaluation.reasons import REASONS
from defect_detect.evaluation.slices import parts as all_parts
from defect_detect.explore import selected
from defect_detect.explore.plugin.shown import Shown, parts, reasons
from defect_detect.report import wording
from defect_detect.report.glossary import MISS_REASONS as MEANINGS
from defect_detect.tables import Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """The defects that a cell speaks of: in words, and which."""

    title: str
    where: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table.

    columns  headings
    rows     text of each cell
    clicked  what (row, column) means; None where it speaks of no defects
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    clicked: Callable[[int, int], Click | None]


def figures(shown: Shown) -> Sheet:
    """Each detector's figures with their intervals at this threshold; a click opens its misses."""
    rows = []
    for one in shown.entrants:
        told = shown.figures[one.name]
        rows.append([
            one.name,
            wording.fraction(told.fn_rate.rate) if one.measured else wording.NOTHING,
            _share(told.fn_rate),
            _mean(told.fppi),
            _share(told.escape_rate),
            _share(told.overkill_rate),
            _thresholds(one.threshold) if one.measured else wording.NOTHING,
        ])  # fmt: skip

    def clicked(row: int, _column: int) -> Click | None:
        name = shown.entrants[row].name
        return Click(title=f"missed by {name}", where=selected.missed(shown.entrants)[name])

    heads = ("detector", "missed", "FN rate", "FPPI", "escape", "overkill", "threshold")
    return Sheet(columns=heads, rows=rows, clicked=clicked)


def agreement(shown: Shown) -> Sheet:
    """Defects by exactly which detectors miss them, those that most detectors miss first."""
    names = [one.name for one in shown.entrants]
    subsets = sorted(shown.agreement.subsets, key=lambda one: -len(one.missed_by))
    of = shown.agreement.of
    rows = [
        [spoken(one.missed_by, names), wording.count(one.count), wording.percent(Rate(count=one.count, of=of).value)]
        for one in subsets
    ]

    def clicked(row: int, _column: int) -> Click | None:
        missed_by = subsets[row].missed_by
        return Click(title=spoken(missed_by, names), where=selected.subset(shown.entrants, missed_by))

    return Sheet(columns=("exactly these miss it", "defects", "of all"), rows=rows, clicked=clicked)


def by_part(shown: Shown) -> Sheet:
    """FN rate of each detector by class, size and attribute; a click opens what it misses there."""
    names = [one.name for one in shown.entrants]
    told = {name: {(part.by, part.value): part.fn_rate for part in parts(shown, name)} for name in names}
    seen = {(part.by, part.value): None for part in all_parts(shown.held.truth, shown.held.comparison.protocol.sizes)}
    keys = [key for key in seen if any(key in one for one in told.values())]
    rows = [[key[0], key[1], *(_part(told[name].get(key)) for name in names)] for key in keys]

    def clicked(row: int, column: int) -> Click | None:
        by, value = keys[row]
        where, missed = selected.in_part(shown.held, by, value), selected.missed(shown.entrants)
        name = names[column - _LEFT] if column >= _LEFT else None
        lost = np.any(list(missed.values()), axis=0) if name is None else missed[name]
        return Click(title=f"{by} {value}, missed by {name or 'some detector'}", where=where & lost)

    return Sheet(columns=("by", "", *names), rows=rows, clicked=clicked)


def by_reason(shown: Shown) -> Sheet:
    """Misses by reason, summed over seeds; a click opens them."""
    counted = {one.name: reasons(one) for one in shown.entrants}
    rows = [
        [_words(reason), MEANINGS.get(reason, ""), *(wording.count(one[reason]) for one in counted.values())]
        for reason in REASONS
    ]

    def clicked(row: int, column: int) -> Click | None:
        picked = shown.entrants if column < _LEFT else shown.entrants[column - _LEFT : column - _LEFT + 1]
        where = np.any([selected.for_reason(one, REASONS[row]) for one in picked], axis=0)
        who = picked[0].name if len(picked) == 1 else "some detector"
        return Click(title=f"{_words(REASONS[row])}, missed by {who}", where=where)

    return Sheet(columns=("reason", "what it means", *counted), rows=rows, clicked=clicked)


def misses(shown: Shown, where: Bools, *, by: str, descending: bool, start: int, most: int) -> tuple[Sheet, list[str]]:
    """A page of the list of misses, and the ids of its labels."""
    page = selected.misses(
        shown.held, shown.entrants, where, by=by, descending=descending, start=start, most=most
    )  # fmt: skip
    unit = shown.held.comparison.dataset.unit
    rows = []
    for one in page:
        scores = [score for score in one.candidate_score.values() if score is not None]
        why = dict.fromkeys(_words(reason) for reason in one.reason.values())
        rows.append([
            one.category,
            f"{one.long_side:,.3g} {unit}" if one.long_side < _LARGE else f"{one.long_side:,.0f} {unit}",
            f"{max(scores):.3f}" if scores else "none",
            ", ".join(one.missed_by),
            ", ".join(why),
            one.image,
        ])  # fmt: skip
    heads = ("class", "long side", "best candidate", "missed by", "because", "picture")
    return Sheet(columns=heads, rows=rows, clicked=lambda _row, _column: None), [one.label_id for one in page]


def spoken(missed_by: Sequence[str], everyone: Sequence[str]) -> str:
    """Which detectors miss a defect, in words."""
    if not missed_by:
        return "found by all"
    if len(missed_by) == len(everyone):
        return f"missed by all {len(everyone)}" if len(everyone) > 1 else f"missed by {everyone[0]}"
    return f"missed only by {missed_by[0]}" if len(missed_by) == 1 else f"missed by exactly {', '.join(missed_by)}"


_LEFT = 2
_LARGE = 1000
_STAY = "\u00a0"


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _share(told: Estimate) -> str:
    return wording.percent(told.rate.value) + _bracketed(told.this_threshold, 100, 1)


def _mean(told: Estimate) -> str:
    return wording.number(told.rate.value) + _bracketed(told.this_threshold, 1, 3)


def _part(told: Estimate | None) -> str:
    return wording.NOTHING if told is None else wording.share(told.rate)


def _bracketed(found: Interval | None, factor: int, digits: int) -> str:
    if found is None:
        return ""
    # It breaks before the bracket, never inside.
    return f" [{factor * found.low:.{digits}f}{_STAY}to{_STAY}{factor * found.high:.{digits}f}]"


def _thresholds(by_seed: Sequence[float]) -> str:
    return ", ".join("none" if np.isinf(one) else f"{one:.4f}" for one in dict.fromkeys(by_seed))
