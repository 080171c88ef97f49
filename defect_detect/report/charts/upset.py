"""Agreement as an UpSet plot (Lex et al. 2014), one row for each set of detectors that missed the same defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Agreement, Rate
from defect_detect.report import wording
from defect_detect.report.palette import NEUTRAL, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Whether the detector of this column is in the row's set, and whether the line through the set passes here."""

    identity: Identity
    member: bool
    left: bool
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """The defects missed by exactly these detectors; `width` in percent of the longest bar.

    short  the set is one detector or all of them: its title says more than its dots
    """

    title: str
    short: bool
    cells: tuple[Cell, ...]
    rate: Rate
    width: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upset:
    """Rows from the largest set down.

    totals     by detector, in the order of the columns: all that it missed
    found      found by every detector; it has no row, since its bar would dwarf the others
    left_out   rows beyond the largest, and how many defects are in them
    """

    rows: tuple[SetRow, ...]
    totals: tuple[tuple[Identity, Rate, float], ...]
    found: Rate
    left_out: tuple[int, int]


def upset(agreement: Agreement, looks: Mapping[str, Identity], *, most: int = 24) -> Upset:
    """The `most` largest sets, by count; equal ones by more detectors, then by name."""
    names = list(looks)
    missed = [subset for subset in agreement.subsets if subset.missed_by and subset.count]
    missed.sort(key=lambda subset: (-subset.count, -len(subset.missed_by), subset.missed_by))
    longest = missed[0].count if missed else 1
    total = {name: sum(s.count for s in missed if name in s.missed_by) for name in names}
    highest = max(total.values(), default=0) or 1
    return Upset(
        rows=tuple(
            SetRow(
                title=wording.missed_by(subset.missed_by, names),
                short=len(subset.missed_by) in (1, len(names)),
                cells=_cells(subset.missed_by, looks),
                rate=Rate(count=subset.count, of=agreement.of),
                width=round(100 * subset.count / longest, 3),
                colour=looks[subset.missed_by[0]].colour if len(subset.missed_by) == 1 else NEUTRAL.colour,
            )
            for subset in missed[:most]
        ),
        totals=tuple(
            (looks[name], Rate(count=total[name], of=agreement.of), round(100 * total[name] / highest, 3))
            for name in names
        ),
        found=Rate(count=agreement.of - sum(subset.count for subset in missed), of=agreement.of),
        left_out=(len(missed[most:]), sum(subset.count for subset in missed[most:])),
    )


def _cells(missed_by: Sequence[str], looks: Mapping[str, Identity]) -> tuple[Cell, ...]:
    names = list(looks)
    places = [place for place, name in enumerate(names) if name in missed_by]
    first, last = min(places), max(places)
    return tuple(
        Cell(identity=looks[name], member=place in places, left=first < place <= last, right=first <= place < last)
        for place, name in enumerate(names)
    )
