"""Training and predicting by the frameworks themselves, with the settings of a job: the peers of `throughput.py`.

What a person would write who knows the framework: `YOLO(...).train(...)` on a folder of label files; for
torchvision a plain loop over its own model, loss and transform, with pictures and masks kept in memory; mmengine's
`Runner` with `CocoDataset` and `CocoMetric`; detectron2's `DefaultTrainer` with `COCOEvaluator`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from defect_detect.job import TrainJob

Mark = Callable[[], None]
Done = Callable[[int], None]
AT_ONCE = {"ultralytics": 8, "torchvision": 8, "mmdet": 1, "detectron2": 1}
"""Pictures predicted on at once: `inference_detector` and `DefaultPredictor` take one."""


def start(framework: str) -> None:
    """Import it, on one thread: neither is what is measured."""
    if framework == "ultralytics":
        import ultralytics.models.yolo.detect  # noqa: F401

        from defect_detect.backends._ultralytics import environment

        environment.start(1)
    elif framework == "torchvision":
        import torchvision.models.detection  # noqa: F401
    elif framework == "mmdet":
        from defect_detect.backends._mmdet import environment as ours

        ours.start(1)
        import mmdet.apis
        import mmdet.evaluation  # noqa: F401
    else:
        import detectron2.engine
        import detectron2.evaluation  # noqa: F401


def train(job: TrainJob, root: Path, out: Path, batch_done: Mark, epoch_done: Mark) -> None:
    """Train as its framework's users do; hears of every batch, and of every epoch that is validated and saved."""
    peers = {"ultralytics": yolo, "torchvision": torchvision}
    if job.framework in peers:
        peers[job.framework](job, root, out, batch_done, epoch_done)
        return
    import direct_detectron2
    import direct_mmdet

    peer = direct_mmdet if job.framework == "mmdet" else direct_detectron2
    peer.train(job, root, out, batch_done, epoch_done)


def predict(job: TrainJob, root: Path, checkpoint: Path, done: Done) -> None:
    """Predict on test with the weights of one of our checkpoints; hears how many pictures are done."""
    import direct_detectron2
    import direct_mmdet

    peers = {"ultralytics": _yolo_says, "torchvision": _torchvision_says, "mmdet": direct_mmdet.predict,
             "detectron2": direct_detectron2.predict}  # fmt: skip
    content = json.loads((root / "test.json").read_text())
    files = [str(root / "images" / image["file_name"]) for image in content["images"]]
    names = [category["name"] for category in content["categories"]]
    peers[job.framework](job, files, names, checkpoint, done)


def yolo(job: TrainJob, root: Path, out: Path, batch_done: Mark, epoch_done: Mark) -> None:
    """`YOLO("yolo26n.yaml").train(...)`, with ultralytics' own dataset and its own validation each epoch."""
    import torch
    from ultralytics import YOLO

    from defect_detect.backends._ultralytics import options

    folder = out / "labelled"
    data = _label_files(root, folder)
    passed = options.arguments(job, task="detect", folder=out / "run", device="cpu", at_once=job.settings.batch)
    model = YOLO(passed.pop("model"), task=passed.pop("task"))
    # Selecting the CPU, ultralytics takes all of its cores but one.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(job.settings.threads))
    model.add_callback("on_train_batch_end", lambda _: batch_done())
    model.add_callback("on_fit_epoch_end", lambda _: epoch_done())
    model.train(data=str(data), **passed)


def _yolo_says(job: TrainJob, files: list[str], names: list[str], checkpoint: Path, done: Done) -> None:
    """`YOLO.predict` on the files that a text file lists: given as a list, it would take all of them at once."""
    from ultralytics import YOLO

    from defect_detect.backends._ultralytics import network

    del names
    built, _ = network.load(checkpoint)
    model = YOLO(f"{job.model}.yaml", task="detect")
    model.model = built
    settings, listed = job.settings, checkpoint.with_name("pictures.txt")
    listed.write_text("\n".join(files))
    said = model.predict(
        str(listed), imgsz=settings.image_size, conf=settings.score_floor, max_det=settings.max_detections, iou=0.7,
        device="cpu", batch=AT_ONCE["ultralytics"], stream=True, verbose=False,
    )  # fmt: skip
    for count, _ in enumerate(said, start=1):
        if count % AT_ONCE["ultralytics"] == 0:
            done(count)


def _torchvision_says(job: TrainJob, files: list[str], names: list[str], checkpoint: Path, done: Done) -> None:
    """The network called with lists of pictures in [0, 1], its own transform in it."""
    import torch
    from torchvision.io import read_image

    from defect_detect.backends._torchvision import weights

    network, _ = _network(job, len(names) + 1, checkpoint=lambda own: weights.restore(
        own, job, labels=len(names) + 1, path=checkpoint))  # fmt: skip
    network.eval()
    at_once = AT_ONCE["torchvision"]
    with torch.inference_mode():
        for first in range(0, len(files), at_once):
            shown = [read_image(file, mode="RGB").float() / 255 for file in files[first : first + at_once]]
            network(shown)
            done(first + len(shown))


