"""The questions people ask, as saved views.

A view on ground truth shows only the pictures that hold what it asks for: no other picture holds any.
Of the predictions it hides the hits on defects that it doesn't show, and never a picture for it: left to
itself, FiftyOne's `filter_labels` drops the pictures in which nothing is left, and with them their misses
(fiftyone#2050). So in every view hits + misses = the defects shown that count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from defect_detect.explore.names import ALARMED, TRUTH, Key
from defect_detect.explore.rows import BELOW, HIT

_MISSED, _LOST, _FOUND, _RECOVERABLE, _ALARM = "#D55E00", "#E69F00", "#009E73", "#56B4E9", "#CC79A7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A saved view: its name, what it shows in a sentence, its colour and the view itself."""

    name: str
    shows: str
    colour: str
    view: Any


def save(fiftyone: ModuleType, dataset: Any, runs: Sequence[Key]) -> None:
    """Save all views, in the order in which people ask."""
    from fiftyone.core.utils import to_slug

    taken: set[str] = set()
    for question in questions(fiftyone, dataset, runs):
        name, number = question.name, 1
        # `a-b` and `a_b` differ as detectors, yet not in the address FiftyOne gives a view.
        while to_slug(name) in taken:
            number += 1
            name = f"{question.name} ({number})"
        taken.add(to_slug(name))
        dataset.save_view(name, question.view, description=question.shows, color=question.colour, overwrite=True)


def questions(fiftyone: ModuleType, dataset: Any, runs: Sequence[Key]) -> Iterator[Question]:
    """Views over all detectors, then for each detector, then for each run."""
    field = fiftyone.ViewField
    on_shown = fiftyone.ViewExpression({"$in": [field("hit_of"), field(f"${TRUTH}.detections.annotation_id")]})
    detectors = list(dict.fromkeys(run.detector for run in runs))
    seeds = "" if len(runs) == len(detectors) else " (by most of its seeds)"

    def defects(name: str, shows: str, colour: str, where: Any) -> Question:
        view = dataset.filter_labels(TRUTH, where)
        for run in runs:
            view = view.filter_labels(run.key, (field("outcome") != HIT) | on_shown, only_matches=False)
        return Question(name=name, shows=shows, colour=colour, view=view)

    def pictures(name: str, shows: str, where: Any) -> Question:
        return Question(name=name, shows=shows, colour=_ALARM, view=dataset.match(where))

    count, missed = field("missed_by_count"), field("missed_by")
    yield defects("missed by all", f"Defects that every detector misses{seeds}", _MISSED, count == len(detectors))
    for name in detectors:
        shows = f"Defects that {name} misses{seeds}, whatever the others do"
        yield defects(f"missed by {name}", shows, _LOST, missed.contains(name))
    if len(detectors) > 1:
        for name in detectors:
            shows = f"Defects that {name} misses{seeds} and every other detector finds"
            yield defects(f"missed only by {name}", shows, _LOST, (count == 1) & missed.contains(name))
        for name in detectors:
            shows = f"Defects that {name} finds{seeds} and every other detector misses"
            only = (count == len(detectors) - 1) & ~missed.contains(name)
            yield defects(f"found only by {name}", shows, _FOUND, only)
    recoverable = [field(f"{run.key}_reason") == BELOW for run in runs]
    shows = "Defects that some detector misses only because its score is under the threshold"
    yield defects("recoverable by threshold", shows, _RECOVERABLE, _any(recoverable))
    for run, where in zip(runs, recoverable, strict=True):
        shows = f"Defects that {run.title} would find at a lower threshold: the matching box is in {run.below}"
        yield defects(f"recoverable by threshold: {run.title}", shows, _RECOVERABLE, where)
    shows = "Pictures with a place where every detector sees a defect and the ground truth has none (look at the label)"
    yield pictures("false alarms of all", shows, field(f"{ALARMED}.detections").length() > 0)
    overkill = [field(f"{run.key}_alarmed") for run in runs]
    shows = "Defect-free pictures in which some detector raises an alarm"
    yield pictures("defect-free alarmed (overkill)", shows, field("defect_free") & _any(overkill))
    for run, alarm in zip(runs, overkill, strict=True):
        shows = f"Defect-free pictures in which {run.title} raises an alarm"
        yield pictures(f"defect-free alarmed: {run.title}", shows, field("defect_free") & alarm)


def _any(conditions: Sequence[Any]) -> Any:
    whole = conditions[0]
    for condition in conditions[1:]:
        whole |= condition
    return whole
