"""audit.html: one file that needs nothing else, in the look of report.html."""

from __future__ import annotations

from collections.abc import Sequence

from defect_detect.data import audit_inputs
from defect_detect.data.audited import Audit, ClassCounts, Loss, Range
from defect_detect.report import audit_sheet, page, palette, wording
from defect_detect.report.charts.axis import LogAxis
from defect_detect.report.charts.dots import DotPlot, Lane, Row
from defect_detect.report.palette import Identity
from defect_detect.tables import Dataset

_SIDES = ("long side", "short side")
HERE = {"kept": "kept", "lost": "lost here too"}


def render(found: Audit, splits: Sequence[Dataset], *, seed: int = 0) -> str:
    """The page. The same input gives the same bytes.

    Args:
        found: the figures.
        splits: the dataset they are of, whose pictures are cut up.
        seed: of the defects drawn for the sheets.
    """
    looks = palette.identities(_SIDES)
    text = page.environment().get_template("audit.html.jinja").render(
        a=found,
        lead=lead(found),
        limits=[str(limit) for limit in audit_inputs.LIMITS],
        looks=looks,
        sizes=_sizes(found.classes, looks),
        losses=by_framework(found.losses),
        here=HERE,
        sheets=audit_sheet.sheets(splits, seed=seed),
        alike=audit_sheet.alike(splits, found.alike or ()),
        second_looks=audit_sheet.second_looks(splits, found.suspects),
    )  # fmt: skip
    return page.tidy(text)


def lead(found: Audit) -> str:
    """How much there is, in a sentence."""
    defects = wording.plural(sum(one.defects for one in found.splits), "defect")
    images = wording.plural(sum(one.images for one in found.splits), "image")
    classes = wording.plural(len(found.classes), "class", "classes")
    free = sum(one.defect_free for one in found.splits)
    return f"{defects} of {classes} in {images}, {free:,} of them defect-free."


def by_framework(losses: Sequence[Loss]) -> dict[str, list[Loss]]:
    """The rules of each framework."""
    found: dict[str, list[Loss]] = {}
    for one in losses:
        found.setdefault(one.framework, []).append(one)
    return found


def _sizes(classes: Sequence[ClassCounts], looks: dict[str, Identity]) -> DotPlot | None:
    """Medians and what lies between the 10 and 90 % quantiles, by class; None where there is nothing to draw."""
    ranges = [found for one in classes for found in (one.long_side, one.short_side) if found is not None]
    if not ranges:
        return None
    low, high = min(found.low for found in ranges), max(found.high for found in ranges)
    # Some room, so that an axis over one size is one.
    axis = LogAxis(low=low / 1.2, high=high * 1.2)
    rows = tuple(
        Row(
            label=one.name,
            note="",
            lanes=tuple(
                _lane(found, looks[name], axis)
                for name, found in zip(_SIDES, (one.long_side, one.short_side), strict=True)
            ),
        )
        for one in classes
    )  # fmt: skip
    return DotPlot(rows=rows, ticks=axis.ticks())


def _lane(found: Range | None, look: Identity, axis: LogAxis) -> Lane:
    if found is None:
        return Lane(identity=look, at=None, low=None, high=None, text=wording.NOTHING)
    return Lane(
        identity=look, at=axis.place(found.median), low=axis.place(found.low), high=axis.place(found.high),
        text=f"{found.median:.3g} px ({found.least:.3g} to {found.most:.3g})",
    )  # fmt: skip
