"""What a framework's validation says of a split, counted as `evaluation` counts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect import geometry
from defect_detect.data import coco
from defect_detect.errors import ConfigError, Fault, NotMeasurable, RunFailed, Unreachable
from defect_detect.evaluation import froc, matching, missed, operating
from defect_detect.evaluation.operating import Policy
from defect_detect.tables import Dataset, Floats, Ints, Predictions

POLICY = "fppi<=0.1"
FIGURES = ("fn_rate", "fppi", "escape_rate", "overkill_rate")
IN_SAMPLE = "_in_sample"
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Counts predictions on all pictures of a split."""

    truth: Dataset
    policy: Policy

    def figures(self, said: Sequence[tuple[int, Predictions]]) -> dict[str, float]:
        """`froc_recall`, `threshold`, and FIGURES at that threshold, by name; NaN where it can't be told.

        `said`: for each picture its row and its predictions; a picture that comes again counts once.

        Unless the policy is a fixed score, the threshold is chosen on the very pictures that are then judged, so the
        figures are better than those on other pictures will be, and their names end in IN_SAMPLE.

        Raises:
            RunFailed: a picture of the split is missing: its defects would count as missed, or not at all.
        """
        by_row = dict(said)
        if absent := [name for row, name in enumerate(self.truth.images.file) if row not in by_row]:
            named = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
            raise RunFailed(
                f"{len(absent)} of {len(self.truth.images)} pictures of {self.truth.split} were not validated on"
                f" ({named}); figures without them would be wrong"
            )
        table = missed.scored(matching.evaluate(self.truth, Predictions.joined(list(by_row.values()), regions=False)))
        chosen = _threshold(self.policy, table)
        if math.isnan(chosen) or not np.isfinite(chosen):
            told = dict.fromkeys(FIGURES, math.nan)
            if self.policy.kind in ("fppi", "overkill") and math.isinf(chosen):
                told = _rates(table, math.inf)  # METRICS: no threshold keeps to the budget, so nothing is found
            chosen = math.nan
        else:
            told = _rates(table, chosen)
        ending = "" if self.policy.kind == "score" else IN_SAMPLE
        at = {f"{name}{ending}": value for name, value in {"threshold": chosen, **told}.items()}
        return {"froc_recall": _froc_recall(self.truth, table.evaluation.predictions), **at}

    def table(self, row: int, *, box: Any, score: Any, label: Any) -> Predictions:
        """The predictions about a picture, from (n, 4) x0 y0 x1 y1 px of the whole picture, (n,) and (n,).

        Boxes are cut to the picture, and those dropped of which nothing is left, as everywhere in this package.

        Raises:
            RunFailed: a box, score or label is none.
        """
        boxes: Floats = np.asarray(box, np.float64).reshape(-1, 4)
        scores: Floats = np.asarray(score, np.float64).reshape(-1)
        labels: Ints = np.asarray(label).astype(np.int64).reshape(-1)
        name = self.truth.images.file[row]
        if not (np.isfinite(boxes).all() and ((scores >= 0) & (scores <= 1)).all()):
            raise RunFailed(f"what is said of {name} is not finite, or no score in [0, 1]: the training diverged")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.truth.categories)):
            raise RunFailed(f"a class is said of {name} that the dataset doesn't have: {labels.min()}..{labels.max()}")
        boxes = geometry.clip(boxes, *(float(side) for side in self.truth.images.size[row]))
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Predictions(image=np.full(int(kept.sum()), row), label=labels[kept], box=boxes[kept], score=scores[kept])

    def check(self, names: Sequence[str]) -> None:
        """Make sure that the framework has the dataset's classes, in their order.

        Raises:
            ConfigError: it doesn't.
        """
        own = [category.name for category in self.truth.categories]
        if list(names) != own:
            raise ConfigError(
                Fault(where="classes", expected=", ".join(own), found=", ".join(names),
                      fix="Train on the classes of the normalized dataset, in its order.")
            )  # fmt: skip


def counter(root: str | Path, split: str, policy: str) -> Counter:
    """For a split of the normalized dataset at `root`.

    Raises:
        DatasetError: there is no such split. ConfigError: no such policy.
    """
    return Counter(truth=coco.load(Path(root), split), policy=operating.parse_policy(policy))


def by_path(truth: Dataset) -> dict[str, int]:
    """The row of each picture, by its real path."""
    root = truth.root.resolve()
    return {str((root / name).resolve()): row for row, name in enumerate(truth.images.file)}


def row_of(rows: dict[str, int], path: str | Path) -> int:
    """The row of the picture at `path`.

    Raises:
        ConfigError: it is none of the split.
    """
    found = rows.get(str(Path(path).resolve()))
    if found is None:
        fix = "Validate on the split that the metric was given."
        raise ConfigError(Fault(where=str(path), expected="a picture of the split", found="another", fix=fix))
    return found


def _threshold(policy: Policy, table: missed.Scored) -> float:
    """Infinite where no score meets the policy, NaN where the split can't tell."""
    try:
        return operating.threshold_of(policy, table)
    except NotMeasurable:
        return math.nan
    except Unreachable:
        return math.inf


def _rates(table: missed.Scored, at: float) -> dict[str, float]:
    rates = missed.rates(table, np.full(len(table.evaluation.truth.categories), at))
    return {name: rates[name].count / rates[name].of if rates[name].of else math.nan for name in FIGURES}


def _froc_recall(truth: Dataset, said: Predictions) -> float:
    try:
        return froc.mean_froc_recall(truth, said)
    except NotMeasurable:
        return math.nan
