"""Whether the order of detectors hangs on the hit rule: misses at the same thresholds under other rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.judged import Judged, Rule
from defect_detect.evaluation.matching import Pairs, assign, overlapping
from defect_detect.evaluation.union_coverage import covered
from defect_detect.tables import Bools, Floats

IOUS = (0.1, 0.3, 0.5)
CENTRE = "centre in box"
UNION = "union coverage"
RULES = (*(f"IoU {iou:g}" for iou in IOUS), CENTRE, UNION)

Misses = Mapping[str, Mapping[str, float]]
"""Hit rule -> detector -> mean count of misses over its seeds."""


def rank_misses(entrants: Sequence[Entrant]) -> dict[str, dict[str, float]]:
    """The misses of every detector under every hit rule, at its thresholds.

    Union coverage goes by masks where the dataset and all detectors have their own, else by boxes.
    """
    measured = [entrant for entrant in entrants if entrant.measured]
    masks = all(_masked(entrant) for entrant in measured)
    counts = {
        entrant.name: np.mean([_missed(one, masks=masks) for one in entrant.judged], axis=0).tolist()
        for entrant in measured
    }
    return {rule: {name: counts[name][place] for name in counts} for place, rule in enumerate(RULES)}


def rank_stability(misses: Misses) -> dict[str, list[str]]:
    """Hit rule -> detectors from the fewest misses up, equals by name.

    >>> rank_stability({"IoU 0.5": {"a": 7.0, "b": 4.0}})
    {'IoU 0.5': ['b', 'a']}
    """
    return {rule: sorted(counts, key=lambda name: (counts[name], name)) for rule, counts in misses.items()}


def unstable(misses: Misses) -> list[str]:
    """A sentence for every two detectors of which now one, now the other misses fewer; equal counts are no order.

    >>> unstable({"IoU 0.1": {"a": 3.0, "b": 4.0}, "IoU 0.5": {"a": 7.0, "b": 4.0}})
    ['Who misses fewer hangs on the hit rule: a under IoU 0.1 (3 against 4), b under IoU 0.5 (4 against 7).']
    """
    found = []
    for a, b in combinations(next(iter(misses.values()), {}), 2):
        of_a = {rule: (counts[a], counts[b]) for rule, counts in misses.items() if counts[a] < counts[b]}
        of_b = {rule: (counts[b], counts[a]) for rule, counts in misses.items() if counts[b] < counts[a]}
        if of_a and of_b:
            found.append(f"Who misses fewer hangs on the hit rule: {_under(a, of_a)}, {_under(b, of_b)}.")
    return found


def _under(name: str, counts: Mapping[str, tuple[float, float]]) -> str:
    told = [f"{rule} ({fewer:.4g} against {more:.4g})" for rule, (fewer, more) in counts.items()]
    return f"{name} under {' and '.join([', '.join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]}"


def _masked(entrant: Entrant) -> bool:
    """Whether truth and predictions have masks, and not ones that are boxes in disguise."""
    return all(
        run.test.truth.has_masks
        and run.test.predictions.region is not None
        and (run.manifest is None or run.manifest.masks != "boxes")
        for run in entrant.contender.runs
    )


def _missed(one: Judged, *, masks: bool) -> list[int]:
    """Misses under each of RULES."""
    truth, said = one.evaluation.truth, one.evaluation.predictions
    pairs = overlapping(truth, said)
    shape = one.evaluation.matching.rule.geometry
    shaped = pairs if shape == "box" else overlapping(truth, said, shape)
    found = [_found(one, shaped, iou) for iou in IOUS]
    # Whatever overlaps at all is near enough once its centre is inside.
    found.append(_found(one, _centred(pairs, said.box, truth.defects.box), np.finfo(float).tiny))
    found.append(covered(one, masks=masks))
    return [int((~each & truth.defects.counts).sum()) for each in found]


def _found(one: Judged, pairs: Pairs, iou: float) -> Bools:
    defects = one.evaluation.truth.defects
    found_at = assign(defects, one.evaluation.predictions, pairs, Rule(iou=iou)).found_at
    found: Bools = np.isfinite(found_at) & (found_at >= one.threshold[defects.label])
    return found


def _centred(pairs: Pairs, ours: Floats, theirs: Floats) -> Pairs:
    """The pairs in which the prediction's centre lies in the defect's box."""
    centre = (ours[pairs.prediction, :2] + ours[pairs.prediction, 2:]) / 2
    box = theirs[pairs.defect]
    inside: Bools = np.all((centre >= box[:, :2]) & (centre <= box[:, 2:]), axis=1)
    return pairs.take(inside)
