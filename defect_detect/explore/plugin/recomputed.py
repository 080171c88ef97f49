"""Hits, misses and reasons at another operating point, written into the dataset in place of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from defect_detect.errors import ConfigError, Fault
from defect_detect.evaluation.agreement import missed_by, suspects
from defect_detect.evaluation.review import DECISIONS
from defect_detect.explore import evaluations, names, rows, service
from defect_detect.explore.names import ALARMED, NAMESPACE, TRUTH
from defect_detect.explore.plugin.asked import in_words
from defect_detect.explore.plugin.decided import tagged
from defect_detect.explore.plugin.shown import Shown
from defect_detect.explore.samples import documents

BATCH = 200
"""Pictures written at a time."""


def recompute(dataset: Any, shown: Shown, progress: Callable[[float], None] | None = None) -> str:
    """Write the fates of all defects and predictions as `shown` has them; says what was done.

    Labels keep their ids and marks. The same call again goes through after one that was killed.

    Raises:
        ConfigError: not all detectors are shown, or the labels are corrected ones.
    """
    if shown.asked.corrected or len(shown.entrants) != len(shown.held.contenders):
        raise ConfigError(
            Fault(where="recompute", expected="all detectors, on the labels as they were compared",
                  found="some detectors" if not shown.asked.corrected else "corrected labels")
        )  # fmt: skip
    with service.quiet():
        fiftyone = service.connect()
        judged = [one for entrant in shown.entrants for one in entrant.judged]
        keys = names.keys([(one.name, one.seed) for one in judged])
        told = [rows.tell(key, number, one) for number, (key, one) in enumerate(zip(keys, judged, strict=True), 1)]
        truth = shown.held.truth
        alarmed = suspects({entrant.name: entrant.judged for entrant in shown.entrants}).alarmed_by_all
        made = documents(
            fiftyone, truth, told, missed_by(judged), alarmed,
            image_columns=names.columns(truth.images.attribute, keys),
            defect_columns=names.columns([name for name in truth.defects.attribute if name != "severity"], keys),
            sizes=shown.held.comparison.protocol.sizes, mark=dataset.info[NAMESPACE]["content"],
        )  # fmt: skip
        fields = [TRUTH, ALARMED, *(key.key + end for key in keys for end in names.ON_SAMPLE)]
        _write(dataset, made, fields, len(truth.images), progress)
        evaluations.register(dataset, shown.held.comparison, told, shown.held.folder)
        info = dict(dataset.info)
        info[NAMESPACE] = dict(info[NAMESPACE]) | {"operating": in_words(shown.asked, shown.held)}
        dataset.info = info
        dataset.save()
    return f"hits, misses and reasons are those at {in_words(shown.asked, shown.held)}"


def _write(
    dataset: Any, made: Iterator[Any], fields: Sequence[str], total: int, progress: Callable[[float], None] | None
) -> None:
    from pymongo import UpdateOne

    decided = {label: [tag for tag in tags if tag in DECISIONS] for label, tags in tagged(dataset).items()}
    done = 0
    # FiftyOne offers no way to write whole documents: `store` goes by the collection too.
    collection = dataset._sample_collection  # noqa: SLF001
    while batch := list(islice(made, BATCH)):
        for document in batch:
            labels = [
                one for field in fields if isinstance(told := document.get(field), dict) for one in told["detections"]
            ]
            for label in labels if decided else ():
                label["tags"] = [*label["tags"], *decided.get(str(label["_id"]), ())]
        collection.bulk_write(
            [UpdateOne({"_id": one["_id"]}, {"$set": {f: one[f] for f in fields if f in one}}) for one in batch],
            ordered=False,
        )
        done += len(batch)
        if progress is not None:
            progress(done / total)
    dataset.reload()
