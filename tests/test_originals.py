"""Equal to the originals: the frameworks' own inference says what the adapters say, and their own AP is ours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from defect_detect import geometry
from defect_detect.backends import load
from defect_detect.evaluation.average_precision import average_precision
from defect_detect.tables import Dataset, Defects, Predictions
from tests import coco_reference, test_torchvision, test_ultralytics

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore")]
SIDE = 96
NEAR = 1e-4


def near(data: Dataset, said: Predictions, *, masks: bool = False) -> Dataset:
    """Truth beside every other prediction, moved by up to 2 px, so that AP is neither 0 nor 1."""
    rng = np.random.default_rng(0)
    rows = np.arange(0, len(said), 2)
    size = data.images.size[said.image[rows]]
    moved = [(int(x), int(y)) for x, y in rng.integers(0, 3, (len(rows), 2))]
    boxes = [geometry.clip(said.box[[row]] + [*move, *move], *size[k])[0] for k, (row, move) in enumerate(
        zip(rows, moved, strict=True))]  # fmt: skip
    regions = []
    for k, (row, (x, y)) in enumerate(zip(rows, moved, strict=True)):
        width, height = (int(side) for side in size[k])
        if masks:
            assert said.region is not None
            mask = np.roll(geometry.to_mask(said.region[row], width, height), (y, x), axis=(0, 1))
            regions.append(geometry.from_mask(mask))
            boxes[k] = geometry.region_box(regions[-1])
    box = np.array(boxes).reshape(-1, 4)
    kept = np.flatnonzero((box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]))
    none, number = np.zeros(len(kept), bool), np.arange(1, len(kept) + 1)
    area = (box[kept, 2:] - box[kept, :2]).prod(axis=1)
    if masks:
        area = np.array([geometry.region_area(regions[k]) for k in kept], float)
    return dataclasses.replace(
        data,
        defects=Defects(
            image=said.image[rows][kept], label=said.label[rows][kept], box=box[kept], area=area, crowd=none,
            ignore=none.copy(), region=tuple(regions[k] for k in kept) if masks else None, id=number,
            source_id=tuple(number.tolist()),
        ),
    )  # fmt: skip


def as_coco(data: Dataset) -> dict[str, Any]:
    """What a framework's own evaluator reads."""
    annotations = []
    for row, image in enumerate(data.defects.image):
        x0, y0, x1, y1 = data.defects.box[row].tolist()
        entry = {
            "id": row + 1, "image_id": int(data.images.id[image]), "category_id": int(data.defects.label[row]) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": float(data.defects.area[row]), "iscrowd": 0,
        }  # fmt: skip
        if data.defects.region is not None:
            rle = geometry.to_rle(data.defects.region[row], *(int(side) for side in data.images.size[image]))
            entry["segmentation"] = {"size": [rle.height, rle.width], "counts": rle.counts.decode("ascii")}
        annotations.append(entry)
    images = [
        {"id": int(number), "width": int(width), "height": int(height), "file_name": file}
        for number, (width, height), file in zip(data.images.id, data.images.size, data.images.file, strict=True)
    ]
    categories = [{"id": k + 1, "name": one.name} for k, one in enumerate(data.categories)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def spread(network: Any) -> Any:
    """The network with random weights that tell pictures and places apart: few scores of it are nearly alike."""
    import torch

    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                fan = module.weight[0].numel()
                last = isinstance(module, torch.nn.Linear)  # scores of 1 would be alike
                module.weight.normal_(0, (0.1 if last else 2) ** 0.5 / fan**0.5, generator=rng)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1.0)
                module.bias.normal_(0, 0.2, generator=rng)
    return network.eval()


