"""report.html: one file that needs nothing else, readable on a screen, a phone and paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.judged import Judged
from defect_detect.report import glossary, palette, wording
from defect_detect.report.charts.upset import upset
from defect_detect.report.costs import costs
from defect_detect.report.sections import between, missed, reasons
from defect_detect.report.sections.detection import detection
from defect_detect.report.sections.explorer import explorer
from defect_detect.report.sections.parts import parts
from defect_detect.report.sections.placement import placement
from defect_detect.report.sections.ranks import ranks
from defect_detect.report.sections.rates import froc_plot, rates
from defect_detect.report.sections.scores import reliability
from defect_detect.tables import Dataset

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_JOINT = re.compile(r"([_./-])(?=\w)")


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
    looks = palette.identities([detector.name for detector in comparison.detectors])
    runs: dict[str, list[Judged]] = {name: [] for name in looks}
    for one in judged:
        runs[one.name].append(one)
    present = {name: found for name, found in runs.items() if found}
    froc = froc_plot(comparison, looks)
    page = environment().get_template("page.html.jinja").render(
        c=comparison,
        looks=looks,
        rates=rates(comparison, looks),
        froc=froc,
        explorer=explorer(comparison, first=froc.first),
        parts=parts(comparison, looks),
        detection=detection(comparison, looks),
        misses=reasons.misses(comparison),
        alarms=reasons.false_alarms(comparison),
        agreement=upset(comparison.agreement, looks),
        pair_plot=between.fn_rate(comparison),
        placed_plot=between.localization(comparison),
        placement=placement(comparison, looks),
        reliability=reliability(comparison, looks),
        ranks=ranks(comparison, looks),
        shelves=missed.shelves(present, truth, looks),
        places=missed.places(comparison, present, truth, looks),
        drawn={name: found[0].seed for name, found in present.items()},
        measured=_columns({d.name: d.measured for d in comparison.detectors}),
        costs=costs(measurements, list(looks)),
    )  # fmt: skip
    return tidy(page)


def tidy(page: str) -> str:
    """Without blank lines and blanks at line ends."""
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


@cache
def environment() -> Environment:
    """Every value is escaped; a name that a template lacks is an error; words and number formats are globals."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["breakable"] = breakable
    environment.globals.update(w=wording, glossary=glossary, plain=wording.plain)
    return environment


def breakable(text: str) -> Markup:
    """Escaped, with places where a long name may go on in the next line."""
    from markupsafe import Markup, escape

    return Markup(_JOINT.sub(r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped the line above


def _columns(by_detector: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Rows of a table with detectors as columns; a key that a detector lacks is None."""
    keys = dict.fromkeys(key for values in by_detector.values() for key in values)
    return [(key, [values.get(key) for values in by_detector.values()]) for key in keys]
