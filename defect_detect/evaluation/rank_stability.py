"""Whether the order of detectors hangs on the hit rule: misses at the same thresholds under other rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.evaluation.matching import Pairs, assign, overlapping
from defect_detect.tables import Bools, Floats

IOUS = (0.1, 0.3, 0.5)
CENTRE = "centre in box"


def rank_stability(entrants: Sequence[Entrant]) -> dict[str, list[str]]:
    """Hit rule -> detectors from the fewest misses up, equals by name. Union coverage is not among them yet."""
    counts = {entrant.name: _misses(entrant.judged) for entrant in entrants if entrant.measured}
    rules = [f"IoU {iou:g}" for iou in IOUS] + [CENTRE]
    return {rule: sorted(counts, key=lambda name: (counts[name][rule], name)) for rule in rules}


def _misses(judged: Sequence[Judged]) -> dict[str, float]:
    """Mean count of misses over a detector's seeds, by rule."""
    names = [f"IoU {iou:g}" for iou in IOUS] + [CENTRE]
    counts = np.mean([[_missed(one, iou) for iou in (*IOUS, None)] for one in judged], axis=0)
    return dict(zip(names, counts.tolist(), strict=True))


def _missed(one: Judged, iou: float | None) -> int:
    truth, said = one.evaluation.truth, one.evaluation.predictions
    pairs = overlapping(truth, said)
    if iou is None:
        pairs = _centred(pairs, said.box, truth.defects.box)
    # Whatever overlaps at all is near enough once its centre is inside.
    rule = Rule(iou=np.finfo(float).tiny if iou is None else iou)
    found_at = assign(truth.defects, said, pairs, rule).found_at
    missed = ~(np.isfinite(found_at) & (found_at >= one.threshold[truth.defects.label]))
    return int((missed & truth.defects.counts).sum())


def _centred(pairs: Pairs, ours: Floats, theirs: Floats) -> Pairs:
    """The pairs in which the prediction's centre lies in the defect's box."""
    centre = (ours[pairs.prediction, :2] + ours[pairs.prediction, 2:]) / 2
    box = theirs[pairs.defect]
    inside: Bools = np.all((centre >= box[:, :2]) & (centre <= box[:, 2:]), axis=1)
    return pairs.take(inside)
