"""The pictures of an audit: a sheet of each class, and the labels that are worth a second look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from defect_detect.data import audit_labels, pixels, similar
from defect_detect.data.audited import Alike, Suspect
from defect_detect.errors import DatasetError
from defect_detect.report import gallery, panels
from defect_detect.report.sections.missed import Shelf
from defect_detect.tables import Dataset

A_CLASS, A_KIND = 12, 8
_GROUPS = 6
_ALL, _FEWEST = 240, 3
"""Cards of all classes together, and of one where classes are many."""

_TITLES = {
    audit_labels.OTHER_CLASS: "Two boxes of different classes on one place",
    audit_labels.SAME_CLASS: "Two boxes of one class on one place",
    audit_labels.WHOLE: "A box around almost the whole picture",
    audit_labels.SPECK: "A box under 2 px wide or high",
    audit_labels.UNUSUAL: "A size unusual for the class",
}


def sheets(splits: Sequence[Dataset], *, seed: int = 0) -> list[Shelf]:
    """For each class up to 12 of its defects, drawn at random over all splits; fewer where classes are many."""
    categories = splits[0].categories
    most = max(_FEWEST, min(A_CLASS, _ALL // max(len(categories), 1)))
    found = []
    for label, category in enumerate(categories):
        there = [
            (place, int(row))
            for place, data in enumerate(splits)
            for row in np.flatnonzero(data.defects.counts & (data.defects.label == label))
        ]
        order = np.random.default_rng([seed, label]).permutation(len(there))[:most]
        makers = [lambda at=there[k]: _card(splits[at[0]], at[1]) for k in sorted(order.tolist())]
        found.append(_shelf(category.name, len(there), makers))
    return found


def second_looks(splits: Sequence[Dataset], suspects: Sequence[Suspect]) -> list[Shelf]:
    """For each kind the clearest eight."""
    by_name = {data.split: data for data in splits}
    rows = {data.split: {int(number): row for row, number in enumerate(data.defects.id)} for data in splits}
    found = []
    for kind in audit_labels.KINDS:
        those = [one for one in suspects if one.kind == kind]
        makers = [
            lambda one=one: _card(by_name[one.split], rows[one.split][one.annotation], said(one))
            for one in those[:A_KIND]
        ]
        if those:
            found.append(_shelf(_TITLES[kind], len(those), makers))
    return found


def alike(splits: Sequence[Dataset], groups: Sequence[Alike]) -> list[Shelf]:
    """Of the groups that are most alike, the two pictures nearest to each other."""
    by_name = {data.split: data for data in splits}
    found = []
    for one in sorted(groups, key=lambda group: group.bits)[:_GROUPS]:
        makers = [lambda split=split, name=name: _whole(by_name[split], name) for split, name in one.nearest.items()]
        of = sum(len(files) for files in one.files.values())
        found.append(_shelf(f"{one.bits} of {similar.BITS} bits differ; pictures in the group", of, makers))
    return found


def said(one: Suspect) -> str:
    """What is odd about a label, in a few words."""
    if one.kind in (audit_labels.OTHER_CLASS, audit_labels.SAME_CLASS):
        return f"{one.other_category} on the same place, IoU {one.value:.2f}"
    if one.kind == audit_labels.WHOLE:
        return f"{100 * one.value:.0f} % of the picture"
    if one.kind == audit_labels.SPECK:
        return f"{one.value:.2g} px wide or high"
    if one.value > 1:
        return f"{one.value:.1f} times the class's usual side"
    return f"the class's usual side is {1 / one.value:.1f} times as long"


def _card(data: Dataset, row: int, what: str = "") -> panels.Panel:
    panel = panels.defect_panel(data, row, {}, {})
    where = f"{data.split}, {panel.where}"
    return replace(panel, where=where, size=f"{panel.size}; {what}" if what else panel.size)


def _whole(data: Dataset, name: str) -> panels.Panel:
    picture = gallery.Crop(pixels=pixels.read(data.root / name), x=0, y=0)
    return panels.Panel(
        uri=gallery.uri(picture), width=picture.width, height=picture.height, truth=None, outline="", neighbours=(),
        marks=(), category=data.split, size=f"{picture.width} \u00d7 {picture.height} px", file=name,
        where="whole picture", fates=(),
    )  # fmt: skip


def _shelf(title: str, of: int, makers: Sequence[Callable[[], panels.Panel]]) -> Shelf:
    """The cards; a picture that can't be read costs its card only."""
    made, unreadable = [], 0
    for make in makers:
        try:
            made.append(make())
        except DatasetError:
            unreadable += 1
    return Shelf(title=title, of=of, panels=tuple(made), unreadable=unreadable)
