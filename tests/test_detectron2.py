"""The detectron2 backend on real tiny trainings: the contract of every backend, and detectron2's own traps."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from defect_detect import job as jobs
from defect_detect.backends import load
from defect_detect.geometry import from_mask, region_area, region_box
from defect_detect.tables import Category, Dataset, Defects, Images
from defect_detect.watching import Watching

pytest.importorskip("detectron2", reason="detectron2 is not installed")
pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore")]

SIDE = 96
SMALL = {
    "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64, "MODEL.RESNETS.NORM": "GN",
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]], "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50, "MODEL.RPN.PRE_NMS_TOPK_TEST": 100, "MODEL.RPN.POST_NMS_TOPK_TEST": 30,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 32, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32, "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1, "MODEL.ROI_MASK_HEAD.NUM_CONV": 1, "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
}  # fmt: skip
RETINANET = {
    "config": "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
    "override": {
        "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64, "MODEL.RESNETS.NORM": "GN",
    "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.RETINANET.NUM_CONVS": 1, "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    },
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mask_rcnn": ("mask_rcnn_r50_fpn", {"override": SMALL}),
    "retinanet": ("config", RETINANET),
}


def pictures(root: Path, count: int, *, split: str = "train", masks: bool = True, seed: int = 0) -> Dataset:
    """Noise with a bright square in two of three pictures; the last is a crowd."""
    rng = np.random.default_rng(seed)
    rows, files = [], []
    for image in range(count):
        height = SIDE - 24 * (image % 3)
        grey = rng.normal(128, 8, (height, SIDE))
        y, x = np.mgrid[:height, :SIDE]
        if image % 3:
            cx, cy, r = rng.uniform(20, 70), rng.uniform(14, height - 14), rng.uniform(8, 14)
            mask = (abs(x - cx) < r) & (abs(y - cy) < r)
            grey[mask] += 80
            rows.append((image, mask))
        files.append(f"{split}{image}.png")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(root / files[-1])
    regions = tuple(from_mask(mask) for _, mask in rows)
    number = np.arange(1, count + 1)
    crowd = np.arange(len(rows)) == len(rows) - 1
    return Dataset(
        root=root, split=split,
        categories=(Category(id=1, name="square", source_id=1), Category(id=2, name="disc", source_id=2)),
        images=Images(
            file=tuple(files), id=number, group=np.array(files), source_id=tuple(number.tolist()),
            size=np.array([[SIDE, SIDE - 24 * (image % 3)] for image in range(count)], np.int64).reshape(-1, 2),
        ),
        defects=Defects(
            image=np.array([image for image, _ in rows], np.int64), label=np.zeros(len(rows), np.int64),
            box=np.array([region_box(region) for region in regions]).reshape(-1, 4),
            area=np.array([region_area(region) for region in regions]), crowd=crowd, ignore=np.zeros(len(rows), bool),
            region=regions if masks else None, id=np.arange(1, len(rows) + 1), source_id=tuple(range(len(rows))),
        ),
    )  # fmt: skip


def job(kind: str = "mask_rcnn", *, options: Any = None, model: str = "", **settings: Any) -> jobs.TrainJob:
    chosen = {
        "epochs": 2, "image_size": SIDE, "batch": 4, "weights": "none", "device": "cpu", "threads": 1,
        "max_detections": 7, "score_floor": 0.01, **settings,
    }  # fmt: skip
    return jobs.TrainJob(
        detector="tiny", framework="detectron2", model=model or KINDS[kind][0], dataset="", seed=0,
        settings=jobs.Settings(**chosen), options=KINDS[kind][1] if options is None else options,
    )  # fmt: skip


class Stopped(BaseException):
    """Stands for a kill."""


class Watched(Watching):
    """The worker's watch; `kill_in` names the epoch during whose first batch it is killed."""

    def __init__(self, out: Path, kill_in: int = 0) -> None:
        super().__init__(io.BytesIO(), out)
        self.kill_in = kill_in

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        super().batch(done, of, loss)
        if len(self.judged) + 1 == self.kill_in:
            raise Stopped


def run(out: Path, wanted: jobs.TrainJob, train: Dataset, val: Dataset, kill_in: int = 0) -> Any:
    out.mkdir(exist_ok=True)
    random.seed()  # another process has another state of chance
    np.random.seed()  # noqa: NPY002  detectron2 draws from this one
    torch.seed()
    watch = Watched(out, kill_in)
    watch.watch(wanted, val, {"job": "one"})
    outcome = load("detectron2").train(wanted, train=train, val=val.without_truth(), out=out, watch=watch)
    return outcome, watch


def predicted(out: Path, wanted: jobs.TrainJob, val: Dataset, batch: int = 3) -> Any:
    return load("detectron2").predict(
        wanted, out / "checkpoint.pt", val.without_truth(), device="cpu", batch=batch, watch=Watched(out)
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Trainings by kind, each made when it is first asked for."""
    done: dict[str, Any] = {}

    def one(kind: str) -> Any:
        if kind not in done:
            out = tmp_path_factory.mktemp("run")
            train, val = pictures(out, 12), pictures(out, 4, split="val", seed=1)
            outcome, watch = run(out, job(kind), train, val)
            done[kind] = out, train, val, outcome, watch, *predicted(out, job(kind), val)
        return done[kind]

    return one


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_seen_the_defect_free_too(trained, kind):
    _, train, _, outcome, watch, _, _ = trained(kind)
    assert (outcome.images_seen, outcome.defect_free_seen) == (12, int(train.defect_free.sum()))
    assert outcome.defect_free_seen == 4
    assert outcome.deterministic
    assert len(watch.judged) == 2
    assert all(np.isfinite(one.loss) and one.loss > 0 for one in watch.judged)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_the_checkpoint_and_what_to_go_on_from_stays(trained, kind):
    out, train, val, *_ = trained(kind)
    pictures_of = {*train.images.file, *val.images.file}
    assert {path.name for path in out.iterdir()} - pictures_of == {"checkpoint.pt", "metrics.csv", "resume"}


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_keep_the_floor_the_cap_and_the_pictures(trained, kind):
    _, _, val, outcome, _, found, how = trained(kind)
    assert len(found)
    assert found.score.min() >= 0.01
    assert found.score.max() <= 1
    assert np.bincount(found.image).max() <= 7
    size = val.images.size[found.image]
    assert (found.box[:, :2] >= 0).all()
    assert (found.box[:, 2:] <= size).all()
    assert (found.box[:, 2:] > found.box[:, :2]).all()
    assert set(found.label) <= {0, 1}
    assert outcome.masks == ("regions" if kind == "mask_rcnn" else "none")
    assert (found.region is not None) == (kind == "mask_rcnn")
    assert len(how.latency) == 4
    assert (how.nms_iou, how.input_size) == (0.5, "long side 96, padded to 32")