def _label_files(root: Path, folder: Path) -> Path:
    """The normalized dataset at `root` as ultralytics wants one; returns its `data.yaml`."""
    names: list[str] = []
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        names = [category["name"] for category in content["categories"]]
        number = {category["id"]: k for k, category in enumerate(content["categories"])}
        pictures, labels = folder / "images" / split, folder / "labels" / split
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for image in content["images"]:
            shutil.copy(root / "images" / image["file_name"], pictures)
            lines = []
            for defect in content["annotations"]:
                if defect["image_id"] == image["id"]:
                    x, y, w, h = defect["bbox"]
                    sides = (image["width"], image["height"]) * 2
                    shares = (v / side for v, side in zip((x + w / 2, y + h / 2, w, h), sides, strict=True))
                    lines.append(" ".join(map(str, (number[defect["category_id"]], *shares))))
            (labels / image["file_name"]).with_suffix(".txt").write_text("\n".join(lines))
    data = folder / "data.yaml"
    data.write_text(json.dumps({"path": str(folder), "train": "images/train", "val": "images/val", "names": names}))
    return data


def torchvision(job: TrainJob, root: Path, out: Path, batch_done: Mark, epoch_done: Mark) -> None:
    """A loop as in torchvision's reference scripts: every picture each epoch, then val, then a checkpoint."""
    import torch

    torch.manual_seed(job.seed)
    train, val = _Pictures(root, "train"), _Pictures(root, "val")
    network, how = _network(job, labels=train.labels)
    loader = torch.utils.data.DataLoader(train, batch_size=job.settings.batch, shuffle=True, collate_fn=list)
    rate = job.settings.learning_rate or 1e-3
    optimizer = (
        torch.optim.SGD(network.parameters(), lr=rate * 10, momentum=how.momentum, weight_decay=5e-4, nesterov=True)
        if how.name == "sgd"
        else torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.05)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job.settings.epochs * len(loader))
    for _ in range(job.settings.epochs):
        network.train()
        for batch in loader:
            varied = [_flipped(image, target) for image, target in batch]
            loss = sum(network([image for image, _ in varied], [target for _, target in varied]).values())
            if not math.isfinite(value := float(loss.detach())):
                raise SystemExit(f"the loss is {value}")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), how.clip)
            optimizer.step()
            schedule.step()
            batch_done()
        network.eval()
        said = []
        with torch.inference_mode():
            for start in range(0, len(val), job.settings.batch):
                rows = range(start, min(start + job.settings.batch, len(val)))
                found = network([val[row][0].float() / 255 for row in rows])
                said += [{name: tensor.numpy() for name, tensor in one.items()} for one in found]
        epoch_done()
        torch.save(network.state_dict(), out / "checkpoint.pt")


def _network(job: TrainJob, labels: int, checkpoint: Callable[[Any], object] = id) -> tuple[Any, Any]:
    """A detector of torchvision's own with the parts that the job asks for, and the options of its optimizer."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    from defect_detect.backends._torchvision import models

    built = models.build(job, labels)
    own, side = built.network, job.settings.image_size
    checkpoint(own)
    mean, deviation = own.transform.image_mean, own.transform.image_std
    if isinstance(own, MaskRCNN):
        # All else of it is what torchvision's constructor made.
        own.transform = GeneralizedRCNNTransform(side, side, mean, deviation)
        return own, built.optimizer
    network = SSD(
        own.backbone, own.anchor_generator, (side, side), labels, head=own.head, image_mean=mean,
        image_std=deviation, score_thresh=own.score_thresh, nms_thresh=own.nms_thresh,
        detections_per_img=own.detections_per_img, topk_candidates=own.topk_candidates,
    )  # fmt: skip
    network.proposal_matcher = own.proposal_matcher
    return network, built.optimizer


class _Pictures:
    """Item k: picture k as (3, H, W) uint8, and its target, decoded once by PIL and pycocotools."""

    def __init__(self, root: Path, split: str) -> None:
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            self.truth = COCO(str(root / f"{split}.json"))
        self.root, self.ids = root, sorted(self.truth.imgs)
        self.labels = 1 + len(self.truth.cats)
        self.number = {category: k for k, category in enumerate(sorted(self.truth.cats), start=1)}
        self.kept: dict[int, tuple[Any, dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[Any, dict[str, Any]]:
        if row not in self.kept:
            self.kept[row] = self._load(self.ids[row])
        return self.kept[row]

    def _load(self, image: int) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        import torch
        from PIL import Image

        with Image.open(self.root / "images" / self.truth.imgs[image]["file_name"]) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()
        defects = self.truth.imgToAnns[image]
        boxes = torch.tensor([defect["bbox"] for defect in defects], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.zeros((len(defects), *pixels.shape[1:]), np.uint8)
        for k, defect in enumerate(defects):
            masks[k] = self.truth.annToMask(defect)
        labels = torch.tensor([self.number[defect["category_id"]] for defect in defects], dtype=torch.int64)
        return pixels, {"boxes": boxes, "labels": labels, "masks": torch.from_numpy(masks)}


def _flipped(image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """In [0, 1], and left-right and up-down each in half of the pictures."""
    import torch

    image, boxes, masks = image.float() / 255, target["boxes"], target["masks"]
    for axis, (low, high) in ((2, (0, 2)), (1, (1, 3))):
        if float(torch.rand(())) < 0.5:
            image, masks, boxes = image.flip(axis), masks.flip(axis), boxes.clone()
            boxes[:, [low, high]] = image.shape[axis] - boxes[:, [high, low]]
    return image, {**target, "boxes": boxes, "masks": masks}
