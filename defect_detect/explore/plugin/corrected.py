"""The comparison with its labels as the marks correct them."""

from __future__ import annotations

import threading
from dataclasses import replace

from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.adjudicate import reviewed
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import scored
from defect_detect.explore.columns import Columns
from defect_detect.explore.plugin import decided


def corrected(held: Columns) -> tuple[Columns, object]:
    """The comparison on corrected labels, matched by the same rule, and what tells one state of the marks from another.

    Thresholds stay what a policy chose on val. Without marks, the comparison as it is.

    Raises:
        DatasetError: the marks contradict each other, or the file isn't a review.
    """
    path = held.folder / decided.FILE
    if not path.exists():
        return held, None
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    key = (held.folder, id(held.contenders), held.rule, stamp)
    with _LOCK:
        kept = _kept.get(key)
        if kept is None or kept[0] is not held:
            _kept.clear()
            kept = _kept[key] = (held, _corrected(held))
        return kept[1], stamp


_LOCK = threading.RLock()
_kept: dict[object, tuple[Columns, Columns]] = {}


def _corrected(held: Columns) -> Columns:
    contenders = tuple(
        replace(one, runs=tuple(
            replace(run, test=evaluate(run.test.truth, run.test.predictions, held.rule)) for run in one.runs
        ))
        for one in decided.unreviewed(held.folder).contenders
    )  # fmt: skip
    found = reviewed(contenders, reviews.read(held.folder / decided.FILE))
    return replace(
        held, contenders=found, tables={one.name: tuple(scored(run.test) for run in one.runs) for one in found}
    )
