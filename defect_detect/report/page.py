"""report.html: one file that needs nothing else, readable on a screen, a phone and paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detect.errors import DatasetError
from defect_detect.evaluation.comparison import Comparison, Detector, Estimate, Rate
from defect_detect.evaluation.judged import Judged
from defect_detect.report import glossary, misses, palette, panels, wording
from defect_detect.report.charts import dots, froc, stacked
from defect_detect.report.costs import costs
from defect_detect.report.palette import Identity
from defect_detect.tables import Dataset

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_PANELS = 60
MOST_PLACES = 12
_JOINT = re.compile(r"([_./-])(?=\w)")
_SIDE_BY_SIDE = ("class", "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Cards under one heading, and how many there would be in all."""

    title: str
    of: int
    panels: tuple[panels.Panel, ...]
    unreadable: int


def render(
    comparison: Comparison, judged: Sequence[Judged], *, truth: Dataset, measurements: Mapping[str, Any] | None
) -> str:
    """The page. The same input gives the same bytes.

    Args:
        comparison: the figures.
        judged: every run on the test split; of each detector the first one is drawn.
        truth: the test split, whose pictures are cut up for the gallery.
        measurements: training time, latency and the like by detector, or None.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["breakable"] = breakable
    looks = palette.identities([detector.name for detector in comparison.detectors])
    runs: dict[str, list[Judged]] = {name: [] for name in looks}
    for one in judged:
        runs[one.name].append(one)
    present = {name: found for name, found in runs.items() if found}
    page = environment.get_template("page.html.jinja").render(
        c=comparison,
        w=wording,
        looks=looks,
        glossary=glossary,
        fn_plot=_rates(comparison, looks, lambda d: d.test.fn_rate),
        fppi_plot=_false_alarms(comparison, looks),
        froc=_froc(comparison, looks),
        slices=_slices(comparison, looks),
        reasons=_bars(comparison, lambda d: d.miss_reasons, tuple(glossary.MISS_REASONS), palette.reason_colour),
        alarms=_bars(comparison, lambda d: d.false_alarm_reasons, tuple(glossary.ALARM_REASONS), palette.alarm_colour),
        colour=palette.reason_colour,
        alarm_colour=palette.alarm_colour,
        agreement=_agreement(comparison, looks),
        methods=_methods(comparison),
        pair_plot=_pairs(comparison),
        shelves=_missed(present, truth, looks),
        places=_places(comparison, present, truth, looks),
        drawn={name: found[0].seed for name, found in present.items()},
        measured=_columns({d.name: d.measured for d in comparison.detectors}),
        costs=costs(measurements, list(looks)),
        plain=wording.plain,
    )
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


def breakable(text: str) -> Markup:
    """Escaped, with places where a long name may go on in the next line."""
    from markupsafe import Markup, escape

    return Markup(_JOINT.sub(r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped the line above


def _rates(comparison: Comparison, looks: Mapping[str, Identity], pick: Callable[[Detector], Estimate]) -> dots.DotPlot:
    rows = [(d.name, "", [_value(looks[d.name], pick(d))]) for d in comparison.detectors]
    return dots.dot_plot(rows, label=_percent_tick)


def _false_alarms(comparison: Comparison, looks: Mapping[str, Identity]) -> dots.DotPlot:
    rows = []
    for d in comparison.detectors:
        estimate = d.test.fppi
        found = dots.Value(
            identity=looks[d.name], value=estimate.rate.value, interval=wording.best_interval(estimate),
            text=wording.per_image(estimate.rate),
        )  # fmt: skip
        rows.append((d.name, "", [found]))
    return dots.dot_plot(rows, label=lambda x: f"{x:g}")


def _value(identity: Identity, estimate: Estimate) -> dots.Value:
    return dots.Value(
        identity=identity, value=estimate.rate.value, interval=wording.best_interval(estimate),
        text=wording.share(estimate.rate),
    )  # fmt: skip


def _percent_tick(x: float) -> str:
    return f"{100 * x:g}\u00a0%"


def _froc(comparison: Comparison, looks: Mapping[str, Identity]) -> froc.FrocPlot:
    curves = []
    for d in comparison.detectors:
        missed, fppi = d.test.fn_rate.rate, d.test.fppi.rate
        hits = Rate(count=missed.of - missed.count, of=missed.of)
        point = (fppi.value, hits.value) if fppi.value is not None and hits.value is not None else None
        text = f"recall {wording.share(hits)} at {wording.number(fppi.value)} FPPI"
        curves.append(
            froc.FrocInput(identity=looks[d.name], curve=d.froc.curve, band=d.froc.band, point=point, text=text)
        )
    return froc.froc_plot(curves, images=comparison.dataset.images.get("test", 0), budget=comparison.protocol.budget)


def _slices(comparison: Comparison, looks: Mapping[str, Identity]) -> list[tuple[str, dots.DotPlot]]:
    """A plot for each way of slicing: class and size first, then as they come."""
    kinds: dict[str, dict[str, list[dots.Value]]] = {}
    for d in comparison.detectors:
        for part in d.slices:
            kinds.setdefault(part.by, {}).setdefault(part.value, []).append(_value(looks[d.name], part.fn_rate))
    found = []
    for by in sorted(kinds, key=lambda kind: (kind not in _SIDE_BY_SIDE, kind)):
        rows = [(value, "", lanes) for value, lanes in kinds[by].items()]
        found.append((by, dots.dot_plot(rows, label=_percent_tick)))
    return found


def _bars(
    comparison: Comparison, pick: Callable[[Detector], Mapping[str, int]], order: Sequence[str],
    colour: Callable[[str], str],
) -> list[tuple[Detector, int, list[stacked.Part]]]:  # fmt: skip
    """A bar for each detector, all to one scale."""
    most = max((sum(pick(d).values()) for d in comparison.detectors), default=0) or 1
    return [(d, sum(pick(d).values()), stacked.stacked(pick(d), order, colour, most)) for d in comparison.detectors]


def _pairs(comparison: Comparison) -> dots.DotPlot:
    rows = []
    for pair in comparison.pairs:
        difference = pair.fn_rate
        found = dots.Value(
            identity=palette.NEUTRAL,
            value=difference.value, interval=difference.interval, text=f"{wording.points(difference)} points",
        )  # fmt: skip
        rows.append((f"{pair.a} \u2212 {pair.b}", "", [found]))
    return dots.dot_plot(rows, label=lambda x: f"{wording.signed(100 * x, 0)}" if x else "0")


def _agreement(comparison: Comparison, looks: Mapping[str, Identity]) -> list[dict[str, Any]]:
    """Rows of the table, most detectors first; what one detector alone missed has its colour."""
    of = comparison.agreement.of
    rows = []
    for subset in sorted(comparison.agreement.subsets, key=lambda s: (-len(s.missed_by), -s.count, s.missed_by)):
        alone = len(subset.missed_by) == 1 < len(looks)
        rows.append(
            {
                "title": wording.missed_by(subset.missed_by, list(looks)),
                "missed_by": subset.missed_by,
                "rate": Rate(count=subset.count, of=of),
                "width": round(100 * subset.count / of, 3) if of else 0,
                "colour": looks[subset.missed_by[0]].colour if alone else "#555555",
            }
        )
    return rows


def _methods(comparison: Comparison) -> list[str]:
    """How the intervals of the rates were found, each way once."""
    figures = [d.test for d in comparison.detectors]
    estimates = [e for f in figures for e in (f.fn_rate, f.fppi, f.escape_rate, f.overkill_rate)]
    return sorted({i.method for e in estimates for i in (e.this_policy, e.this_threshold) if i})


def _missed(runs: panels.Runs, truth: Dataset, looks: Mapping[str, Identity]) -> list[Shelf]:
    everyone = list(runs)
    judged = [one for seeds in runs.values() for one in seeds]
    shelves = []
    for group in misses.groups(judged, truth, limit=MOST_PANELS) if judged else []:
        title = wording.missed_by(group.missed_by, everyone)
        makers = [lambda row=row: panels.defect_panel(truth, row, runs, looks) for row in group.shown]
        shelves.append(_shelf(title, len(group.defects), makers))
    return shelves


def _places(comparison: Comparison, runs: panels.Runs, truth: Dataset, looks: Mapping[str, Identity]) -> Shelf | None:
    places = comparison.suspects.alarmed_by_all
    if not places:
        return None
    makers = [lambda place=place: panels.place_panel(truth, place, runs, looks) for place in places[:MOST_PLACES]]
    return _shelf("alarmed by all, no ground truth", len(places), makers)


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


def _columns(by_detector: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Rows of a table with detectors as columns; a key that a detector lacks is None."""
    keys = dict.fromkeys(key for values in by_detector.values() for key in values)
    return [(key, [values.get(key) for values in by_detector.values()]) for key in keys]
