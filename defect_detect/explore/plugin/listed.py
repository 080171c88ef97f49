"""The list of misses: which defects are on it, and the page that is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from defect_detect.explore import selected
from defect_detect.explore.plugin import sheets
from defect_detect.explore.plugin.sheets import Click, Sheet
from defect_detect.explore.plugin.shown import Shown
from defect_detect.tables import Bools

ROWS = 20
"""On a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the list.

    start  how many defects are on the pages before
    total  how many are on all of them
    ids    of its labels, row by row
    """

    sheet: Sheet
    start: int
    total: int
    ids: list[str]


def kinds(shown: Shown) -> dict[str, str]:
    """The lists there are, and what they are called."""
    names = [one.name for one in shown.entrants]
    known = {"any": "missed by some detector"}
    if len(names) > 1:
        known |= {"all": "missed by all", **{f"only {name}": f"missed only by {name}" for name in names}}
    return known | {f"by {name}": f"missed by {name}" for name in names}


def listed(shown: Shown, state: Mapping[str, Any]) -> Click:
    """The defects of the list that the panel's state names."""
    known = kinds(shown)
    which = str(state.get("which") or "any")
    which = which if which in known else "any"
    return Click(title=known[which], where=_where(shown, which))


def page(shown: Shown, state: Mapping[str, Any]) -> Page:
    """The page that the panel's state says; the last one where there are fewer."""
    order, where = str(state.get("order") or "size-"), listed(shown, state).where
    total = int(where.sum())
    start = min(int(state.get("page") or 0), max(total - 1, 0) // ROWS) * ROWS
    sheet, ids = sheets.misses(shown, where, by=order[:-1], descending=order[-1] == "-", start=start, most=ROWS)
    return Page(sheet=sheet, start=start, total=total, ids=ids)


def turned(column: int, before: object) -> str:
    """The order that a click on the heading of this column asks for, after the order `before`."""
    order = ("class+", "size-", "score-")[min(column, 2)]
    return {"size-": "size+", "score-": "score+"}.get(order, order) if order == before else order


def _where(shown: Shown, which: str) -> Bools:
    missed = selected.missed(shown.entrants)
    kind, _, name = which.partition(" ")
    if kind == "only":
        return selected.subset(shown.entrants, [name])
    if kind == "by":
        return missed[name]
    put = np.all if kind == "all" else np.any
    return np.asarray(put(list(missed.values()), axis=0))
