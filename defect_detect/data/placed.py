"""The annotations of a file whose image and class are known; the others are left out, with the reason."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from defect_detect.data.categories import Classes
from defect_detect.data.identity import Key, key, oddity
from defect_detect.data.repairs import Log
from defect_detect.data.rows import Rows, looked_up, rows_of
from defect_detect.data.sound import place
from defect_detect.data.source import Source
from defect_detect.data.spans import numbers
from defect_detect.data.taken import Intake, leave_out
from defect_detect.tables import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """R annotations of one file with a known image and class.

    number, image, label  (R,) int64
    plain                 (R,) int64, the row of `rows.plain` for those not mentioned so far, else -1
    """

    source: int
    name: str
    rows: Rows
    number: Ints
    image: Ints
    label: Ints
    plain: Ints

    def take(self, where: Ints | Bools) -> Placed:
        """Those at these places."""
        return replace(self, number=self.number[where], image=self.image[where], label=self.label[where],
                       plain=self.plain[where])  # fmt: skip


def placed(
    index: int, source: Source, *, taken: Intake, lost: dict[Key, str], classes: Classes, log: Log
) -> Placed:  # fmt: skip
    """Those of `source`; `lost` says why an image of it is out."""
    place_ = [at for at, entry in enumerate(taken.images.entries) if entry.source == index]
    position = dict(zip([taken.images.entries[at].id for at in place_], place_, strict=True))
    rows = rows_of(source.data["annotations"])
    plain = rows.plain
    taken.given_annotations += len(rows)
    odd = rows.odd
    repeated = _repeated(plain.id, (key(raw.get("id")) for raw in odd.objects()))
    images, labels = looked_up(position, plain.image_id), looked_up(classes.label, plain.category_id)
    own = np.array([id_ for id_ in repeated if isinstance(id_, int)], np.int64)
    silent = (images >= 0) & (labels >= 0) & (plain.id != 0)
    if len(own):
        silent &= ~np.isin(plain.id, own)
    if not odd and silent.all():
        return Placed(source=index, name=source.name, rows=rows, number=plain.number, image=images, label=labels,
                     plain=np.arange(len(plain.number)))  # fmt: skip
    spoken = array("q")
    heard = np.sort(np.concatenate([odd.place, plain.number[~silent]]))
    for number, raw in zip(heard.tolist(), rows.some(heard), strict=True):
        where = place(source.name, number)
        if not isinstance(raw, dict):
            leave_out(taken, log, where, what="annotation that is not an object", before=raw, split=source.split)
            continue
        image, category = key(raw.get("image_id")), key(raw.get("category_id"))
        at = None if image is None else position.get(image)
        label = None if category is None else classes.label.get(category)
        if at is None:
            why = lost.get(image) if image is not None else None
            what = f"annotation of an image left out: {why}" if why else "annotation of an unknown image"
            leave_out(taken, log, f"{where}.image_id", what=what, before=raw.get("image_id"), split=source.split)
        elif label is None:
            leave_out(
                taken, log, f"{where}.category_id", what="annotation of an unknown category",
                before=raw.get("category_id"), split=source.split, image=at,
            )  # fmt: skip
        else:
            _ids(raw, where, repeated, log)
            spoken.extend((number, at, label))
    others = np.array(spoken, np.int64).reshape(-1, 3)
    made = Placed(
        source=index, name=source.name, rows=rows,
        number=np.concatenate([plain.number[silent], others[:, 0]]),
        image=np.concatenate([images[silent], others[:, 1]]),
        label=np.concatenate([labels[silent], others[:, 2]]),
        plain=np.concatenate([np.flatnonzero(silent), np.full(len(others), -1)]),
    )  # fmt: skip
    return made.take(np.argsort(made.number)) if len(others) else made


def _repeated(plain: Ints, odd: Iterable[Key | None]) -> set[Key]:
    """The ids that several annotations have."""
    whole, texts = array("q"), Counter[str]()
    for id_ in odd:
        if isinstance(id_, int):
            whole.append(id_)
        elif id_ is not None:
            texts[id_] += 1
    line = np.sort(np.concatenate([plain, np.array(whole, np.int64)]) if whole else plain, kind="stable")
    return {*line[1:][line[1:] == line[:-1]].tolist(), *(id_ for id_, uses in texts.items() if uses > 1)}


def _ids(raw: dict[str, Any], where: str, repeated: AbstractSet[Key], log: Log) -> None:
    own = key(raw.get("id"))
    if own is None:
        log.repaired(f"{where}.id", "annotation without id", raw.get("id"), "numbered from 1")
    elif own in repeated:
        log.repaired(f"{where}.id", "annotation id used twice", own, "numbered from 1")
    elif own == 0:
        log.repaired(f"{where}.id", "annotation id 0", 0, "numbered from 1")
    for name in ("id", "image_id", "category_id"):
        odd = oddity(raw.get(name))
        if odd:
            log.repaired(f"{where}.{name}", odd, raw[name], key(raw[name]))


def boxes(rows: Placed, size: Ints) -> tuple[Floats, Ints]:
    """The boxes that stand alone, (N, 4), and their pictures' (N, 2) width and height.

    Where there is a region, it tells what the box should be, one by one.
    """
    plain = rows.rows.plain
    alone = rows.plain >= 0
    alone[alone] = plain.kind[rows.plain[alone]] == 0
    if alone.all():
        return plain.xywh[rows.plain] if len(alone) < len(plain.number) else plain.xywh, size[rows.image]
    chosen = rows.take(alone)
    found, image = array("d"), array("q")
    spoken = np.flatnonzero(rows.plain < 0)
    for raw, at in zip(rows.rows.some(rows.number[spoken]), rows.image[spoken].tolist(), strict=True):
        box = None if raw.get("segmentation") else numbers(raw.get("bbox"))
        if box is not None:
            found.extend(box)
            image.append(at)
    return (
        np.concatenate([plain.xywh[chosen.plain], np.array(found, np.float64).reshape(-1, 4)]),
        size[np.concatenate([chosen.image, np.array(image, np.int64)])],
    )
