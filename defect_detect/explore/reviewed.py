"""From what people tagged in FiftyOne to the decisions of a review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from defect_detect.errors import DatasetError, Fault
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.review import DECISIONS, VERSION, Entry, Header, Review
from defect_detect.explore.rows import defect_id, prediction_id


def decisions(tagged: Mapping[str, Sequence[str]], judged: Sequence[Judged]) -> Review:
    """The review that the tags of labels say, as `evaluation.review` reads it.

    A tag is a decision if it is one of `review.DECISIONS`, blanks and underscores alike; all other tags are left
    alone. `judged` are the runs as they were stored, on labels that no review has corrected.

    Args:
        tagged: id of a label in FiftyOne (of ground truth or of a prediction) -> its tags.
        judged: all runs, in the order in which they were stored.

    Raises:
        DatasetError: a decision on a label that no run has, or two different decisions on one label.
    """
    truth = judged[0].evaluation.truth
    defects = {defect_id(truth, row): row for row in range(len(truth.defects))}
    said = {
        prediction_id(number, row): (one, row)
        for number, one in enumerate(judged, 1)
        for row in range(len(one.evaluation.predictions))
    }
    entries: list[Entry] = []
    faults: list[Fault | str] = []
    for label in sorted(tagged):
        decided = [word for word in DECISIONS if word in {tag.replace("_", " ") for tag in tagged[label]}]
        if not decided:
            continue
        if len(decided) > 1:
            faults.append(Fault(where=f"label {label}", expected="one decision", found=" and ".join(decided)))
        elif label in defects:
            entries.append(_of_defect(judged[0], defects[label], decided[0]))
        elif label in said:
            entries.append(_of_prediction(*said[label], decided[0]))
        else:
            faults.append(Fault(where=f"label {label}", expected="a label of this comparison", found="none"))
    if faults:
        raise DatasetError(*faults)
    return Review(header=Header(review=VERSION, dataset=truth.fingerprint, split=truth.split), entries=entries)


def _of_defect(one: Judged, row: int, decision: str) -> Entry:
    truth = one.evaluation.truth
    defects = truth.defects
    x0, y0, x1, y1 = defects.box[row].tolist()
    return Entry(
        decision=decision, image=truth.images.file[defects.image[row]], box=(x0, y0, x1, y1),
        category=truth.categories[defects.label[row]].name, annotation=int(defects.id[row]),
    )  # fmt: skip


def _of_prediction(one: Judged, row: int, decision: str) -> Entry:
    truth, said = one.evaluation.truth, one.evaluation.predictions
    x0, y0, x1, y1 = said.box[row].tolist()
    return Entry(
        decision=decision, image=truth.images.file[said.image[row]], box=(x0, y0, x1, y1),
        category=truth.categories[said.label[row]].name, detector=one.name, seed=one.seed, score=float(said.score[row]),
    )  # fmt: skip
