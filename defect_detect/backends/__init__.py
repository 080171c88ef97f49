"""The seam to the frameworks. A backend is one module in this folder, or of another package; README.md says how.

Frameworks are imported inside functions only: a backend must be importable (for its `requires` and
`models`) where its framework isn't installed, importing one costs seconds and gigabytes, and a broken
install of one must not take the others down.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from defect_detect.backends import _offered
from defect_detect.data.hashed import Writer
from defect_detect.errors import ConfigError, Fault, did_you_mean
from defect_detect.job import Epoch, PredictOutcome, Resumed, Settings, TrainJob, TrainOutcome
from defect_detect.tables import Dataset, Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one model of a backend can do."""

    family: str
    """`yolo` | `ssd` | `mask_rcnn` | `baseline`"""
    masks: bool = False
    """Predicts regions when the dataset has them."""
    pretrained: bool = False
    """The framework has weights for it."""


class Watch(Protocol):
    """The worker's eyes on a training or prediction: progress, validation, the choice of checkpoint."""

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        """Report `done` of `of` batches (training) or images (prediction)."""

    def epoch(self, number: int, loss: float, validation: Predictions) -> Epoch:
        """Judge epoch `number` (from 1) by its predictions on the val split.

        When the answer says `best`, that epoch's checkpoint is the one to `keep`; when it says `stop`,
        end the training. The rule is the same for every framework.

        Raises:
            RunFailed: the loss is not finite, or `number` doesn't follow the epoch before.
        """

    def resume(self) -> Resumed | None:
        """Where this training goes on, asked once before the first epoch; None: at its beginning."""

    def keep(self, state: Writer, best: Writer | None) -> Path:
        """Keep what the next epoch starts from, and the checkpoint if the epoch was called the best.

        Returns the file of the state, for as long as no further epoch is kept.

        Both are written at once, whole, with their hash: a kill at any moment leaves this epoch or the
        one before. A backend that never calls this is trained anew after a kill.
        """

    def deliver(self, path: Path) -> None:
        """Put the checkpoint of the best epoch that was kept at `path`."""


class Backend(Protocol):
    """What a module in this folder, or an entry point's, offers."""

    requires: tuple[str, ...]
    """Requirement strings (PEP 508) of what it imports, beyond this package's core."""
    models: Mapping[str, Capabilities]

    def train(self, job: TrainJob, *, train: Dataset, val: Dataset, out: Path, watch: Watch) -> TrainOutcome:
        """Train `job.model` from `job.settings` and leave the best checkpoint in `out`.

        `val` carries no truth. Images without defects are trained on like any other. The checkpoint
        holds all that `predict` needs besides the job.

        Raises:
            Unsupported: the model or a setting is not to be had here.
            FrameworkMissing: the framework, or its pretrained weights, can't be reached.
            RunFailed: the framework failed.
        """
        ...

    def predict(
        self, job: TrainJob, checkpoint: Path, data: Dataset, *, device: str, batch: int, watch: Watch
    ) -> tuple[Predictions, PredictOutcome]:
        """What the checkpoint says about `data`'s pictures (which carry no truth).

        Scores are in [score_floor, 1], boxes inside their image, at most `max_detections` an image.

        Raises:
            RunFailed: the checkpoint is not one of this model, or a picture can't be read.
        """
        ...


def shipped() -> tuple[str, ...]:
    """The backends of this package, whether their framework is installed or not, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def names() -> tuple[str, ...]:
    """All backends, those that other packages offer included (`_offered`), in alphabetical order.

    Whether their frameworks are installed or not; nothing is imported.
    """
    own = shipped()
    return tuple(sorted((*own, *_offered.offers(own)[0])))


def ignored() -> tuple[str, ...]:
    """What other packages offer but isn't taken, and why, in sentences."""
    return _offered.offers(shipped())[1]


def package(name: str) -> str:
    """The installed package that the backend `name` is of; of none that is known: empty."""
    own = shipped()
    if name in own:
        return "defect-detect"
    entry = _offered.offers(own)[0].get(name)
    return "" if entry is None else _offered.package(entry)


def load(name: str) -> Backend:
    """The backend called `name`.

    Raises:
        ConfigError: there is none of that name, or another package's is broken.
    """
    own = shipped()
    if name in own:
        return cast("Backend", importlib.import_module(f"{__name__}.{name}"))
    offers, refused = _offered.offers(own)
    if name in offers:
        return cast("Backend", _offered.load(offers[name]))
    known = sorted((*own, *offers))
    fix = " ".join((did_you_mean(name, known), *(f"{sentence}." for sentence in refused))).strip()
    raise ConfigError(Fault(where="framework", expected=" | ".join(known), found=repr(name), fix=fix))


def capabilities(framework: str, model: str) -> Capabilities:
    """What `model` of `framework` can do.

    Raises:
        ConfigError: the backend doesn't know the model.
    """
    models = load(framework).models
    if model not in models:
        hint = did_you_mean(model, models)
        raise ConfigError(Fault(where="model", expected=" | ".join(models), found=repr(model), fix=hint))
    return models[model]


__all__ = [
    "Backend", "Capabilities", "Settings", "Watch", "Writer", "capabilities", "ignored", "load", "names", "package",
    "shipped",
]  # fmt: skip