def assert_same(own: Predictions, found: tuple[Any, Any, Any], floor: float) -> int:
    """A picture's predictions are the original's (boxes, scores, labels) from the floor on; how many they are."""
    box, score, label = (np.asarray(value, np.float64) for value in found)
    real = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (score >= floor)
    score, box, label = score[real][: len(own)], box[real][: len(own)], label[real][: len(own)]
    assert len(score) == len(own)
    mine, theirs = (
        np.lexsort((b[:, 3].round(2), b[:, 2].round(2), b[:, 1].round(2), b[:, 0].round(2), k))
        for b, k in ((own.box, own.label), (box, label))
    )
    np.testing.assert_array_equal(own.label[mine], label[theirs])
    np.testing.assert_allclose(own.score[mine], score[theirs], atol=NEAR, rtol=0)
    np.testing.assert_allclose(own.box[mine] / SIDE, box[theirs] / SIDE, atol=NEAR, rtol=0)
    return len(own)


@pytest.fixture(scope="module", params=["ssdlite320_mobilenet_v3", "ssd300_vgg16", "mask_rcnn_r18_fpn"])
def torchvisions(request, tmp_path_factory):
    """A checkpoint, pictures that need no scaling for its network, and what the adapter says of them."""
    pytest.importorskip("torchvision")
    from defect_detect.backends._torchvision import models, weights

    model, out = request.param, tmp_path_factory.mktemp("run")
    wanted = test_torchvision.job(model, max_detections=20, score_floor=0.001)
    val = test_torchvision.pictures(out, 7, split="val", seed=1)
    kind = "regions" if model.startswith("mask") else "none"
    with (out / "checkpoint.pt").open("wb") as file:
        weights.write(file, spread(models.build(wanted, 3).network), wanted, labels=3, masks=kind)
    said, _ = load("torchvision").predict(
        wanted, out / "checkpoint.pt", val.without_truth(), device="cpu", batch=2, watch=test_torchvision.Eyes()
    )
    return wanted, out / "checkpoint.pt", val, said


def test_torchvisions_own_model_says_the_same(torchvisions):
    """Its own SSD or Mask R-CNN, with its own transform; SSD would scale pictures that aren't square its own way."""
    import torch
    from torchvision.io import read_image
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    from defect_detect.backends._torchvision import models, weights

    wanted, checkpoint, val, said = torchvisions
    own = models.build(wanted, 3).network
    weights.restore(own, wanted, labels=3, path=checkpoint)
    mean, deviation = own.transform.image_mean, own.transform.image_std
    if isinstance(own, MaskRCNN):
        network: Any = own
        own.transform = GeneralizedRCNNTransform(SIDE, SIDE, mean, deviation)
    else:
        network = SSD(
            own.backbone, own.anchor_generator, (SIDE, SIDE), 3, head=own.head, image_mean=mean, image_std=deviation,
            score_thresh=own.score_thresh, nms_thresh=own.nms_thresh, detections_per_img=own.detections_per_img,
            topk_candidates=own.topk_candidates,
        )  # fmt: skip
        assert type(network) is SSD
    network.eval()
    compared = 0
    for row, name in enumerate(val.images.file):
        if not isinstance(own, MaskRCNN) and val.images.size[row].min() < SIDE:
            continue
        with torch.no_grad():
            (found,) = network([read_image(str(val.root / name)).expand(3, -1, -1).float() / 255])
        compared += assert_same(
            said.take(said.image == row), (found["boxes"], found["scores"], found["labels"] - 1), 0.001
        )
    assert compared > 10


def test_pycocotools_finds_torchvisions_predictions_as_precise(torchvisions):
    """torchvision's own scripts evaluate with pycocotools."""
    _, _, val, said = torchvisions
    for masks in (False, True) if said.region is not None else (False,):
        truth = near(val, said, masks=masks)
        expected = coco_reference.summarized(coco_reference.reference(truth, said, kind="segm" if masks else "bbox"))
        figures = average_precision(truth, said, "mask" if masks else "box")
        assert 0 < figures.ap < 1
        assert (figures.ap, figures.ap50, figures.ap75, figures.ar100) == pytest.approx(
            (expected[0], expected[1], expected[2], expected[8]), abs=1e-9
        )


