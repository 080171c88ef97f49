"""What a worker is told and what it answers: the JSON of a run folder.

A run folder holds exactly one job and, once it is done, one result:

    RUN/job.json      TrainJob | PredictJob
    RUN/result.json   Trained | Predicted | Failed        exists only complete
    RUN/log.txt       whatever the framework printed
    RUN/resume/       where an unfinished training goes on (`resuming`)

A `TrainJob` leaves `checkpoint.*` and `metrics.csv`; a `PredictJob` leaves `predictions.json`
(COCO results) and `manifest.json` (how they were made). Between the two, progress crosses as JSON
lines on the worker's standard output: `Progress`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from defect_detect.data import parsing
from defect_detect.errors import InputError

PARENT = "DEFECT_DETECT_PARENT"
"""Environment variable by which a worker knows the process that started it."""
SCORE_FLOOR = 0.001
MAX_DETECTIONS = 100


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every backend understands; a backend that can't honour one says so, never ignores it."""

    epochs: int = 100
    image_size: int = 640
    """Long side in px that pictures are scaled to before the network sees them."""
    batch: int = 16
    learning_rate: float | None = None
    """None: the backend's own default for the model."""
    weights: str = "pretrained"
    """`pretrained` (the framework's default weights) | `none` (from scratch) | path of a checkpoint."""
    patience: int = 20
    """Epochs without a better validation score after which training stops."""
    device: str = "auto"
    """`auto` (first GPU, else CPU) | `cpu` | `cuda:0`."""
    amp: bool = False
    """Mixed precision, on a GPU only."""
    workers: int = 0
    """Processes that load pictures; 0 loads them in the training process."""
    threads: int = 0
    """CPU threads of the framework; 0 takes all cores. Two trainings that each use all cores of one
    machine at once ran 20x slower than one after the other."""
    score_floor: float = SCORE_FLOOR
    max_detections: int = MAX_DETECTIONS
    """Predictions kept in one image, over all classes, by descending score."""
    on_out_of_memory: Literal["fail", "halve"] = "fail"
    """`halve`: when memory runs out in training, go on with half as many images at once, and as many steps
    between two of the optimizer as keep the batch what it was; `Halved` records it."""
    trust_checkpoint: str = ""
    """SHA-256 of a file of `weights` that may run code when it is loaded. Files of tensors need no trust."""
    trust_config: str = ""
    """SHA-256 of a config of the framework that `options` name and that may run code; its own need no trust."""


class Tiling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large pictures are cut into tiles (`data.tiling`)."""

    size: int
    """px of a tile's side."""
    overlap: float = 0.2
    """Least share of its side by which a tile overlaps the next one."""
    min_visible: float = 0.2
    """Of what the tile that shows most of a defect shows of it: where less is visible, it is ignored."""
    defect_free: float = 1.0
    """Defect-free tiles that training keeps for each tile with a defect."""


class TrainJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="train"):
    """Train one detector on the train split, choose its checkpoint on the val split."""

    detector: str
    """The name people call it by: the config's file name."""
    framework: str
    """A module in `defect_detect.backends`."""
    model: str
    """A key of the backend's `models`."""
    dataset: str
    """Root of a normalized dataset (relative to the run folder, or absolute)."""
    fingerprints: dict[str, str] = {}
    """What the train and val splits must be; empty: not checked."""
    seed: int
    settings: Settings
    options: dict[str, Any] = {}
    """Passed to the framework verbatim."""
    tiling: Tiling | None = None
    """How the pictures of `dataset` were cut out of larger ones; None: they were not."""


class PredictJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="predict"):
    """Run one trained detector over one split."""

    trained: str
    """The run folder of the `TrainJob` (relative to this one, or absolute)."""
    checkpoint_sha256: str = ""
    """What the checkpoint must be; empty: not checked beyond what the training recorded."""
    dataset: str
    fingerprint: str = ""
    """What the split must be; empty: not checked."""
    split: str
    whole: str = ""
    """Root of the dataset that the pictures of `dataset` are tiles of: what is said of them is brought back
    there. Empty: they are whole."""
    whole_fingerprint: str = ""
    """What its split must be; empty: not checked."""
    device: str = "auto"
    threads: int = 0
    batch: int = 8


class Halved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory ran out, and it went on with fewer images at once."""

    epoch: int
    """From 1; 0: in predicting."""
    step: int
    """Of the epoch, from 1: the batch that did not fit; 0: in its validation."""
    batch: int
    """Images at once from then on."""


class TrainOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend says about a training that ended well."""

    checkpoint: str
    """File name in the run folder."""
    images_seen: int
    """Distinct training images that reached the network (counted from the batches, not the table)."""
    defect_free_seen: int
    parameters: int
    initial_weights: str
    """`none`, or what the weights came from (name and SHA-256, path and SHA-256)."""
    masks: str = "none"
    """What the mask branch learned from: `none` | `regions` | `boxes` (box-shaped masks)."""
    deterministic: bool = False
    """The same seed on the same machine gives the same predictions (on a CPU)."""

    def __post_init__(self) -> None:
        _beside(self.checkpoint)

    halved: list[Halved] = []


class PredictOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend says about how it predicted."""

    nms_iou: float | None
    """IoU over which the framework drops the lower of two boxes of one class; None: no NMS."""
    input_size: str
    """What pictures become before the network sees them, in words: `long side 640, padded to 32`."""
    latency: list[float] = []
    """Seconds per image, decoding included, in the order predicted."""
    halved: list[Halved] = []


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker answers after each epoch."""

    score: float
    """Mean FROC recall on validation, in [0, 1]."""
    best: bool
    """No epoch before was better: save this one as the checkpoint."""
    stop: bool
    """Patience has run out: end the training now."""


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An epoch as the worker judged it."""

    epoch: int
    """From 1."""
    loss: float
    score: float
    """Mean FROC recall on validation, in [0, 1]."""
    fn_rate: float
    """Validation FN rate at the default budget."""
    seconds: float
    """Since the training began, without the time that it lay still."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a training that was killed goes on."""

    epoch: int
    """The last one that is done and judged."""
    stop: bool
    """No other was to follow: only the outcome is left to be told."""
    state: Path
    """What the backend wrote after that epoch; its hash has been checked."""


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How validation went: by it the checkpoint was chosen."""

    epochs: int
    best_epoch: int
    best_score: float
    stopped_early: bool
    under_trained: bool
    """Validation was still improving at the last epoch (rule: `evaluation.training_curve`)."""


class Trained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="trained"):
    """result.json of a `TrainJob`."""

    outcome: TrainOutcome
    history: History
    checkpoint_sha256: str
    dataset_fingerprints: dict[str, str]
    """By split."""
    versions: dict[str, str]
    """Python, the framework and what it stands on."""
    resumed: list[int] = []
    """Epochs after which the training was taken up again, in order. A try that was killed before it kept an epoch
    left nothing in what came of it, and isn't among them."""
    seconds: float
    peak_memory_bytes: int


class Predicted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="predicted"):
    """result.json of a `PredictJob`."""

    predictions: str
    predictions_sha256: str
    manifest: str
    seconds: float
    peak_memory_bytes: int
    latency_p50: float | None
    latency_p95: float | None

    def __post_init__(self) -> None:
        _beside(self.predictions)
        _beside(self.manifest)


class Failed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="failed"):
    """result.json of a job that can't be done."""

    kind: str
    """`unavailable` (the framework is missing) | `unsupported` | `input` | `failed`."""
    message: str
    traceback: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a predictions file was made: what makes two of them comparable, or not."""

    schema: int = 1
    detector: str
    framework: str
    model: str
    family: str
    seed: int
    versions: dict[str, str]
    checkpoint_sha256: str
    dataset_fingerprint: str
    split: str
    images_sha256: str
    """Over the names of all images that were predicted on, in order."""
    images: int
    categories: list[str]
    score_floor: float
    max_detections: int
    decode_policy: str
    tiling: str
    nms_iou: float | None
    input_size: str
    initial_weights: str
    masks: str
    epochs: int
    images_seen: int
    defect_free_seen: int
    stopped_early: bool
    under_trained: bool
    resumed: list[int] = []
    """See `Trained.resumed`."""
    halved: list[Halved] = []
    """In training, then in predicting."""
    predictions_sha256: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One line of live progress."""

    stage: str
    """`start` | `resume` | `train` | `validate` | `predict`"""
    done: int = 0
    of: int = 0
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    score: float | None = None
    """Validation FROC recall after this epoch."""
    fn_rate: float | None = None
    """Validation FN rate at the default budget after this epoch."""
    note: str = ""
    """What people should know now: where a training goes on, or why it can't."""


Job = TrainJob | PredictJob
Result = Trained | Predicted | Failed


def encode(value: msgspec.Struct) -> bytes:
    """The value as indented JSON, keys in their declared order, so equal values give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def decode_job(text: bytes) -> Job:
    """The job of a `job.json`. Raises `msgspec.DecodeError` with a path when it doesn't fit."""
    job: Job = decode(text, Job)
    return job


def decode_result(text: bytes) -> Result:
    """The result of a `result.json`. Raises `msgspec.DecodeError` with a path."""
    result: Result = decode(text, Result)
    return result


def _beside(name: str) -> None:
    """Refuse the name of a file that wouldn't lie in the run folder itself; raises `ValueError`."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file in the run folder")


def decode(text: bytes, kind: Any) -> Any:
    """The value of that kind in a JSON file of ours, which somebody may have edited.

    Raises:
        msgspec.DecodeError: whatever is wrong with it: bytes that are no UTF-8, JSON nested beyond measure and a
            key given twice, of which msgspec would take the last, included.
    """
    try:
        value = msgspec.json.decode(text, type=kind)
        parsing.parse(text, where="the file", error=InputError)
    except (UnicodeDecodeError, RecursionError, InputError) as error:
        raise msgspec.DecodeError(str(error)) from None
    return value


def canonical(value: Mapping[str, Any] | msgspec.Struct) -> bytes:
    """JSON with sorted keys: what is hashed to see whether a job changed."""
    return msgspec.json.encode(value, order="deterministic")
