"""Who missed what: every subset of detectors, their union, and labels that all detectors doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from defect_detect import geometry
from defect_detect.evaluation.comparison import Agreement, Place, Rate, Subset, Suspects
from defect_detect.evaluation.judged import Judged
from defect_detect.tables import Bools, Dataset, Floats, Ints

SAME_PLACE = 0.5

Field = Mapping[str, Sequence[Judged]]
"""All seeds of each detector, by its name."""


def mostly_missed(judged: Sequence[Judged]) -> Bools:
    """(D,) of the defects that count: missed by more than half of a detector's seeds."""
    counts = judged[0].evaluation.truth.defects.counts
    misses = sum((~one.found[counts]).astype(np.int64) for one in judged)
    return np.asarray(misses * 2 > len(judged))


def missed_by(judged: Sequence[Judged]) -> dict[str, Bools]:
    """Detector -> (G,) bool, in order of appearance: the defect counts and more than half of its seeds missed it.

    What 'missed by' means everywhere: in the table of subsets, in the report's gallery, in FiftyOne.

    >>> from defect_detect.evaluation import example
    >>> missed_by([example.judged(0.5)])["a"].tolist()
    [False, False, True]
    """
    counts = judged[0].evaluation.truth.defects.counts if judged else np.zeros(0, np.bool_)
    found: dict[str, Bools] = {}
    for name in dict.fromkeys(one.name for one in judged):
        found[name] = np.zeros(len(counts), np.bool_)
        found[name][counts] = mostly_missed([one for one in judged if one.name == name])
    return found


def agreement(field: Field) -> Agreement:
    """Defects missed by exactly each subset of detectors, and what remains when all run side by side.

    >>> from defect_detect.evaluation import example
    >>> agreement({"a": [example.judged(0.5)], "b": [example.judged(0.65)]}).subsets
    [Subset(missed_by=[], count=1), Subset(missed_by=['b'], count=1), Subset(missed_by=['a', 'b'], count=1)]
    """
    names = list(field)
    missed = np.stack([mostly_missed(field[name]) for name in names], axis=1)
    counted = Counter(map(tuple, missed.tolist()))
    subsets = [
        Subset(missed_by=[name for name, miss in zip(names, row, strict=True) if miss], count=count)
        for row, count in sorted(counted.items(), key=lambda item: (sum(item[0]), [not miss for miss in item[0]]))
    ]
    rounds = max(len(seeds) for seeds in field.values())
    images = len(next(iter(field.values()))[0].evaluation.truth.images)
    alarms = sum(_places([seeds[turn % len(seeds)] for seeds in field.values()]) for turn in range(rounds))
    return Agreement(
        of=len(missed),
        subsets=subsets,
        union_fn_rate=Rate(count=int(missed.all(axis=1).sum()), of=len(missed)),
        union_fppi=Rate(count=alarms, of=images * rounds),
    )


def false_alarms(one: Judged) -> Ints:
    """Rows of the predictions at the operating point that hit nothing."""
    return np.flatnonzero(~np.isin(one.outcome, ("hit", "absorbed", "below_threshold")))


def _places(together: Sequence[Judged]) -> int:
    """False alarms of detectors run side by side: alarms of one label at IoU >= 0.5 are one place.

    Only alarms of different detectors are joined: a detector's own doubles stay as many as they are.
    """
    from scipy import sparse
    from scipy.sparse import csgraph

    rows = [false_alarms(one) for one in together]
    said = [one.evaluation.predictions.take(row) for one, row in zip(together, rows, strict=True)]
    start = np.cumsum([0, *map(len, rows)])
    edges: list[Ints] = []
    for a in range(len(said)):
        for b in range(a):
            first, second = _same_place(said[a].image, said[a].box, said[b].image, said[b].box)
            same = said[a].label[first] == said[b].label[second]
            edges.append(np.stack([first[same] + start[a], second[same] + start[b]]))
    total = int(start[-1])
    if total == 0:
        return 0
    joined = np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), np.int64)
    graph = sparse.coo_matrix((np.ones(joined.shape[1]), (joined[0], joined[1])), shape=(total, total))
    count, _ = csgraph.connected_components(graph, directed=False)
    return int(count)


def _same_place(image_a: Ints, box_a: Floats, image_b: Ints, box_b: Floats) -> tuple[Ints, Ints]:
    """Pairs of rows whose boxes lie in one picture at IoU >= 0.5."""
    order = np.argsort(image_b, kind="stable")
    first = np.searchsorted(image_b[order], image_a, side="left")
    count = np.searchsorted(image_b[order], image_a, side="right") - first
    a = np.repeat(np.arange(len(image_a)), count)
    within = np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count)
    b = order[np.repeat(first, count) + within]
    near = geometry.paired_iou(box_a[a], box_b[b]) >= SAME_PLACE
    return a[near], b[near]


def suspects(field: Field) -> Suspects:
    """Ground truth that all detectors miss, and places where all alarm and there is no ground truth.

    With one detector there is nobody to agree with: nothing is suspected.

    >>> from defect_detect.evaluation import example
    >>> field = {"a": [example.judged()], "b": [example.judged()]}
    >>> suspects(field).missed_by_all
    [Place(image='b.png', box=[30.0, 30.0, 50.0, 50.0], category='pit', annotation_id=3)]
    """
    if len(field) < 2:  # noqa: PLR2004 - it takes two to agree
        return Suspects(missed_by_all=[], alarmed_by_all=[])
    truth = next(iter(field.values()))[0].evaluation.truth
    rows = np.flatnonzero(truth.defects.counts)
    missed = np.all([~one.found[rows] for seeds in field.values() for one in seeds], axis=0)
    return Suspects(
        missed_by_all=[
            _place(truth, int(truth.defects.image[d]), truth.defects.box[d], int(truth.defects.label[d]), d)
            for d in rows[missed]
        ],
        alarmed_by_all=_alarmed_by_all(truth, [field[name][0] for name in sorted(field)]),
    )


def _alarmed_by_all(truth: Dataset, together: Sequence[Judged]) -> list[Place]:
    """Places by the first seed of each detector, as the first detector in the alphabet boxes them."""
    alarms = []
    for one in together:
        said = one.evaluation.predictions.take(false_alarms(one))
        near, _ = _same_place(said.image, said.box, truth.defects.image, truth.defects.box)
        nowhere = np.ones(len(said), np.bool_)
        nowhere[near] = False
        alarms.append(said.take(nowhere))
    first = alarms[0]
    agreed = np.ones(len(first), np.bool_)
    for other in alarms[1:]:
        near, _ = _same_place(first.image, first.box, other.image, other.box)
        agreed &= np.isin(np.arange(len(first)), near)
    order = np.flatnonzero(agreed)[np.argsort(-first.score[agreed], kind="stable")]
    return [_place(truth, int(first.image[p]), first.box[p], int(first.label[p])) for p in order]


def _place(truth: Dataset, image: int, box: Floats, label: int, defect: int | None = None) -> Place:
    return Place(
        image=truth.images.file[image],
        box=[float(value) for value in box],
        category=truth.categories[label].name,
        annotation_id=None if defect is None else int(truth.defects.id[defect]),
    )
