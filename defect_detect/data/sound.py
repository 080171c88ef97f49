"""Sound annotations as columns: what a file with hundreds of thousands of them is handled as from here on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.data.annotations import Draft
from defect_detect.data.drawn import Drawn
from defect_detect.data.identity import Key
from defect_detect.data.records import Scalar
from defect_detect.tables import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """G sound annotations, in the order of the files and of their rows in them.

    names          of the files, as messages have them
    source, number (G,) int64, the file and the place in it
    image, label   (G,) int64
    box            (G, 4) float64, x0 y0 x1 y1 px inside the picture
    area           (G,) float64, px^2
    crowd, ignore  (G,) bool
    region         G regions, of which some may be None
    source_id      G ids as in `Draft`, or (G,) int64 where all are whole numbers
    attributes     as in `Draft`
    """

    names: Sequence[str]
    source: Ints
    number: Ints
    image: Ints
    label: Ints
    box: Floats
    area: Floats
    crowd: Bools
    ignore: Bools
    region: Drawn
    source_id: Sequence[Key | None] | Ints
    attributes: Sequence[Mapping[str, Scalar]]

    def __len__(self) -> int:
        return len(self.number)

    def where(self, row: int) -> str:
        """The path of an annotation in the input."""
        return place(self.names[int(self.source[row])], int(self.number[row]))

    def id_of(self, row: int) -> Key | None:
        """The id of an annotation in its source, None where it has none."""
        ids = self.source_id
        return int(ids[row]) if isinstance(ids, np.ndarray) else ids[row]

    @property
    def ids(self) -> Sequence[Key | None]:
        """`source_id` of all of them."""
        return _listed(self.source_id)

    def draft(self, row: int) -> Draft:
        """One annotation by itself."""
        x0, y0, x1, y1 = self.box[row].tolist()
        return Draft(
            where=self.where(row), image=int(self.image[row]), label=int(self.label[row]), box=(x0, y0, x1, y1),
            area=float(self.area[row]), crowd=bool(self.crowd[row]), ignore=bool(self.ignore[row]),
            region=self.region[row], source_id=self.id_of(row), attributes=self.attributes[row],
        )  # fmt: skip

    def take(self, rows: Ints) -> Sound:
        """The annotations at these places, in this order."""
        listed, ids = rows.tolist(), self.source_id
        return Sound(
            names=self.names, source=self.source[rows], number=self.number[rows], image=self.image[rows],
            label=self.label[rows], box=self.box[rows], area=self.area[rows], crowd=self.crowd[rows],
            ignore=self.ignore[rows], region=self.region.take(rows),
            source_id=ids[rows] if isinstance(ids, np.ndarray) else [ids[row] for row in listed],
            attributes=[self.attributes[row] for row in listed],
        )  # fmt: skip


def _listed(ids: Sequence[Key | None] | Ints) -> Sequence[Key | None]:
    listed: Sequence[Key | None] = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return listed


_NOTHING: Mapping[str, Scalar] = {}


def place(name: str, number: int) -> str:
    """The path of an annotation of the file `name`."""
    return f"{name}: annotations[{number}]"


def of_drafts(names: Sequence[str], source: int, numbered: Sequence[tuple[int, Draft]]) -> Sound:
    """Drafts of one file, with their places in it."""
    made = [draft for _, draft in numbered]
    return Sound(
        names=names,
        source=np.full(len(made), source, np.int64),
        number=np.array([number for number, _ in numbered], np.int64),
        image=np.array([each.image for each in made], np.int64),
        label=np.array([each.label for each in made], np.int64),
        box=np.array([each.box for each in made], np.float64).reshape(-1, 4),
        area=np.array([each.area for each in made], np.float64),
        crowd=np.array([each.crowd for each in made], np.bool_),
        ignore=np.array([each.ignore for each in made], np.bool_),
        region=Drawn.of_objects([each.region for each in made]),
        source_id=[each.source_id for each in made],
        attributes=[each.attributes or _NOTHING for each in made],
    )


def joined(names: Sequence[str], parts: Sequence[Sound]) -> Sound:
    """All of them, by file and place."""
    full = [each for each in parts if len(each)]
    if len(full) == 1:
        return full[0]
    parts = full or [of_drafts(names, 0, [])]
    made = Sound(
        names=names,
        source=np.concatenate([each.source for each in parts]),
        number=np.concatenate([each.number for each in parts]),
        image=np.concatenate([each.image for each in parts]),
        label=np.concatenate([each.label for each in parts]),
        box=np.concatenate([each.box for each in parts]),
        area=np.concatenate([each.area for each in parts]),
        crowd=np.concatenate([each.crowd for each in parts]),
        ignore=np.concatenate([each.ignore for each in parts]),
        region=Drawn.joined([each.region for each in parts]),
        source_id=[id_ for each in parts for id_ in each.ids],
        attributes=[fields for each in parts for fields in each.attributes],
    )
    return made.take(np.lexsort((made.number, made.source)))
