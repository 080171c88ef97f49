"""A thresholding baseline: what local contrast alone finds, in seconds, without a framework.

It subtracts the background, measures the noise, and takes connected pixels that stand out. From the
training split it learns the noise of a quiet picture, how small a spot of a defect gets, how strong
sound spots are, and what spots of each class look like. Each epoch tries one set of knobs, near the
best so far and ever nearer; validation decides. A detector that doesn't beat it has learned little.

`amp`, `device`, `workers` and `threads` find nothing to act on here, and `weights: pretrained` means
none: there are no weights. A learning rate or a path of weights is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from defect_detect import geometry
from defect_detect.backends import Capabilities, Watch
from defect_detect.backends._learned import Lesson, Shapes
from defect_detect.backends._spots import FEATURES, Eye, Spots, look
from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, DatasetError, Fault, RunFailed, Unsupported, did_you_mean
from defect_detect.job import PredictOutcome, Settings, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions

requires: tuple[str, ...] = ()
models: Mapping[str, Capabilities] = MappingProxyType({"threshold": Capabilities(family="baseline", masks=True)})

_EYE_AND_HALF = len(Eye.__struct_fields__) + 1
_CHECKPOINT = "checkpoint.json"
_WIDEST, _LONGEST = 1000.0, 3600.0
_OPTIONS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "sigma": (10.0, f"px of background blur that the search starts from, over 0 and at most {_WIDEST:g}"),
        "sleep": (0.0, f"seconds to pause after each batch, 0 to {_LONGEST:g}"),
    }
)


class Knowledge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="classical threshold 1"):
    """The checkpoint."""

    categories: list[str]
    eye: Eye
    shapes: Shapes
    half: float
    """The strength that scores 0.5."""


def train(job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
    """Try one set of knobs an epoch and keep the best; see `Backend.train`."""
    options = _options(job)
    settings = job.settings
    _supported(settings)
    names = [category.name for category in train.categories]
    rng = np.random.default_rng(job.seed)
    best = trial = np.log([options["sigma"], 1.0, 4.0])
    seen: set[int] = set()
    for number in range(1, settings.epochs + 1):
        background, blur, threshold = (float(knob) for knob in np.exp(trial))
        eye = Eye(
            image_size=settings.image_size, background=background, blur=blur, threshold=threshold,
            least_noise=1.0, least_area=4.0,
        )  # fmt: skip
        lesson = Lesson(train)
        for start in range(0, len(train.images), settings.batch):
            rows = range(start, min(start + settings.batch, len(train.images)))
            for row in rows:
                lesson.add(row, _look(train, row, eye))
                seen.add(row)
            watch.batch(rows.stop, len(train.images))
            time.sleep(options["sleep"])
        learned = lesson.learned()
        knowledge = Knowledge(
            categories=names,
            eye=msgspec.structs.replace(eye, least_noise=learned.least_noise, least_area=learned.least_area),
            shapes=learned.shapes,
            half=learned.half,
        )
        said, _ = _predict(knowledge, val, settings, watch=None, batch=settings.batch, sleep=0.0)
        verdict = watch.epoch(number, learned.loss, said)
        if verdict.best:
            best = trial
            atomic_write(out / _CHECKPOINT, msgspec.json.format(msgspec.json.encode(knowledge), indent=1))
        if verdict.stop:
            break
        trial = best + rng.normal(0, (0.4, 0.3, 0.25)) / np.sqrt(number)
    if not (out / _CHECKPOINT).exists():
        raise RunFailed(f"{job.detector}: no epoch was called the best, so there is no checkpoint")
    return TrainOutcome(
        checkpoint=_CHECKPOINT,
        images_seen=len(seen),
        defect_free_seen=int(train.defect_free[sorted(seen)].sum()),
        parameters=_EYE_AND_HALF + len(names) * (2 * FEATURES + 1),
        initial_weights="none",
        masks="regions" if train.has_masks else "none",
        deterministic=True,
    )


def predict(
    job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
) -> tuple[Predictions, PredictOutcome]:
    """What stands out of `data`'s pictures; see `Backend.predict`."""
    del device
    options = _options(job)
    knowledge = _recall(checkpoint)
    names = [category.name for category in data.categories]
    if knowledge.categories != names:
        raise RunFailed(f"{checkpoint}: learned the categories {knowledge.categories}, the dataset has {names}")
    said, latency = _predict(knowledge, data, job.settings, watch=watch, batch=batch, sleep=options["sleep"])
    size = knowledge.eye.image_size
    return said, PredictOutcome(nms_iou=None, input_size=f"long side at most {size}, never enlarged", latency=latency)


def _recall(checkpoint: Path) -> Knowledge:
    try:
        return msgspec.json.decode(checkpoint.read_bytes(), type=Knowledge)
    except (OSError, msgspec.DecodeError) as error:
        raise RunFailed(f"{checkpoint}: not a checkpoint of the classical baseline: {error}") from error


def _predict(
    knowledge: Knowledge, data: Dataset, settings: Settings, *, watch: Watch | None, batch: int, sleep: float
) -> tuple[Predictions, list[float]]:
    said: list[Predictions] = []
    latency: list[float] = []
    for row in range(len(data.images)):
        start = time.perf_counter()
        said.append(_say(knowledge, _look(data, row, knowledge.eye), row, settings, regions=data.has_masks))
        latency.append(time.perf_counter() - start)
        done = row + 1
        if watch is not None and (done % batch == 0 or done == len(data.images)):
            watch.batch(done, len(data.images))
            time.sleep(sleep)
    return Predictions.joined(said, regions=data.has_masks), latency


def _say(knowledge: Knowledge, spots: Spots, row: int, settings: Settings, *, regions: bool) -> Predictions:
    score = spots.strength / (spots.strength + knowledge.half)
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= settings.score_floor][: settings.max_detections]
    return Predictions(
        image=np.full(len(order), row, np.int64),
        label=knowledge.shapes.nearest(spots.features[order]),
        box=spots.box[order],
        score=score[order],
        region=tuple(geometry.from_mask(spots.mask(int(spot))) for spot in order) if regions else None,
    )


def _look(data: Dataset, row: int, eye: Eye) -> Spots:
    try:
        return look(data.root / data.images.file[row], eye)
    except DatasetError as error:
        raise RunFailed(str(error)) from error


def _supported(settings: Settings) -> None:
    faults = []
    if settings.learning_rate is not None:
        found = str(settings.learning_rate)
        faults.append(Fault(where="learning_rate", expected="none: thresholds are searched", found=found))
    if settings.weights not in ("pretrained", "none"):
        faults.append(
            Fault(where="weights", expected="none: there are no weights to start from", found=settings.weights)
        )
    if faults:
        raise Unsupported(*faults)


def _options(job: TrainJob) -> dict[str, float]:
    """All options as numbers, by default those of _OPTIONS."""
    values = {name: default for name, (default, _) in _OPTIONS.items()}
    faults = []
    for name, value in job.options.items():
        if name not in _OPTIONS:
            hint = did_you_mean(name, _OPTIONS)
            faults.append(Fault(where=f"options.{name}", expected=" | ".join(_OPTIONS), found="this option", fix=hint))
        elif not _fits(name, value):
            faults.append(Fault(where=f"options.{name}", expected=_OPTIONS[name][1], found=repr(value)))
        else:
            values[name] = float(value)
    if faults:
        raise ConfigError(*faults)
    return values


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= _WIDEST if name == "sigma" else 0 <= value <= _LONGEST
