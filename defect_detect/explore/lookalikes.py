"""A map of defects, and defects like this one: FiftyOne's Embeddings panel and its search by similarity.

The map shows where misses cluster: colour it by `fate`, or by a detector's key or reason.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from defect_detect.explore import service
from defect_detect.explore.descriptors import describe
from defect_detect.explore.names import TRUTH
from defect_detect.explore.rows import defect_id
from defect_detect.tables import Dataset

MAP = "defect_map"
ALIKE = "defects_like_this"
FEW = 100
"""Under so many defects neighbours say little, and the map shows the two main directions (PCA); else t-SNE."""
MANY = 20_000
"""From so many defects on, t-SNE would take many minutes."""


def mapped(dataset: Any) -> bool:
    """Whether the dataset has its map."""
    return {MAP, ALIKE} <= set(dataset.list_brain_runs())


def map_defects(name: str, truth: Dataset, progress: Callable[[int, int], None] | None = None) -> bool:
    """Add the map of all defects of `truth` to the dataset that it is stored in, unless it has one already.

    Returns whether there is one now: it takes three defects. `progress` is told (pictures read, of all with defects).

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
        DatasetError: a picture can't be read.
    """
    if len(truth.defects) < 3:  # noqa: PLR2004 - two points make no map
        return False
    with service.quiet(), _silent():
        fiftyone = service.connect()
        dataset = fiftyone.load_dataset(name)
        if mapped(dataset):
            return True
        found = describe(truth, progress).astype(np.float32)
        from fiftyone import brain

        place = {defect_id(truth, row): row for row in range(len(found))}
        labels = dict(zip(*dataset.values(["id", f"{TRUTH}.detections.id"]), strict=True))
        said = {sample: found[[place[label] for label in own]] for sample, own in labels.items() if own}
        brain.compute_similarity(
            dataset, patches_field=TRUTH, embeddings=said, brain_key=ALIKE, backend="sklearn", metric="euclidean"
        )
        close = FEW <= len(found) < MANY
        brain.compute_visualization(
            dataset, patches_field=TRUTH, embeddings=said, brain_key=MAP, progress=False,
            **({"method": "tsne", "seed": 0, "verbose": False} if close else {"method": "pca"}),
        )  # fmt: skip
        return True


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """FiftyOne's brain says every step where the user's commands print."""
    logger = logging.getLogger("fiftyone")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
