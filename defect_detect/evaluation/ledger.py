"""The ledger: one row for every defect that counts, detector and seed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from defect_detect import geometry
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.slices import severity, size_bin


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one defect with one trained model. Box in px; None: there is none."""

    detector: str
    seed: int
    split: str
    image: str
    annotation_id: int
    source_id: int | str
    category: str
    severity: str
    size: str
    area: float
    x0: float
    y0: float
    x1: float
    y1: float
    group: str
    found: bool
    score: float | None
    """Of the prediction that found it."""
    threshold: float | None
    """None: the policy is unreachable, nothing counts."""
    iou: float | None
    reason: str
    """Why it was missed; empty where it was found."""
    candidate_score: float | None
    """Of the prediction that found it or explains the miss."""
    candidate_label: str
    candidate_iou: float | None
    prediction: int | None
    """Its row among the predictions in canonical order."""


def rows(judged: Sequence[Judged], sizes: Sequence[float] = ()) -> list[Row]:
    """Detector by detector, seed by seed, in the order of the defects; `sizes` are the edges of the size bins.

    >>> from defect_detect.evaluation import example
    >>> [(row.image, row.category, row.found, row.reason) for row in rows([example.judged()])]
    [('a.png', 'crack', True, ''), ('a.png', 'pit', True, ''), ('b.png', 'pit', False, 'misclassified')]
    """
    return [row for one in judged for row in _of(one, sizes)]


def _of(one: Judged, edges: Sequence[float]) -> list[Row]:
    truth, said, matching = one.evaluation.truth, one.evaluation.predictions, one.evaluation.matching
    defects, severities, sizes = truth.defects, severity(truth), size_bin(truth, edges)
    result = []
    for d in defects.counts.nonzero()[0].tolist():
        candidate, found = int(one.candidate[d]), bool(one.found[d])
        threshold = float(one.threshold[defects.label[d]])
        pair = defects.box[d : d + 1], said.box[candidate : candidate + 1]
        x0, y0, x1, y1 = defects.box[d].tolist()
        some = candidate >= 0
        result.append(Row(
            detector=one.name, seed=one.seed, split=truth.split, image=truth.images.file[defects.image[d]],
            annotation_id=int(defects.id[d]), source_id=defects.source_id[d],
            category=truth.categories[defects.label[d]].name, severity=str(severities[d]), size=str(sizes[d]),
            area=float(defects.area[d]), x0=x0, y0=y0, x1=x1, y1=y1,
            group=str(truth.images.group[defects.image[d]]), found=found,
            score=float(matching.found_at[d]) if found else None,
            threshold=threshold if threshold != float("inf") else None,
            iou=float(matching.iou[d]) if found else None, reason=str(one.reason[d]),
            candidate_score=float(said.score[candidate]) if some else None,
            candidate_label=truth.categories[said.label[candidate]].name if some else "",
            candidate_iou=float(geometry.paired_iou(*pair)[0]) if some else None,
            prediction=candidate if some else None,
        ))  # fmt: skip
    return result