@pytest.fixture(scope="module", params=["yolo26n", "yolo11n"])
def ultralytics_(request, tmp_path_factory, ultralytics):
    """As `torchvisions`; with masks for YOLO26, which needs no NMS, boxes for YOLO11."""
    from defect_detect.backends._ultralytics import network

    model, home = request.param, tmp_path_factory.mktemp(request.param)
    task = "segment" if model == "yolo26n" else "detect"
    wanted = test_ultralytics.job(model, {}, max_detections=20)
    val = test_ultralytics.scene(home, "val", masks=task == "segment")
    built = spread(network.build(model, task, ["square", "disc"]))
    network.save(
        home / "checkpoint.pt", built, network.Saved(model=model, task=task, names=["square", "disc"], image_size=SIDE)
    )
    said, _ = load("ultralytics").predict(
        wanted, home / "checkpoint.pt", val.without_truth(), device="cpu", batch=4, watch=test_ultralytics.Watching()
    )
    return SimpleNamespace(home=home, job=wanted, val=val, said=said, checkpoint=home / "checkpoint.pt")


def originally(run: Any, row: int) -> Any:
    """What `YOLO(...).predict` says of a picture of val."""
    import os

    from ultralytics import YOLO

    from defect_detect.backends._ultralytics import network

    built, saved = network.load(run.checkpoint)
    whole = YOLO(f"{run.job.model}{'-seg' if saved.task == 'segment' else ''}.yaml", task=saved.task, verbose=False)
    whole.model = built
    before = Path.cwd()
    os.chdir(run.home)
    try:
        (said,) = whole.predict(
            str(run.val.root / run.val.images.file[row]), imgsz=SIDE, conf=run.job.settings.score_floor,
            max_det=run.job.settings.max_detections, iou=0.7, device="cpu", verbose=False, save=False,
        )  # fmt: skip
    finally:
        os.chdir(before)
    return said


@pytest.mark.usefixtures("ultralytics")
def test_ultralytics_own_predict_says_the_same(ultralytics_):
    """JPEGs are left out: it decodes them with OpenCV, which gives other pixels than Pillow."""
    said = ultralytics_.said
    compared = 0
    for row, name in enumerate(ultralytics_.val.images.file):
        if name.endswith(".png"):
            boxes = originally(ultralytics_, row).boxes
            floor = ultralytics_.job.settings.score_floor
            compared += assert_same(said.take(said.image == row), (boxes.xyxy, boxes.conf, boxes.cls), floor)
    assert compared > 20


@pytest.mark.usefixtures("ultralytics")
def test_ultralytics_coco_evaluation_finds_its_predictions_as_precise(ultralytics_, tmp_path):
    """Its own JSON of predictions, and faster-coco-eval as its validator calls it.

    It rounds scores to 0.00001, which would leave open which of two comes first: here they are their ranks.
    """
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.models.yolo.segment import SegmentationValidator

    said, val = ultralytics_.said, ultralytics_.val
    rank = np.argsort(np.argsort(-said.score, kind="stable"))
    said = dataclasses.replace(said, score=1 - rank / 1000)
    masks = said.region is not None
    truth = near(val, said, masks=False)
    validator = (SegmentationValidator if masks else DetectionValidator)(
        args={"task": "detect", "save_json": True, "mode": "val", "project": str(tmp_path)}, save_dir=tmp_path
    )
    validator.class_map = [1, 2]
    validator.jdict = []
    for row in range(len(val.images)):
        own = said.take(said.image == row)
        shown = {"bboxes": torch.from_numpy(own.box), "conf": torch.from_numpy(own.score),
                 "cls": torch.from_numpy(own.label)}  # fmt: skip
        DetectionValidator.pred_to_json(validator, shown, {"im_file": f"{int(val.images.id[row])}.png"})
    validator.is_coco, validator.is_lvis, validator.training = True, False, False
    validator.gdict = as_coco(truth)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(validator.gdict))
    stats = DetectionValidator.coco_evaluate(validator, {}, validator.jdict, str(path))
    figures = average_precision(truth, said)
    assert 0 < figures.ap < 1
    assert figures.ap == pytest.approx(stats["metrics/mAP50-95(B)"], abs=2e-3), "it rounds boxes to 0.001 px"
    assert figures.ap50 == pytest.approx(stats["metrics/mAP50(B)"], abs=2e-3)


