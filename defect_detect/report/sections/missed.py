"""The gallery: cards of missed defects by who missed them, and of places where all see what is not labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from defect_detect.errors import DatasetError
from defect_detect.evaluation.comparison import Comparison
from defect_detect.report import misses, panels, wording
from defect_detect.report.palette import Identity
from defect_detect.tables import Dataset

MOST_PANELS = 60
MOST_PLACES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Cards under one heading, and how many there would be in all."""

    title: str
    of: int
    panels: tuple[panels.Panel, ...]
    unreadable: int


def shelves(runs: panels.Runs, truth: Dataset, looks: Mapping[str, Identity]) -> list[Shelf]:
    """The missed defects."""
    everyone = list(runs)
    judged = [one for seeds in runs.values() for one in seeds]
    found = []
    for group in misses.groups(judged, truth, limit=MOST_PANELS) if judged else []:
        title = wording.missed_by(group.missed_by, everyone)
        makers = [lambda row=row: panels.defect_panel(truth, row, runs, looks) for row in group.shown]
        found.append(_shelf(title, len(group.defects), makers))
    return found


def places(comparison: Comparison, runs: panels.Runs, truth: Dataset, looks: Mapping[str, Identity]) -> Shelf | None:
    """Places that all alarm and nobody labelled; None where there are none."""
    alarmed = comparison.suspects.alarmed_by_all
    if not alarmed:
        return None
    makers = [lambda place=place: panels.place_panel(truth, place, runs, looks) for place in alarmed[:MOST_PLACES]]
    return _shelf("alarmed by all, no ground truth", len(alarmed), makers)


def _shelf(title: str, of: int, makers: Sequence[Callable[[], panels.Panel | None]]) -> Shelf:
    """The cards; a picture that can't be read any more costs its card, not the report."""
    made, unreadable = [], 0
    for make in makers:
        try:
            panel = make()
        except DatasetError:
            unreadable += 1
        else:
            if panel is not None:
                made.append(panel)
    return Shelf(title=title, of=of, panels=tuple(made), unreadable=unreadable)
