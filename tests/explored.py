"""Comparisons that are small enough to store, for the tests of what FiftyOne holds."""

import dataclasses
from pathlib import Path

import numpy as np

from defect_detect.evaluation.agreement import agreement, suspects
from defect_detect.evaluation.comparison import Comparison, DatasetFacts, Place, Protocol
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.reasons import judge
from defect_detect.tables import Dataset, Predictions
from tests import scenes

THRESHOLD = 0.4


def pictures(truth: Dataset, root: Path) -> Dataset:
    from PIL import Image

    (root / truth.split).mkdir(parents=True)
    for file in truth.images.file:
        Image.new("L", (scenes.SIDE, scenes.SIDE), 90).save(root / file)
    return dataclasses.replace(truth, root=root)


def another(truth: Dataset, seed: int, *, masks: bool = False, **kwargs) -> Predictions:
    """Predictions of one more detector: some defects moved a little, some false alarms, all scores different."""
    rng = np.random.default_rng(seed)
    defects = truth.defects
    kept = np.flatnonzero(rng.random(len(defects)) < 0.75)
    moved = np.clip(defects.box[kept] + rng.normal(0, 0.8, (len(kept), 4)), 0, scenes.SIDE)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.25)
    corner = rng.uniform(0, scenes.SIDE - 20, (15, 2))
    box = np.concatenate([moved, np.concatenate([corner, corner + rng.uniform(4, 20, (15, 2))], axis=1)])
    label = np.concatenate([defects.label[kept], rng.integers(0, len(truth.categories), 15)])
    swapped = rng.random(len(label)) < 0.1
    return scenes.predictions(
        image=np.concatenate([defects.image[kept], rng.integers(0, len(truth.images), 15)]),
        label=np.where(swapped, rng.integers(0, len(truth.categories), len(label)), label),
        box=box,
        score=rng.permutation(len(box)) / len(box),
        region=tuple(scenes._disc(one) for one in box) if masks else None,
        **kwargs,
    )


def judged_by(truth: Dataset, said: dict[tuple[str, int], Predictions]):
    threshold = np.full(len(truth.categories), THRESHOLD)
    return [judge(name, seed, evaluate(truth, p), threshold) for (name, seed), p in said.items()]


def compared(judged, alarmed: list[Place] | None = None) -> Comparison:
    """A comparison with nothing in it but what is stored of one."""
    field = {name: [j for j in judged if j.name == name] for name in dict.fromkeys(j.name for j in judged)}
    found = suspects(field)
    nothing = DatasetFacts(
        name="scene", fingerprints={}, categories=[], images={}, units={}, defective={}, defect_free={}, defects={},
        masks=False, quarantined={}, scale=None, unit="px",
    )  # fmt: skip
    protocol = Protocol(policy="score=0.4", iou=0.5, class_aware=True, resamples=0, seed=0, budget=0.1, versions={})
    return Comparison(
        verdict="", warnings=[], dataset=nothing, protocol=protocol, detectors=[], pairs=[],
        agreement=agreement(field), rank_stability={},
        suspects=found if alarmed is None else type(found)(missed_by_all=[], alarmed_by_all=alarmed),
    )  # fmt: skip


# FiftyOne's own, now and then, with nothing to be seen of them: its router is asked for a page that still loads (the
# first), a picture goes to a worker twice. And the web fonts, which it does without.
OF_THE_APP = ("entry is loading", "ArrayBuffer", "net::ERR_FAILED")


def unexpected(errors: list[str]) -> list[str]:
    """The errors of a page that are not known ones of the App itself."""
    return [error for error in errors if not any(known in error for known in OF_THE_APP)]
