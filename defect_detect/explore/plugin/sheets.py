"""The panel's tables as text, and which defects a click on a cell means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Estimate, Interval, Rate
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.reasons import REASONS
from defect_detect.evaluation.slices import parts as all_parts
from defect_detect.explore import selected
from defect_detect.explore.plugin.shown import Shown, parts
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
    """Each detector's figures with their intervals at this threshold; a click opens its misses.

    Rates of several seeds are means over them; what is counted and opened is what most of them miss.
    """
    missed = selected.missed(shown.entrants)
    defects = int(shown.held.truth.defects.counts.sum())
    rows = []
    for one in shown.entrants:
        told = shown.figures[one.name]
        count = Rate(count=int(missed[one.name].sum()), of=defects)
        rows.append([
            one.name,
            wording.fraction(count) if one.measured else wording.NOTHING,
            _share(told.fn_rate),
            _mean(told.fppi),
            _share(told.escape_rate),
            _share(told.overkill_rate),
            _thresholds(one.threshold) if one.measured else wording.NOTHING,
        ])  # fmt: skip

    def clicked(row: int, _column: int) -> Click | None:
        one = shown.entrants[row]
        return Click(title=_who(one), where=missed[one.name]) if one.measured else None

    several = seeded(shown)
    heads = (
        "detector", "most seeds miss" if several else "missed", "FN rate, mean of seeds" if several else "FN rate",
        "FPPI", "escape", "overkill", "threshold",
    )  # fmt: skip
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
    """FN rate of each detector by class, size and attribute, with its interval; a click opens what it misses there."""
    of = {one.name: one for one in shown.entrants}
    missed, sizes = selected.missed(shown.entrants), shown.held.comparison.protocol.sizes
    told = {name: {(part.by, part.value): part.fn_rate for part in parts(shown, name)} for name in of}
    within = {(part.by, part.value): part.defects for part in all_parts(shown.held.truth, sizes)}
    keys = [key for key in within if any(key in one for one in told.values())]
    rows = [
        [*key, *(_part(told[name].get(key), missed[name] & within[key], of[name]) for name in of)] for key in keys
    ]  # fmt: skip

    def clicked(row: int, column: int) -> Click | None:
        key = keys[row]
        where, name = " ".join(key), list(of)[column - _LEFT] if column >= _LEFT else None
        if name is None:
            lost = np.any(list(missed.values()), axis=0)
            return Click(title=f"{where}, missed by some detector", where=within[key] & lost)
        if key not in told[name]:
            return None
        return Click(title=f"{where}, {_who(of[name])}", where=within[key] & missed[name])

    return Sheet(columns=("by", "", *of), rows=rows, clicked=clicked)


def by_reason(shown: Shown) -> Sheet:
    """Misses by reason, every defect under one for each detector that misses it; a click opens them."""
    where = {one.name: {reason: selected.for_reason(one, reason) for reason in REASONS} for one in shown.entrants}
    rows = [
        [_words(reason), MEANINGS.get(reason, ""), *(wording.count(int(one[reason].sum())) for one in where.values())]
        for reason in REASONS
    ]

    def clicked(row: int, column: int) -> Click | None:
        picked = shown.entrants if column < _LEFT else shown.entrants[column - _LEFT : column - _LEFT + 1]
        reason = REASONS[row]
        lost = np.any([where[one.name][reason] for one in picked], axis=0)
        who = _who(picked[0]) if len(picked) == 1 else "missed by some detector"
        return Click(title=f"{_words(reason)}, {who}", where=lost)

    return Sheet(columns=("reason", "what it means", *where), rows=rows, clicked=clicked)


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


def seeded(shown: Shown) -> bool:
    """Whether a detector has several seeds."""
    return any(one.seeds > 1 for one in shown.entrants)


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


def _who(entrant: Entrant) -> str:
    return f"missed by {f'most seeds of {entrant.name}' if entrant.seeds > 1 else entrant.name}"


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _share(told: Estimate) -> str:
    return wording.percent(told.rate.value) + _bracketed(told.this_threshold, 100, 1)


def _mean(told: Estimate) -> str:
    return wording.number(told.rate.value) + _bracketed(told.this_threshold, 1, 3)


def _part(told: Estimate | None, lost: Bools, entrant: Entrant) -> str:
    """`31.2 % [27.9 to 34.6] (224/719)`; of several seeds the mean rate, and the defects that most of them miss."""
    if told is None:
        return wording.NOTHING
    count = wording.fraction(Rate(count=int(lost.sum()), of=told.rate.of // entrant.seeds))
    return f"{_share(told)} ({f'most seeds: {count}' if entrant.seeds > 1 else count})"


def _bracketed(found: Interval | None, factor: int, digits: int) -> str:
    if found is None:
        return ""
    # It breaks before the bracket, never inside.
    return f" [{factor * found.low:.{digits}f}{_STAY}to{_STAY}{factor * found.high:.{digits}f}]"


def _thresholds(by_seed: Sequence[float]) -> str:
    return ", ".join("none" if np.isinf(one) else f"{one:.4f}" for one in dict.fromkeys(by_seed))
