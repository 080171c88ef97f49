"""The detectron2 backend on real tiny trainings: the contract of every backend, and equality with detectron2 itself."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from defect_detect import job as jobs
from defect_detect import runner
from defect_detect.backends import load
from defect_detect.data import coco, predictions
from defect_detect.errors import DefectDetectError, RunFailed
from defect_detect.evaluation.average_precision import average_precision
from defect_detect.geometry import from_mask, iou, mask_iou, region_area, region_box, to_mask
from defect_detect.tables import Category, Dataset, Defects, Images, Rle
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
    "SOLVER.CLIP_GRADIENTS.ENABLED": True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "norm",
}  # fmt: skip
RETINANET = {
    "config": "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
    "override": {
        "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64, "MODEL.RESNETS.NORM": "GN",
    "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.RETINANET.NUM_CONVS": 1, "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    },
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mask_rcnn": ("mask_rcnn_r50_fpn", {"override": SMALL}, {"epochs": 5, "learning_rate": 0.02}),
    "retinanet": ("config", RETINANET, {}),
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
        "max_detections": 7, "score_floor": 0.01, **KINDS[kind][2], **settings,
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
            train, val = pictures(out, 12), pictures(out, 6, split="val", seed=1)
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
    assert len(watch.judged) == (5 if kind == "mask_rcnn" else 2)
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
    assert len(how.latency) == 6
    assert (how.nms_iou, how.input_size) == (0.5, "long side 96, padded to 32")


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_gets_the_same_predictions_alone_as_among_others(trained, kind):
    """Of 96, 72 and 48 px height: padded to the largest of a batch, a picture would be another one."""
    out, _, val, _, _, found, _ = trained(kind)
    alone, _ = predicted(out, job(kind), val, batch=1)
    assert len(found) == len(alone)
    assert np.array_equal(found.image, alone.image)
    assert np.allclose(found.score, alone.score, atol=1e-4)
    assert np.allclose(found.box, alone.box, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_detectron2s_own_predictor_says_the_same(trained, tmp_path, kind):
    """`DefaultPredictor` on the same weights, config and file: boxes, classes and scores to 1e-4, the same masks."""
    from detectron2.config import CfgNode, get_cfg
    from detectron2.data.detection_utils import read_image
    from detectron2.engine import DefaultPredictor

    out, _, val, _, _, _, _ = trained(kind)
    found, _ = predicted(out, job(kind), val, batch=1)
    content = torch.load(out / "checkpoint.pt", weights_only=True)
    torch.save({"model": content["state"]}, tmp_path / "model.pth")
    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode.load_cfg(content["config"]))
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    predictor = DefaultPredictor(cfg)
    for row, name in enumerate(val.images.file):
        said = predictor(read_image(str(val.root / name), format="BGR"))["instances"]
        ours = found.take(found.image == row)
        kept = said.scores.numpy() >= 0.01
        assert np.allclose(said.scores.numpy()[kept], ours.score, atol=1e-4)
        assert np.allclose(said.pred_boxes.tensor.numpy()[kept], ours.box, atol=1e-4)
        assert np.array_equal(said.pred_classes.numpy()[kept], ours.label)
        if kind == "mask_rcnn":
            height, width = said.image_size
            for mask, region in zip(said.pred_masks.numpy()[kept], ours.region, strict=True):
                assert not mask.any() or np.array_equal(mask, to_mask(region, width, height))


@pytest.mark.parametrize("shape", ["box", "mask"])
@pytest.mark.parametrize("fast", [False, True])
def test_detectron2s_own_evaluator_gives_the_same_ap(trained, tmp_path, shape, fast):
    from detectron2.data import MetadataCatalog
    from detectron2.evaluation import COCOEvaluator
    from detectron2.structures import Boxes, Instances

    out, _, val, _, _, _, _ = trained("mask_rcnn")
    found, _ = predicted(out, job(), val)
    (tmp_path / "val.json").write_text(json.dumps(as_coco(val)))
    name = f"{tmp_path.name}_{shape}_{fast}"
    MetadataCatalog.get(name).set(json_file=str(tmp_path / "val.json"), thing_dataset_id_to_contiguous_id={1: 0, 2: 1})
    try:
        kind = {"box": "bbox", "mask": "segm"}[shape]
        judge = COCOEvaluator(name, tasks=(kind,), distributed=False, use_fast_impl=fast)
        judge.reset()
        for row, (width, height) in enumerate(val.images.size.tolist()):
            ours = found.take(found.image == row)
            said = Instances((height, width))
            said.pred_boxes, said.scores = Boxes(torch.from_numpy(ours.box)), torch.from_numpy(ours.score.copy())
            said.pred_classes = torch.from_numpy(ours.label.copy())
            masks = [to_mask(region, width, height) for region in ours.region]
            said.pred_masks = torch.from_numpy(np.array(masks, bool).reshape(-1, height, width))
            judge.process([{"image_id": int(val.images.id[row])}], [{"instances": said}])
        theirs = judge.evaluate()[kind]
    finally:
        MetadataCatalog.remove(name)
    mine = average_precision(val, found, shape)
    assert mine.ap is not None
    assert mine.ap > 0
    assert theirs["AP"] / 100 == pytest.approx(mine.ap, abs=1e-6)
    assert theirs["AP50"] / 100 == pytest.approx(mine.ap50, abs=1e-6)
    assert theirs["AP75"] / 100 == pytest.approx(mine.ap75, abs=1e-6)


def as_coco(data: Dataset) -> dict[str, Any]:
    defects = data.defects
    return {
        "info": {}, "images": [
            {"id": int(number), "width": int(width), "height": int(height), "file_name": name}
            for number, (width, height), name in zip(data.images.id, data.images.size, data.images.file, strict=True)
        ],
        "categories": [{"id": one.id, "name": one.name} for one in data.categories],
        "annotations": [
            {"id": int(defects.id[at]), "image_id": int(data.images.id[defects.image[at]]),
             "category_id": int(defects.label[at]) + 1, "iscrowd": int(defects.crowd[at]),
             "bbox": [*defects.box[at, :2].tolist(), *(defects.box[at, 2:] - defects.box[at, :2]).tolist()],
             "area": float(defects.area[at]),
             "segmentation": {"size": [region.height, region.width], "counts": region.counts.decode()}}
            for at, region in enumerate(defects.region or ()) if isinstance(region, Rle)
        ],
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_goes_on_as_if_it_had_not_been_and_a_seed_gives_the_same_bytes(trained, tmp_path, kind):
    whole, train, val, expected, watched, found, _ = trained(kind)
    with pytest.raises(Stopped):
        run(tmp_path, job(kind), train, val, kill_in=2)
    outcome, watch = run(tmp_path, job(kind), train, val)
    assert watch.resumed == [1]
    assert outcome == expected
    assert [one.loss for one in watch.judged] == [one.loss for one in watched.judged]
    assert (tmp_path / "checkpoint.pt").read_bytes() == (whole / "checkpoint.pt").read_bytes()
    again, _ = predicted(tmp_path, job(kind), val)
    assert np.array_equal(again.score, found.score)
    assert np.array_equal(again.box, found.box)


def test_chance_threads_and_algorithms_are_given_back(tmp_path):
    train, val = pictures(tmp_path, 2), pictures(tmp_path, 3, split="val")

    def now() -> Any:
        state = np.random.get_state()[1].tolist()  # noqa: NPY002  the one that detectron2 draws from
        return state, random.getstate(), torch.get_rng_state().tolist(), torch.are_deterministic_algorithms_enabled()

    wanted, watch = job(epochs=1), Watched(tmp_path)
    watch.watch(wanted, val, {"job": "one"})
    before = now()
    load("detectron2").train(wanted, train=train, val=val.without_truth(), out=tmp_path, watch=watch)
    assert now() == before


def test_masks_are_learned(trained):
    """The regions of the squares that were found are the squares."""
    _, _, val, _, _, found, _ = trained("mask_rcnn")
    assert val.defects.region is not None
    assert found.region is not None
    overlap = mask_iou(found.region, val.defects.region)
    pairs = (found.image[:, None] == val.defects.image) & (iou(found.box, val.defects.box) > 0.5)
    assert pairs.any()
    assert overlap[pairs].mean() > 0.5


def test_boxes_alone_train_no_mask_branch(tmp_path):
    train, val = pictures(tmp_path, 6, masks=False), pictures(tmp_path, 4, split="val", seed=1, masks=False)
    wanted = job(epochs=1)
    outcome, _ = run(tmp_path, wanted, train, val)
    assert outcome.masks == "none"
    assert not any("mask" in name for name in torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state"])
    assert predicted(tmp_path, wanted, val)[0].region is None


def test_a_worker_trains_and_another_predicts(tiny, tmp_path):
    """In processes of their own, where nothing has imported anything before."""
    home = tmp_path / "tiny-0"
    wanted = msgspec.structs.replace(job(epochs=1, batch=12), dataset=str(tiny))
    done = runner.execute(home, wanted, framework="detectron2")
    assert isinstance(done, jobs.Trained)
    assert done.versions["detectron2"].startswith("0.6")
    asked = jobs.PredictJob(trained=str(home), dataset=str(tiny), split="test", device="cpu", threads=1)
    said = runner.execute(home / "predictions" / "test", asked, framework="detectron2")
    assert isinstance(said, jobs.Predicted)
    data = coco.load(tiny, "test")
    found = predictions.read(home / "predictions" / "test" / said.predictions, data)
    assert len(found)
    assert {path.name for path in (home / "predictions" / "test").iterdir()} == {
        "job.json", "log.txt", "manifest.json", "predictions.json", "result.json",
    }  # fmt: skip


def test_no_pictures_no_predictions(trained):
    out, _, val, *_ = trained("mask_rcnn")
    none = emptied(val)
    found, how = predicted(out, job(), none)
    assert len(found) == 0
    assert how.latency == []


def emptied(data: Dataset) -> Dataset:
    """Without a picture."""
    return dataclasses.replace(data, images=data.images.take(np.zeros(0, np.int64)), defects=Defects.none(regions=True))


def test_the_checkpoint_is_no_code_and_of_its_model(trained, tmp_path):
    out, _, val, *_ = trained("mask_rcnn")
    torch.load(out / "checkpoint.pt", weights_only=True)
    other = job(model="faster_rcnn_r50_fpn")
    with pytest.raises(RunFailed, match=r"checkpoint\.pt is of mask_rcnn_r50_fpn"):
        predicted(out, other, val)
    for content in (b"PK\x03\x04 cut off", b"", pickle.dumps({"format": 1})):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunFailed, match=str(tmp_path)):
            predicted(tmp_path, job(), val)
    torch.save({"format": "something else"}, tmp_path / "checkpoint.pt")
    with pytest.raises(RunFailed, match="not a checkpoint of the detectron2 backend"):
        predicted(tmp_path, job(), val)
    content = torch.load(out / "checkpoint.pt", weights_only=True)
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for config in (
        "!!python/object/apply:os.abort []",
        "MODEL: &a {B: *a}",
        bomb,
        "MODEL: {META_ARCHITECTURE: PanopticFPN}",
        "A: 1",
        "- 1",
    ):
        torch.save({**content, "config": config}, tmp_path / "checkpoint.pt")
        with pytest.raises(RunFailed, match="holds no config of detectron2's"):
            predicted(tmp_path, job(), val)


def test_a_broken_picture_is_named(trained, tmp_path):
    out, train, val, *_ = trained("mask_rcnn")
    broken = dataclasses.replace(val, root=tmp_path)
    for name in val.images.file:
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DefectDetectError, match=val.images.file[0]):
        predicted(out, job(), broken)
    for name in train.images.file:
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DefectDetectError, match=r"train\d+\.png"):
        run(tmp_path / "out", job(epochs=1), dataclasses.replace(train, root=tmp_path), val)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_not_finite_ends_the_training_at_once(tmp_path, kind):
    train, val = pictures(tmp_path, 8), pictures(tmp_path, 2, split="val")
    with pytest.raises(RunFailed, match=r"epoch 1, batch \d of 2 \(train\d.*learning_rate"):
        run(tmp_path, job(kind, epochs=1, learning_rate=1e30), train, val)
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize("moment", ["training", "validation"])
def test_out_of_memory_halves_where_it_may(tmp_path, monkeypatch, moment):
    from detectron2.modeling.meta_arch import RetinaNet

    forward = RetinaNet.forward

    def little(self: Any, batched_inputs: Any) -> Any:
        if len(batched_inputs) > 1 and self.training == (moment == "training"):
            raise RuntimeError("CUDA out of memory")
        return forward(self, batched_inputs)

    monkeypatch.setattr(RetinaNet, "forward", little)
    train, val = pictures(tmp_path, 4), pictures(tmp_path, 8, split="val", seed=1)
    step = 1 if moment == "training" else 0
    wanted = job("retinanet", epochs=1, on_out_of_memory="halve")
    outcome, _ = run(tmp_path / "halves", wanted, train, val)
    # In validation, three of four pictures are of one size after padding, so two at once still meet it.
    assert outcome.halved == [jobs.Halved(epoch=1, step=step, batch=2), jobs.Halved(epoch=1, step=step, batch=1)]
    assert outcome.images_seen == 4
    if moment == "validation":
        _, how = predicted(tmp_path / "halves", wanted, val, batch=2)
        assert how.halved == [jobs.Halved(epoch=0, step=0, batch=1)]
    with pytest.raises(RunFailed, match="on_out_of_memory=halve"):
        run(tmp_path / "fails", job("retinanet", epochs=1), train, val)


def test_loader_processes_change_nothing(tmp_path):
    train, val = pictures(tmp_path, 6), pictures(tmp_path, 3, split="val", seed=1)
    for workers in (0, 1):
        run(tmp_path / str(workers), job("retinanet", epochs=1, workers=workers), train, val)
    one, other = ((tmp_path / name / "checkpoint.pt").read_bytes() for name in ("0", "1"))
    assert one == other


NARROW = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8, "MODEL.RESNETS.RES2_OUT_CHANNELS": 16, "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16, "MODEL.ROI_MASK_HEAD.CONV_DIM": 8, "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "masks"),
    [
        ("Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml", True), ("COCO-Detection/faster_rcnn_R_50_DC5_1x.yaml", False),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml", True),
    ],
)  # fmt: skip
def test_other_networks_of_the_zoo_train_and_predict(tmp_path, config, masks):
    train, val = pictures(tmp_path, 4), pictures(tmp_path, 3, split="val", seed=1)
    wanted = job(model="config", options={"config": config, "override": NARROW}, epochs=1, image_size=64)
    outcome, _ = run(tmp_path, wanted, train, val)
    assert (outcome.images_seen, outcome.masks) == (4, "regions" if masks else "none")
    found, how = predicted(tmp_path, wanted, val)
    assert (found.region is not None) == masks
    assert how.input_size == f"long side 64, padded to {32 if 'FPN' in config else 1}"
