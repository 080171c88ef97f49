"""What the `classical` baseline learns from the training split."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from defect_detect import geometry
from defect_detect.backends._spots import FEATURES, Spots
from defect_detect.tables import Dataset, Floats, Ints

_SOUND, _ABSORBED = -1, -2
_HELD = 0.5
"""A spot is of the defect that holds at least this share of its pixels."""


class Shapes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How spots of each class look: a Gaussian naive Bayes classifier, (K, FEATURES) and (K,)."""

    mean: list[list[float]]
    variance: list[list[float]]
    share: list[float]

    def nearest(self, features: Floats) -> Ints:
        """(S,) the most probable label of each row of (S, FEATURES)."""
        mean, variance = np.array(self.mean), np.array(self.variance)
        away = (features[:, None, :] - mean) ** 2 / variance + np.log(variance)
        label: Ints = np.argmax(np.log(self.share) - away.sum(axis=2) / 2, axis=1).astype(np.int64)
        return label


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The lesson's result; `loss` is 1 - F1 of spots against defects that count, by touch."""

    shapes: Shapes
    half: float
    least_noise: float
    least_area: float
    loss: float


class Lesson:
    """Gathers the spots of one pass over the training split."""

    def __init__(self, train: Dataset) -> None:
        self._train = train
        self._features: list[Floats] = []
        self._strength: list[Floats] = []
        self._owner: list[Ints] = []
        self._noise: list[float] = []

    def add(self, row: int, spots: Spots) -> None:
        """Learn from picture `row`: which of its spots are of which defect."""
        self._features.append(spots.features)
        self._strength.append(spots.strength)
        self._noise.append(spots.noise)
        self._owner.append(self._owners(row, spots))

    def learned(self) -> Learned:
        """Statistics of all spots so far."""
        defects = self._train.defects
        features = np.concatenate([*self._features, np.zeros((0, FEATURES))])
        strength = np.concatenate([*self._strength, np.zeros(0)])
        owner = np.concatenate([*self._owner, np.zeros(0, np.int64)])
        sound, owned = strength[owner == _SOUND], owner >= 0
        area = np.exp(features[owned, 0])
        found = len(np.unique(owner[owned]))
        total = found + len(sound) + int(defects.counts.sum())
        return Learned(
            shapes=_shapes(features[owned], defects.label[owner[owned]], len(self._train.categories)),
            half=float(np.median(sound)) if len(sound) else 10.0,
            least_noise=max(float(np.percentile(self._noise, 5)), 0.5) if self._noise else 1.0,
            least_area=max(float(np.percentile(area, 5)) / 2, 4.0) if len(area) else 4.0,
            loss=1 - 2 * found / total if total else 0.0,
        )

    def _owners(self, row: int, spots: Spots) -> Ints:
        defects = self._train.defects
        owner = np.full(len(spots), _SOUND, np.int64)
        for defect in np.flatnonzero(defects.image == row):
            held = _share_held(spots, self._train, int(defect)) >= _HELD
            owner[held] = defect if defects.counts[defect] else _ABSORBED
        return owner


def _share_held(spots: Spots, data: Dataset, defect: int) -> Floats:
    """(S,) the share of each spot's pixels that lie within the defect."""
    h, w = spots.label.shape
    middle_x, middle_y = (np.arange(w) + 0.5) * spots.width / w, (np.arange(h) + 0.5) * spots.height / h
    if data.defects.region is None:
        x0, y0, x1, y1 = data.defects.box[defect]
        within = ((middle_y >= y0) & (middle_y < y1))[:, None] & ((middle_x >= x0) & (middle_x < x1))
    else:
        mask = geometry.to_mask(data.defects.region[defect], spots.width, spots.height)
        within = mask[middle_y.astype(np.int64)[:, None], middle_x.astype(np.int64)]
    area = np.bincount(spots.label.ravel(), minlength=len(spots) + 1)[1:]
    inside = np.bincount(spots.label[within], minlength=len(spots) + 1)[1:]
    share: Floats = inside / np.maximum(area, 1)
    return share


def _shapes(features: Floats, label: NDArray[np.int64], classes: int) -> Shapes:
    """Mean and variance by class; a class with fewer than two spots borrows those of all."""
    everything = features if len(features) > 1 else np.zeros((2, FEATURES))
    mean, variance, share = [], [], []
    for k in range(classes):
        own = features[label == k]
        rows = own if len(own) > 1 else everything
        mean.append(rows.mean(axis=0).tolist())
        variance.append((rows.var(axis=0) + 0.01).tolist())
        share.append((len(own) + 1) / (len(features) + classes))
    return Shapes(mean=mean, variance=variance, share=share)
