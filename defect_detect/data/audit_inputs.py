"""What detectors are shown: how each family resizes a picture, and how fine its finest feature map is.

`tests/test_audit.py` holds the table against the networks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from defect_detect.data import audit_counts
from defect_detect.data.audited import Shown
from defect_detect.tables import Dataset, Floats, Ints

LIMITS = (2, 4, 8)
"""Px of the network's input."""
_YOLO_PAD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What must be known of a detector's config to say what it is shown."""

    name: str
    framework: str
    model: str
    image_size: int
    options: Mapping[str, Any] = field(default_factory=dict)
    tile: int | None = None
    """px: side of the tiles that it sees instead of whole pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """How pictures reach a network.

    side      px: the long side, or both where `stretch`
    stretch   to a square; else the aspect ratio stays
    enlarges  whether smaller pictures are scaled up
    stride    px of the input from one place of the finest feature map to the next; None: not known
    source    where that stands
    tile      px: side of the tiles that pictures are cut into before; None: they aren't
    """

    side: int
    stretch: bool = False
    enlarges: bool = True
    stride: float | None = None
    source: str = ""
    tile: int | None = None

    @property
    def words(self) -> str:
        """`long side 640 px`, `tiles of 500 px, stretched to 300 x 300 px`."""
        cut = "" if self.tile is None else f"tiles of {self.tile} px, "
        if self.stretch:
            return f"{cut}stretched to {self.side} x {self.side} px"
        return f"{cut}long side {self.side} px" + ("" if self.enlarges else " at most")

    def factors(self, size: Ints) -> Floats:
        """(N, 2) what x and y of pictures of (N, 2) width height px, or of their tiles, are multiplied by."""
        size = size if self.tile is None else np.minimum(size, self.tile)
        if self.stretch:
            return self.side / size
        factor = self.side / size.max(axis=1, keepdims=True, initial=1)
        return np.repeat(factor if self.enlarges else np.minimum(factor, 1.0), 2, axis=1)


def _yolo(asked: Detector) -> Input:
    # ultralytics rounds its image size up to whole strides of the coarsest map (`check_imgsz`).
    return Input(
        side=-(-asked.image_size // _YOLO_PAD) * _YOLO_PAD, stride=8,
        source="ultralytics/cfg/models: Detect reads P3, which has stride 8",
    )  # fmt: skip


def _ssd300(asked: Detector) -> Input:
    return Input(
        side=asked.image_size, stretch=True, stride=4 if _of_model(asked, "fine", default=False) is True else 8,
        source="Liu et al. 2016, figure 2: conv4_3 has stride 8; options.model.fine adds stride 4",
    )  # fmt: skip


def _ssdlite(asked: Detector) -> Input:
    return Input(
        side=asked.image_size, stretch=True, stride=8 if _of_model(asked, "fine", default=False) is True else 16,
        source="Howard et al. 2019, section 6.3: the first map has stride 16; options.model.fine adds stride 8",
    )  # fmt: skip


def _mask_rcnn(asked: Detector) -> Input:
    layers = _of_model(asked, "layers", default=())
    finest = min((stage for stage in layers if isinstance(stage, int)), default=1) if _is_list(layers) else 1
    return Input(
        side=asked.image_size, stride=2.0 ** (finest + 1),
        source="Lin et al. 2017, section 3: stage k of a ResNet, which the pyramid reads, has stride 2^(k+1)",
    )  # fmt: skip


def _mmdet_ssd(asked: Detector) -> Input:
    return Input(
        side=asked.image_size, stretch=True, stride=16 if asked.model.startswith("ssdlite") else 8,
        source="mmdet/configs: the first of the anchor generator's strides",
    )  # fmt: skip


def _mmdet_mask_rcnn(asked: Detector) -> Input:
    return Input(
        side=asked.image_size, stride=4, source="mmdet/configs: the first of the RPN anchor generator's strides"
    )


def _mmdet_config(asked: Detector) -> Input:
    # Of others' configs no more is known than that mmdet's SSDs stretch, and nearly all else keeps the aspect ratio.
    ssd = str(asked.options.get("config", "")).rpartition("/")[2].startswith("ssd")
    return Input(side=asked.image_size, stretch=ssd, source="the name of mmdet's config")


def _detectron2_rcnn(asked: Detector) -> Input:
    return Input(
        side=asked.image_size, stride=4, source="detectron2/configs/Base-RCNN-FPN.yaml: the RPN reads p2, which has"
        " stride 4",
    )  # fmt: skip


def _classical(asked: Detector) -> Input:
    return Input(side=asked.image_size, enlarges=False, stride=1, source="it looks at each pixel")


_FAMILIES: Sequence[tuple[str, str, Callable[[Detector], Input]]] = (
    ("ultralytics", "yolo", _yolo),
    ("torchvision", "ssd300", _ssd300),
    ("torchvision", "ssdlite", _ssdlite),
    ("torchvision", "mask_rcnn", _mask_rcnn),
    ("mmdet", "ssd", _mmdet_ssd),
    ("mmdet", "mask_rcnn", _mmdet_mask_rcnn),
    ("mmdet", "config", _mmdet_config),
    ("detectron2", "mask_rcnn", _detectron2_rcnn),
    ("detectron2", "faster_rcnn", _detectron2_rcnn),
    ("classical", "", _classical),
)
"""Framework, how the model's name starts, and what is known of it."""


def of(asked: Detector) -> Input:
    """How pictures reach the detector; for a model that the table lacks, the long side at `image_size`, stride unknown.

    >>> of(Detector(name="a", framework="torchvision", model="ssd300_vgg16", image_size=300)).words
    'stretched to 300 x 300 px'
    """
    for framework, start, known in _FAMILIES:
        if asked.framework == framework and asked.model.startswith(start):
            return replace(known(asked), tile=asked.tile)
    return Input(side=asked.image_size, tile=asked.tile)


def box_sides(data: Dataset, shown: Input) -> Floats:
    """(G, 2) width and height of each defect's box in px of the network's input, at most those of a whole tile."""
    side = audit_counts.sides(data)
    side = side if shown.tile is None else np.minimum(side, shown.tile)
    return side * shown.factors(data.images.size)[data.defects.image]


def shown_to(asked: Detector, splits: Sequence[Dataset]) -> Shown:
    """How small the splits' defects are for one detector."""
    known = of(asked)
    counted = [data.defects.counts for data in splits]
    side = np.concatenate([box_sides(data, known)[rows] for data, rows in zip(splits, counted, strict=True)])
    label = np.concatenate([data.defects.label[rows] for data, rows in zip(splits, counted, strict=True)])
    short, names = side.min(axis=1, initial=np.inf), [category.name for category in splits[0].categories]
    by_class: dict[str, dict[str, int]] = {name: {} for name in names}
    for limit in LIMITS:
        for name, count in zip(names, np.bincount(label[short < limit], minlength=len(names)).tolist(), strict=True):
            by_class[name][str(limit)] = count
    return Shown(
        detector=asked.name,
        framework=asked.framework,
        model=asked.model,
        resizing=known.words,
        stride=known.stride,
        source=known.source,
        defects=len(side),
        short_side=audit_counts.spread(short),
        under={str(limit): int((short < limit).sum()) for limit in LIMITS},
        in_a_cell=None if known.stride is None else int((side.max(axis=1, initial=0) < known.stride).sum()),
        by_class=by_class,
    )


def _of_model(asked: Detector, key: str, default: Any) -> Any:
    """`options.model.<key>`; what is wrong with it, the backend says."""
    chosen = asked.options.get("model")
    return chosen.get(key, default) if isinstance(chosen, Mapping) else default


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
