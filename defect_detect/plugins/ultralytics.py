"""For ultralytics: `missed_defects` adds what is missed to every validation of a model or trainer.

docs/backends.md has an example. ultralytics is imported by whoever has the model; here nothing of it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detect.data import yolo_folder
from defect_detect.errors import RunFailed, Unsupported
from defect_detect.evaluation import operating
from defect_detect.plugins import counted
from defect_detect.plugins.counted import Counter
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

_TASKS = ("detect", "segment")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What is said of a picture of (width, height) px: (n, 4) x0 y0 x1 y1 px, (n,), (n,)."""

    size: tuple[int, int]
    box: Any
    score: Any
    label: Any


class Missed:
    """What the validations so far said.

    figures   of the last one, as `counted.Counter.figures`, unrounded
    history   of all, in order
    said      the last one's predictions, by row of `truth`
    truth     the last one's pictures and defects
    """

    def __init__(self, policy: str, root: Path | None, split: str) -> None:
        self.history: list[dict[str, float]] = []
        self.said: list[tuple[int, Predictions]] = []
        self.truth: Dataset | None = None
        self._policy = operating.parse_policy(policy)
        self._given = None if root is None else counted.counter(root, split, policy)
        self._heard: dict[str, _Heard] = {}

    @property
    def figures(self) -> Mapping[str, float]:
        """Of the last validation; empty before the first."""
        return self.history[-1] if self.history else {}

    def start(self, validator: Any) -> None:
        """`on_val_start`: listen to this validation."""
        if validator.args.task not in _TASKS:
            raise Unsupported(f"missed_defects counts boxes: task {validator.args.task!r} is not {' or '.join(_TASKS)}")
        self._heard = {}
        update, stats = validator.update_metrics, validator.get_stats

        # Callbacks are given neither predictions nor a place in what is logged; these two methods are.
        def update_metrics(preds: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> None:
            self._heard |= {batch["im_file"][at]: _hear(said, batch, at) for at, said in enumerate(preds)}
            update(preds, batch)

        def get_stats() -> dict[str, Any]:
            return {**stats(), **{f"defects/{name}": value for name, value in self._count(validator).items()}}

        validator.update_metrics, validator.get_stats = update_metrics, get_stats

    def end(self, validator: Any) -> None:
        """`on_val_end`: leave the validator as it was, and say what was missed."""
        from ultralytics.utils import LOGGER

        for name in ("update_metrics", "get_stats"):
            vars(validator).pop(name, None)
        told = ", ".join(f"{name} {value:.3f}" for name, value in self.figures.items())
        LOGGER.info(f"missed defects ({self._policy.text}): {told}")

    def _count(self, validator: Any) -> dict[str, float]:
        names = validator.data["names"]
        classes = [str(names[key]) for key in sorted(names)]
        counter = self._given or Counter(
            truth=_labelled(validator.dataloader.dataset.labels, self._heard, classes), policy=self._policy
        )
        counter.check(classes)
        rows = counted.by_path(counter.truth) if self._given is None else _rows(counter.truth)
        self.truth, self.said = counter.truth, []
        for file, heard in self._heard.items():
            tail = Path(file).as_posix().rpartition("/images/")[2]
            row = rows[tail] if tail in rows else counted.row_of(rows, file)
            if heard.size != tuple(counter.truth.images.size[row].tolist()):
                raise RunFailed(f"{file} has {heard.size[0]} x {heard.size[1]} px, other than the dataset says")
            self.said.append((row, counter.table(row, box=heard.box, score=heard.score, label=heard.label)))
        self.history.append(counter.figures(self.said))
        return self.history[-1]


def missed_defects(
    model: Any, *, policy: str = counted.POLICY, truth: str | Path | None = None, split: str = "val"
) -> Missed:
    """Count what is missed in every validation of `model`, a YOLO or a trainer, from now on.

    The figures join ultralytics' own as `defects/...`: in results.csv, in `trainer.metrics`, so in what its loggers
    are sent. `policy`: as `--policy` of compare; unless it is `score=X`, the threshold is chosen on the pictures
    that are judged. `truth`: the normalized dataset whose split is validated on, as it lies there or as
    tools/export.py wrote it; without, the labels that ultralytics read, which know no crowds and no ignored defects.

    ultralytics validates with `conf` 0.001 and at most 300 predictions a picture. With several GPUs it trains in
    processes of its own, which callbacks don't reach.

    Raises:
        DatasetError: `truth` has no such split. ConfigError: no such policy.
    """
    found = Missed(policy, None if truth is None else Path(truth), split)
    model.add_callback("on_val_start", found.start)
    model.add_callback("on_val_end", found.end)
    return found


def _rows(truth: Dataset) -> dict[str, int]:
    """The row of each picture: by its real path, and by its name below `images/` where tools/export.py wrote it."""
    names = yolo_folder.name_pictures(truth)
    return {**{f"{truth.split}/{name}": row for row, name in enumerate(names)}, **counted.by_path(truth)}


def _hear(said: Mapping[str, Any], batch: Mapping[str, Any], at: int) -> _Heard:
    from ultralytics.utils.ops import scale_boxes

    height, width = batch["ori_shape"][at]
    shown = tuple(batch["img"].shape[2:])
    box = scale_boxes(shown, said["bboxes"].clone(), (height, width), ratio_pad=batch["ratio_pad"][at])
    score, label = said["conf"].cpu().numpy(), said["cls"].cpu().numpy()
    return _Heard(size=(int(width), int(height)), box=box.cpu().numpy(), score=score, label=label)


def _labelled(records: Sequence[Mapping[str, Any]], heard: Mapping[str, _Heard], classes: Sequence[str]) -> Dataset:
    """Pictures and labels as ultralytics read them, centre and size as shares in float32, as a split."""
    files = tuple(str(record["im_file"]) for record in records)
    if absent := [file for file in files if file not in heard]:
        raise RunFailed(f"{len(absent)} of {len(files)} pictures were not validated on ({absent[0]}, ...)")
    size = np.array([heard[file].size for file in files], np.int64).reshape(-1, 2)
    image = np.repeat(np.arange(len(files)), [len(record["cls"]) for record in records])
    shares = np.concatenate([np.zeros((0, 4)), *(np.asarray(record["bboxes"], np.float64) for record in records)])
    centre, half = shares[:, :2] * size[image], shares[:, 2:] * size[image] / 2
    number, no = np.arange(1, len(image) + 1), np.zeros(len(image), np.bool_)
    return Dataset(
        root=Path("/"), split="val",
        categories=tuple(Category(id=at, name=name, source_id=at) for at, name in enumerate(classes, 1)),
        images=Images(
            file=files, id=np.arange(1, len(files) + 1), size=size, group=np.array(files, np.str_), source_id=files
        ),
        defects=Defects(
            image=image.astype(np.int64),
            label=np.concatenate([np.zeros(0), *(np.ravel(record["cls"]) for record in records)]).astype(np.int64),
            box=np.concatenate([centre - half, centre + half], axis=1), area=4 * half.prod(axis=1), crowd=no,
            ignore=no.copy(), region=None, id=number, source_id=tuple(number.tolist()),
        ),
    )  # fmt: skip
