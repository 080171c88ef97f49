"""Sampling units: the part, tile, panel or lot that pictures belong to, else the picture itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defect_detect.tables import Bools, Column, Dataset, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """U units of a split; bootstrap, permutation and unit rates all go by them.

    name         (U,) str, sorted
    of_image     (N,) int64, the unit of each picture
    images       (U,) int64, how many pictures it has
    defects      (U,) int64, how many defects that count
    defective    (U,) bool, at least one defect that counts
    defect_free  (U,) bool, no annotation at all; units with only crowds or ignored defects are neither
    """

    name: Column
    of_image: Ints
    images: Ints
    defects: Ints
    defective: Bools
    defect_free: Bools

    def __len__(self) -> int:
        return len(self.name)


def units(truth: Dataset) -> Units:
    """The units of `truth`, by `images.group`.

    >>> from defect_detect.evaluation import example
    >>> units(example.truth()).defective.tolist()
    [True, True, False, False]
    """
    name, of_image = np.unique(truth.images.group, return_inverse=True)
    size = len(name)
    of_defect = of_image[truth.defects.image]
    defects = np.bincount(of_defect[truth.defects.counts], minlength=size)
    annotations = np.bincount(of_defect, minlength=size)
    return Units(
        name=name,
        of_image=of_image,
        images=np.bincount(of_image, minlength=size),
        defects=defects,
        defective=defects > 0,
        defect_free=annotations == 0,
    )
