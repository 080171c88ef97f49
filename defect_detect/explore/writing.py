"""Documents of samples into a dataset's collection, a few at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from defect_detect.explore.objects import Document

BATCH = 100


def written(dataset: Any) -> int:
    """How many documents there are, counted.

    `len(dataset)` asks MongoDB for its own note of it, which is wrong after MongoDB itself was killed.
    """
    count: int = dataset._sample_collection.count_documents({})  # noqa: SLF001 - FiftyOne opens no other way
    return count


def write(fiftyone: ModuleType, dataset: Any, rows: Iterable[Document], progress: Callable[[int], object]) -> None:
    """Append the documents in their order, and tell `progress` how many were written so far.

    A batch is written in order, so whatever ends it leaves the first documents and no gap.
    """
    if dataset.media_type is None:
        dataset.media_type = fiftyone.core.media.IMAGE
    owner, collection = dataset._doc.id, dataset._sample_collection  # noqa: SLF001 - FiftyOne opens no other way
    rows, done = iter(rows), 0
    while batch := [row | {"_dataset_id": owner} for row in itertools.islice(rows, BATCH)]:
        collection.insert_many(batch, ordered=True)
        done += len(batch)
        progress(done)