@pytest.fixture(scope="module", params=["ssdlite320", "mask_rcnn_r50_fpn"])
def mmdets(mmdet, request, tmp_path_factory):
    """As `torchvisions`."""
    from mmdet.registry import MODELS

    from defect_detect.backends._mmdet import configs, environment, weights
    from tests import test_mmdet

    out = tmp_path_factory.mktemp("run")
    wanted = test_mmdet.job(request.param, max_detections=20, score_floor=0.001)
    val = test_mmdet.pictures(out, 6, split="val", seed=1)
    plan = configs.plan(wanted, classes=2)
    with environment.quiet(), (out / "checkpoint.pt").open("wb") as file:
        network = spread(MODELS.build(plan.model))
        weights.write(file, network, wanted, plan, names=["square", "disc"], masks="regions" if plan.masks else "none")
    said, _ = test_mmdet.predicted(out, wanted, val, batch=1)
    return wanted, out / "checkpoint.pt", val, said


def test_mmdets_own_inference_and_coco_metric_say_the_same(mmdets, tmp_path):
    """`init_detector`'s pipeline and `test_step` on the files; `CocoMetric` on what they say (it rounds to 0.001)."""
    import torch
    from mmcv.transforms import Compose
    from mmdet.evaluation import CocoMetric

    from defect_detect.backends._mmdet import weights

    wanted, checkpoint, val, said = mmdets
    network, steps, *_ = weights.restore(checkpoint, wanted, names=["square", "disc"])
    network.eval()
    pipeline = Compose([{"type": "LoadImageFromFile"}, *steps[1:]])
    masks = said.region is not None
    truth = near(val, said, masks=masks)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(as_coco(truth)))
    metric = CocoMetric(ann_file=str(path), metric=["bbox", "segm"] if masks else ["bbox"])
    metric.dataset_meta = {"classes": [one.name for one in val.categories]}
    compared = 0
    for row, name in enumerate(val.images.file):
        shown = pipeline({"img_path": str(val.root / name), "img_id": int(val.images.id[row])})
        with torch.no_grad():
            (sample,) = network.test_step({key: [shown[key]] for key in ("inputs", "data_samples")})
        found = sample.pred_instances
        own = said.take(said.image == row)
        compared += assert_same(own, (found.bboxes, found.scores, found.labels), 0.001)
        if masks:
            size = tuple(int(side) for side in val.images.size[row])
            assert own.region is not None
            for at, region in enumerate(own.region):
                away = np.abs(found.bboxes.numpy() - own.box[at]).sum(1) + np.abs(found.scores.numpy() - own.score[at])
                assert np.array_equal(geometry.to_mask(region, *size), found.masks[int(away.argmin())].numpy())
        metric.process({}, [sample.to_dict()])
    assert compared > 20
    theirs = metric.evaluate(size=len(val.images))
    for kind, shape in (("bbox", "box"), ("segm", "mask")) if masks else (("bbox", "box"),):
        figures = average_precision(truth, said, shape)
        assert 0 < figures.ap < 1
        for name, value in (("mAP", figures.ap), ("mAP_50", figures.ap50), ("mAP_75", figures.ap75)):
            assert value == pytest.approx(theirs[f"coco/{kind}_{name}"], abs=6e-4)
