"""A scene small enough to count by hand, for the examples in this package.

Four pictures of 100 x 100 px: a.png has a crack and a pit, b.png a pit, c.png and d.png have no defect. The detector
finds the crack exactly (score 0.9), a.png's pit loosely (0.6, IoU 0.68), takes the pit of b.png for a crack (0.7), and
alarms for nothing on c.png (0.4).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from defect_detect.evaluation.comparison import DatasetFacts
from defect_detect.evaluation.judged import Contender, Evaluation, Judged, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.reasons import judge
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions


def truth() -> Dataset:
    """The four pictures and their three defects: labels 0 crack, 1 pit."""
    files = ("a.png", "b.png", "c.png", "d.png")
    box = np.array([[10, 10, 50, 20], [60, 60, 80, 80], [30, 30, 50, 50]], np.float64)
    return Dataset(
        root=Path(),
        split="test",
        categories=(Category(id=1, name="crack", source_id=1), Category(id=2, name="pit", source_id=2)),
        images=Images(
            file=files, id=np.arange(1, 5), size=np.full((4, 2), 100), group=np.array(files), source_id=(1, 2, 3, 4)
        ),
        defects=Defects(
            image=np.array([0, 0, 1]),
            label=np.array([0, 1, 1]),
            box=box,
            area=np.array([400.0, 400.0, 400.0]),
            crowd=np.zeros(3, np.bool_),
            ignore=np.zeros(3, np.bool_),
            region=None,
            id=np.arange(1, 4),
            source_id=(1, 2, 3),
        ),
    )


def said() -> Predictions:
    """The detector's four predictions."""
    return Predictions(
        image=np.array([0, 1, 0, 2]),
        label=np.array([0, 0, 1, 1]),
        box=np.array([[10, 10, 50, 20], [30, 30, 50, 50], [62, 62, 82, 82], [5, 5, 15, 15]], np.float64),
        score=np.array([0.9, 0.7, 0.6, 0.4]),
    )


def evaluation() -> Evaluation:
    """The predictions held against the truth."""
    return evaluate(truth(), said())


def judged(threshold: float = 0.5) -> Judged:
    """The detector `a` at a threshold for both classes."""
    return judge("a", 0, evaluation(), np.full(2, threshold))


def contender(name: str = "a", *, silent: bool = False) -> Contender:
    """The detector with one trained model, its predictions on validation those on test; or one that says nothing."""
    one = evaluate(truth(), Predictions.none()) if silent else evaluation()
    return Contender(name=name, runs=(Run(seed=0, test=one, validation=one, manifest=None),))


def facts() -> DatasetFacts:
    """What the comparison of the scene is told of its dataset."""
    one = truth()
    return DatasetFacts(
        name="example",
        fingerprints={},
        categories=[category.name for category in one.categories],
        images={"test": len(one.images)},
        units={"test": len(one.images)},
        defective={"test": 2},
        defect_free={"test": 2},
        defects={"test": len(one.defects)},
        masks=False,
        quarantined={},
        scale=None,
        unit="px",
    )
