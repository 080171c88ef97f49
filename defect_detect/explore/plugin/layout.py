"""What the panel looks like: FiftyOne's components around the tables of `sheets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fiftyone.operators import types

from defect_detect.evaluation.review import DECISIONS
from defect_detect.explore.columns import Columns
from defect_detect.explore.plugin.asked import IOUS, MIDDLE, SCORE, SCORES, STORED, Asked, first, offered
from defect_detect.explore.plugin.sheets import Sheet

Handler = Callable[[Any], Any]

TABS = {"agreement": "Agreement", "parts": "Where", "reasons": "Why", "misses": "List", "review": "Review"}
ORDERS = {
    "size-": "largest first", "size+": "smallest first", "score-": "best candidate first",
    "score+": "worst candidate first", "class+": "by class",
}  # fmt: skip
WIDTH = {"container": {"sx": {"minWidth": 150}}}


def settings(panel: Any, held: Columns, wanted: Asked, changed: Handler) -> None:
    """Detectors, rule and operating point.

    Their defaults never change: the App takes a new default for something that was set, and sets it back.
    """
    row = panel.h_stack("settings", gap=2, align_y="center", componentsProps={"grid": {"sx": {"flexWrap": "wrap"}}})
    _choice(row, "operating", "Operating point", _operating(held), value=STORED, changed=changed)
    whole = held.comparison.protocol.iou
    ious = {f"{iou:g}": f"IoU ≥ {iou:g}" for iou in sorted({*IOUS, whole})}
    _choice(row, "iou", "A hit needs", ious, value=f"{whole:g}", changed=changed)
    if held.comparison.protocol.geometry == "mask" or _masked(held):
        _choice(
            row,
            "geometry",
            "of",
            {"box": "boxes", "mask": "masks"},
            value=held.comparison.protocol.geometry,
            changed=changed,
        )
    who = types.DropdownView(multiple=True, label="Detectors", componentsProps=WIDTH)
    for name in held.names:
        who.add_choice(name, label=name)
    row.list("detectors", types.String(), view=who, default=list(held.names), on_change=changed)
    if wanted.operating == SCORE:
        _slider(panel, "score", "Threshold", MIDDLE, changed)
    elif wanted.operating == SCORES:
        for name in wanted.names:
            _slider(panel, f"score_{held.names.index(name)}", name, first(held, name), changed)


def table(panel: Any, name: str, sheet: Sheet, clicked: Handler, *, cell: bool = False) -> None:
    """A table whose rows (or cells) can be clicked; its data is set apart."""
    view = types.TableView(**({"on_click_cell": clicked} if cell else {"on_click_row": clicked}))
    for place, head in enumerate(sheet.columns):
        view.add_column(f"c{place}", label=head)
    panel.obj(name, view=view)


def data(sheet: Sheet) -> list[dict[str, str]]:
    """A table's rows as FiftyOne wants them."""
    return [
        {"id": str(number)} | {f"c{place}": text for place, text in enumerate(row)}
        for number, row in enumerate(sheet.rows)
    ]


def tabs(panel: Any, changed: Handler) -> None:
    """The tabs."""
    view = types.TabsView(variant="rounded")
    for value, label in TABS.items():
        view.add_choice(value, label=label)
    panel.enum("tab", view.values(), view=view, default=next(iter(TABS)), on_change=changed)


def listing(panel: Any, kinds: Mapping[str, str], changed: Handler) -> None:
    """Which misses are listed, in which order."""
    row = panel.h_stack("listing", gap=2)
    _choice(row, "which", "Defects", kinds, value=next(iter(kinds)), changed=changed)
    _choice(row, "order", "Order", ORDERS, value=next(iter(ORDERS)), changed=changed)


def buttons(panel: Any, name: str, told: Sequence[tuple[str, str, Handler, Mapping[str, Any]]]) -> None:
    """Buttons beside each other: (name, label, what is called, its params)."""
    row = panel.h_stack(name, gap=1, componentsProps={"grid": {"sx": {"flexWrap": "wrap"}}})
    for key, label, clicked, params in told:
        row.btn(key, label=label, on_click=clicked, params=dict(params), variant="outlined")


def decisions(panel: Any, clicked: Handler) -> None:
    """One button for each decision, and one that takes it away."""
    buttons(panel, "decisions", [(word.replace(" ", "_"), word, clicked, {"decision": word}) for word in DECISIONS])


def _operating(held: Columns) -> dict[str, str]:
    known = {STORED: f"as compared: {held.comparison.protocol.policy}", SCORE: "drag one threshold for all",
             SCORES: "drag a threshold for each"}  # fmt: skip
    return known | {policy: f"{policy} on val" for policy in offered(held)}


def _masked(held: Columns) -> bool:
    said = (run.test.predictions for one in held.contenders for run in one.runs)
    return held.truth.has_masks and all(one.region is not None or not len(one) for one in said)


def _choice(row: Any, name: str, label: str, choices: Mapping[str, str], *, value: str, changed: Handler) -> None:
    view = types.DropdownView(label=label, componentsProps=WIDTH)
    for one, text in choices.items():
        view.add_choice(one, label=text)
    row.enum(name, view.values(), view=view, default=value, on_change=changed)


def _slider(panel: Any, name: str, label: str, value: float, changed: Handler) -> None:
    view = types.SliderView(label=label, label_position="left", value_precision=3, view_multiple_of=0.001)
    panel.float(name, min=0.0, max=1.0, view=view, default=value, on_change=changed)
