"""What the panel shows for what was asked: figures, agreement, parts and reasons, of the comparison in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from defect_detect.evaluation import agreement as agreements
from defect_detect.evaluation.comparison import Agreement, Figures, Slice
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.sliced import sliced
from defect_detect.explore import columns
from defect_detect.explore.columns import Columns
from defect_detect.explore.plugin import corrected
from defect_detect.explore.plugin.asked import Asked, thresholds

KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Everything in the panel but where somebody has scrolled to.

    held      the comparison, matched by what was asked
    entrants  the detectors that have figures there, in the comparison's order
    why       detector -> why it has none
    """

    held: Columns
    asked: Asked
    entrants: tuple[Entrant, ...]
    why: Mapping[str, str]
    figures: Mapping[str, Figures]
    agreement: Agreement


def show(folder: Path, wanted: Asked) -> Shown:
    """What is to be seen of the comparison in `folder`; kept in memory while neither it nor its marks change.

    Raises:
        DefectDetectError: the folder holds no comparison any more, or what is asked can't be had.
    """
    held = columns.under(columns.load(folder), wanted.rule)
    stamp = None
    if wanted.corrected:
        held, stamp = corrected.corrected(held)
    key = (folder, id(held.contenders), stamp, wanted)
    with _LOCK:
        found = _kept.pop(key, None)
        if found is None or found.held.contenders is not held.contenders:
            found = _made(held, wanted)
        _kept[key] = found
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
        return found


def parts(shown: Shown, name: str) -> list[Slice]:
    """The detector's figures by class, size and attribute."""
    for one in shown.entrants:
        if one.name == name:
            return sliced(one, shown.held.draws, shown.held.comparison.protocol.sizes)
    return []


_LOCK = threading.RLock()
_kept: dict[object, Shown] = {}


def _made(held: Columns, wanted: Asked) -> Shown:
    chosen, why = thresholds(held, wanted)
    entrants = columns.at(held, chosen)
    return Shown(
        held=held,
        asked=wanted,
        entrants=entrants,
        why=why,
        figures={one.name: figures(one) for one in entrants},
        agreement=agreements.agreement({one.name: one.judged for one in entrants}),
    )
