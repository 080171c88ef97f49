"""A comparison as a persistent FiftyOne dataset.

It is written under another name and renamed as the last step: one that looks whole is whole. What was interrupted, or
killed, is gone on with when the same comparison is stored again. A dataset that is someone else's is never touched,
whatever it is called.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from defect_detect import job
from defect_detect.errors import RunFailed
from defect_detect.evaluation.agreement import missed_by
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.judged import Judged
from defect_detect.explore import datasets, evaluations, names, schema, service, strays, views
from defect_detect.explore.names import NAMESPACE
from defect_detect.explore.plugin import workspace
from defect_detect.explore.rows import BELOW_PER_IMAGE, FLOOR, Told, tell
from defect_detect.explore.samples import documents
from defect_detect.explore.writing import write, written
from defect_detect.tables import Dataset

SCHEMA = 2
"""Raise it when what is written changes, so that older datasets are written again."""

_SAID = 300
"""Characters of what a database says."""

Progress = Callable[[int, int], None]
"""Told (pictures written, of all)."""


def store(
    name: str,
    comparison: Comparison,
    judged: Sequence[Judged],
    truth: Dataset,
    *,
    folder: Path,
    progress: Progress | None = None,
) -> str:
    """Write the comparison in `folder` as a persistent dataset and return the dataset's name.

    `name` is what people call the comparison. A dataset of this folder with the same content is left as
    it is, with all that people marked in it; one with other content is replaced. On resuming, `progress` begins where
    it stood.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
        RunFailed: the database failed while it was written to (no space, say).
        ValueError: `judged` isn't about `truth`.
    """
    _check(judged, truth)
    with service.quiet():
        fiftyone = service.connect()
        whole, old = datasets.place(fiftyone, folder)
        info = _info(name, folder, comparison, judged, truth)
        if old is not None and datasets.complete(old) and old.info[NAMESPACE]["content"] == info["content"]:
            return whole
        keys = names.keys([(run.name, run.seed) for run in judged])
        told = [tell(key, number, run) for number, (key, run) in enumerate(zip(keys, judged, strict=True), 1)]
        dataset = datasets.unfinished(fiftyone, folder, info["content"])
        datasets.sweep(fiftyone, folder, but=dataset)
        try:
            if dataset is None:
                dataset = fiftyone.Dataset(f"{whole}{datasets.PARTIAL}{os.urandom(4).hex()}", persistent=True)
            dataset.info = {NAMESPACE: info}
            dataset.save()
            _write(fiftyone, dataset, comparison, told, progress)
            evaluations.register(dataset, comparison, told, folder)
            dataset.info = {NAMESPACE: info | {"complete": True, "runs": [_run_info(run) for run in told]}}
            dataset.save()
            if old is not None:
                old.delete()
            dataset.name = whole  # the last step: what bears this name is whole
        except Exception as error:
            if dataset is not None:
                with contextlib.suppress(Exception):  # the first error is the one to hear of
                    dataset.delete()
            if isinstance(error, _database_errors()):
                # A failed write repeats the documents that it was to write.
                raise RunFailed(f"FiftyOne's database failed: {type(error).__name__}: {str(error)[:_SAID]}") from error
            raise
    return whole


def _write(
    fiftyone: ModuleType,
    dataset: Any,
    comparison: Comparison,
    told: Sequence[Told],
    progress: Progress | None,
) -> None:
    runs, truth = [run.key for run in told], told[0].judged.evaluation.truth
    image = truth.images.attribute
    defect = {name: column for name, column in truth.defects.attribute.items() if name != "severity"}
    image_columns, defect_columns = names.columns(image, runs), names.columns(defect, runs)
    schema.declare(
        fiftyone,
        dataset,
        runs,
        {field: image[name] for name, field in image_columns.items()},
        {field: defect[name] for name, field in defect_columns.items()},
    )
    rows = documents(
        fiftyone,
        truth,
        told,
        missed_by([run.judged for run in told]),
        comparison.suspects.alarmed_by_all,
        image_columns=image_columns,
        defect_columns=defect_columns,
        sizes=comparison.protocol.sizes,
        mark=dataset.info[NAMESPACE]["content"],
        first=(done := written(dataset)),
    )
    write(fiftyone, dataset, rows, lambda more: progress and progress(done + more, len(truth.images)))
    dataset.app_config = schema.appearance(fiftyone, runs, list(image_columns.values()))
    strays.forget(dataset)
    views.save(fiftyone, dataset, runs)
    workspace.save(fiftyone, dataset)


def _info(name: str, folder: Path, comparison: Comparison, judged: Sequence[Judged], truth: Dataset) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "comparison": name,
        "content": _content(folder, comparison, judged, truth),
        "split": truth.split,
        "fingerprint": truth.fingerprint,
        "left_out": f"predictions under the operating point that score below {FLOOR} or are not among the best "
        f"{BELOW_PER_IMAGE} of their picture; hits and whatever explains a miss are all here",
    } | datasets.owner(folder)


def _run_info(told: Told) -> dict[str, Any]:
    return {
        "detector": told.key.detector,
        "seed": told.key.seed,
        "key": told.key.key,
        "below": told.key.below,
        "predictions": len(told.stored),
        "left_out": told.left_out,
    }


def _content(folder: Path, comparison: Comparison, judged: Sequence[Judged], truth: Dataset) -> str:
    # The folder too, for samples get their ids of it: the App tells those of two datasets apart by them.
    digest = hashlib.sha256(f"{SCHEMA} {folder.resolve()} {truth.fingerprint} {truth.root.resolve()}".encode())
    digest.update(job.encode(comparison))
    for run in judged:
        predictions = run.evaluation.predictions
        digest.update(f"{run.name} {run.seed} {run.evaluation.matching.rule}".encode())
        for column in (run.threshold, run.found, run.candidate, predictions.image, predictions.box, predictions.score):
            digest.update(column.tobytes())
        digest.update("\n".join([*run.reason.tolist(), *run.outcome.tolist()]).encode())
    return digest.hexdigest()


def _database_errors() -> tuple[type[Exception], ...]:
    from mongoengine.errors import MongoEngineException  # type: ignore[import-untyped]  # it has no types
    from pymongo.errors import PyMongoError

    return (MongoEngineException, PyMongoError)


def _check(judged: Sequence[Judged], truth: Dataset) -> None:
    if not judged:
        raise ValueError("nothing to store: no run was judged")
    for run in judged:
        if len(run.found) != len(truth.defects) or run.evaluation.truth.fingerprint != truth.fingerprint:
            raise ValueError(f"{run.name} seed {run.seed} was judged on other data than {truth.split}")
