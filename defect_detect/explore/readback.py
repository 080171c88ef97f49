"""Ground truth and predictions of any FiftyOne dataset, read back as our tables.

FiftyOne keeps boxes as shares of the picture. Where it knows the picture's size they come back as px, rounded to a
billionth: the box that was written, whatever the division lost. Else the picture counts as 1 x 1, in which IoU is the
same but a size means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect import geometry
from defect_detect.errors import ConfigError, Fault, PredictionsError
from defect_detect.tables import Bools, Category, Dataset, Defects, Floats, Images, Ints, Predictions, Region

_DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Where to read. `crowd` and `ignore` name attributes of ground truth, `unit` a field of samples, `""`: none."""

    truth: str
    predictions: str
    crowd: str = "iscrowd"
    ignore: str = "ignore"
    unit: str = ""
    masks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A dataset's tables, and the ids of its samples and labels row by row; predictions by descending score."""

    truth: Dataset
    predictions: Predictions
    samples: tuple[str, ...]
    defects: tuple[str, ...]
    said: tuple[str, ...]


def read(samples: Any, asked: Asked) -> Read:
    """The tables of a dataset or view.

    Raises:
        ConfigError: a field does not hold detections, or pictures whose masks are to be read have no known size.
        PredictionsError: a prediction has no confidence.
    """
    _check(samples, asked)
    ids = tuple(samples.values("id"))
    size = _sizes(samples, required=asked.masks)
    theirs = _labels(samples, asked.truth, [name for name in (asked.crowd, asked.ignore) if name], masks=asked.masks)
    ours = _labels(samples, asked.predictions, ["confidence"], masks=asked.masks)
    if (missing := sum(value is None for value in ours.extra["confidence"])) > 0:
        raise PredictionsError(
            Fault(where=asked.predictions, expected="a confidence for every prediction", found=f"{missing} without")
        )
    names = sorted({*theirs.label, *ours.label})
    place = {name: label for label, name in enumerate(names)}
    box = _px(theirs, size)
    truth = Dataset(
        root=Path(),
        split=getattr(samples, "name", None) or "dataset",
        categories=tuple(Category(id=k + 1, name=name, source_id=k + 1) for k, name in enumerate(names)),
        images=Images(
            file=ids,
            id=np.arange(1, len(ids) + 1),
            size=np.rint(size).astype(np.int64),
            group=_units(samples, asked.unit, ids),
            source_id=ids,
        ),
        defects=Defects(
            image=theirs.image,
            label=np.array([place[name] for name in theirs.label], np.int64),
            box=box,
            area=geometry.area(box),
            crowd=_flags(theirs, asked.crowd),
            ignore=_flags(theirs, asked.ignore),
            region=_regions(theirs, size) if asked.masks else None,
            id=np.arange(1, len(box) + 1),
            source_id=theirs.id,
        ),
    )
    predictions = Predictions(
        image=ours.image,
        label=np.array([place[name] for name in ours.label], np.int64),
        box=_px(ours, size),
        score=np.array(ours.extra["confidence"], np.float64),
        region=_regions(ours, size) if asked.masks else None,
    )
    # So that nothing depends on the order of labels in the dataset.
    order = np.lexsort((predictions.label, *predictions.box.T[::-1], -predictions.score, predictions.image))
    said = tuple(ours.id[row] for row in order.tolist())
    return Read(truth=truth, predictions=predictions.take(order), samples=ids, defects=theirs.id, said=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """Labels of one field, as FiftyOne has them."""

    image: Ints
    id: tuple[str, ...]
    label: tuple[str, ...]
    box: Floats
    extra: Mapping[str, Sequence[Any]]
    mask: Sequence[Any]


def _check(samples: Any, asked: Asked) -> None:
    import fiftyone

    for field in (asked.truth, asked.predictions):
        kind = samples._get_label_field_type(field)  # noqa: SLF001 - as FiftyOne's own evaluations ask it
        if not issubclass(kind, fiftyone.Detections) or samples._is_frame_field(field):  # noqa: SLF001
            raise ConfigError(
                Fault(where=field, expected="Detections of pictures", found=kind.__name__,
                      fix="Evaluate other labels by FiftyOne's own methods.")
            )  # fmt: skip


def _labels(samples: Any, field: str, attributes: Sequence[str], *, masks: bool) -> _Labels:
    from fiftyone import ViewField

    stem = f"{field}.detections"
    # An expression also reads what the dataset's schema doesn't declare, as FiftyOne's own matcher does.
    asked = {"id": f"{stem}.id", "label": f"{stem}.label", "box": f"{stem}.bounding_box"}
    asked |= {name: ViewField(stem).map(ViewField(name)) for name in attributes}
    columns = dict(zip(asked, samples.values(list(asked.values())), strict=True))
    count = [len(rows or ()) for rows in columns["id"]]
    flat = {name: [value for rows in column for value in rows or ()] for name, column in columns.items()}
    return _Labels(
        image=np.repeat(np.arange(len(count)), count),
        id=tuple(flat["id"]),
        label=tuple(flat["label"]),
        box=np.array(flat["box"], np.float64).reshape(-1, 4),
        extra={name: flat[name] for name in attributes},
        mask=_masks(samples, field) if masks else (),
    )


def _masks(samples: Any, field: str) -> list[Any]:
    found: list[Any] = []
    for sample in samples.select_fields(field).iter_samples():
        labels = sample[field]
        found += [] if labels is None else [label.get_mask() for label in labels.detections]
    return found


def _sizes(samples: Any, *, required: bool) -> Floats:
    width, height = samples.values(["metadata.width", "metadata.height"])
    known = [w is not None and h is not None for w, h in zip(width, height, strict=True)]
    if not all(known):
        if required:
            raise ConfigError(
                Fault(where="metadata", expected="the size of every picture, to compare masks",
                      found=f"{known.count(False)} without", fix="Run dataset.compute_metadata() first.")
            )  # fmt: skip
        return np.ones((len(known), 2))
    return np.array([width, height], np.float64).T.reshape(-1, 2)


def _px(labels: _Labels, size: Floats) -> Floats:
    scale = size[labels.image]
    start, end = labels.box[:, :2] * scale, (labels.box[:, :2] + labels.box[:, 2:]) * scale
    box = np.concatenate([start, end], axis=1)
    if len(box) and (size == 1).all():
        return box
    rounded: Floats = np.round(box, _DECIMALS)
    return rounded


def _flags(labels: _Labels, name: str) -> Bools:
    return np.array([bool(value) for value in labels.extra[name]] if name else [False] * len(labels.id), np.bool_)


def _regions(labels: _Labels, size: Floats) -> tuple[Region, ...]:
    boxes = np.rint(_px(labels, size)).astype(np.int64).tolist()
    sizes = size[labels.image].astype(np.int64).tolist()
    return tuple(
        geometry.from_mask(_on_picture(mask, box, width, height))
        for mask, box, (width, height) in zip(labels.mask, boxes, sizes, strict=True)
    )


def _on_picture(mask: Any, box: Sequence[int], width: int, height: int) -> Bools:
    """The mask where it lies; FiftyOne stretches it over its box. A label without one fills its box."""
    x0, y0 = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    x1, y1 = min(max(box[2], x0 + 1), width), min(max(box[3], y0 + 1), height)
    whole = np.zeros((height, width), np.bool_)
    inside = np.ones((1, 1), np.bool_) if mask is None else np.asarray(mask) > 0
    rows = (np.arange(y1 - y0) + 0.5) * inside.shape[0] / (y1 - y0)
    columns = (np.arange(x1 - x0) + 0.5) * inside.shape[1] / (x1 - x0)
    whole[y0:y1, x0:x1] = inside[rows.astype(np.int64)][:, columns.astype(np.int64)]
    return whole


def _units(samples: Any, field: str, ids: Sequence[str]) -> Any:
    if not field:
        return np.array(ids, np.str_)
    return np.array(
        [f"{value}" if value is not None else own for value, own in zip(samples.values(field), ids, strict=True)],
        np.str_,
    )
