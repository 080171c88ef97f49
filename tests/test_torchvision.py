"""The torchvision backend on twelve tiny pictures: the contract that every backend keeps."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detect.backends import capabilities, load
from defect_detect.errors import ConfigError, FrameworkMissing, InputError, RunFailed, Unsupported
from defect_detect.geometry import from_mask, region_area, region_box
from defect_detect.job import Epoch, Settings, TrainJob
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

pytestmark = pytest.mark.framework
torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

SIDE = 96
SSD = {"model": {"fine": True, "width": 0.35}}
MASK_RCNN = {
    "model": {
        "layers": [1, 2, 3], "fpn_channels": 16, "box_head": 32, "mask_layers": [16], "anchor_sizes": [8, 16, 32, 64],
        "rpn_pre_nms_top_n_train": 100, "rpn_post_nms_top_n_train": 50, "rpn_pre_nms_top_n_test": 100,
        "rpn_post_nms_top_n_test": 30, "box_batch_size_per_image": 32,
    }
}  # fmt: skip
NARROW = {"model": {"fine": True, "width": 0.125}}
LIGHT = {"ssdlite320_mobilenet_v3": SSD, "ssd300_vgg16": NARROW, "mask_rcnn_r18_fpn": MASK_RCNN}
NMS_IOU = {"ssdlite320_mobilenet_v3": 0.55, "ssd300_vgg16": 0.45, "mask_rcnn_r18_fpn": 0.5}


class Eyes:
    """A watch that calls every epoch the best and keeps what it was told."""

    def __init__(self, stop_at: int = 10**6) -> None:
        self.batches: list[tuple[int, int]] = []
        self.epochs: list[Predictions] = []
        self.stop_at = stop_at

    def batch(self, done, of, loss=None):
        assert loss is None or np.isfinite(loss)
        self.batches.append((done, of))

    def epoch(self, number, loss, validation):
        assert np.isfinite(loss)
        self.epochs.append(validation)
        return Epoch(score=0.0, best=True, stop=number >= self.stop_at)

    def resume(self):
        return None

    def keep(self, _state, best):
        buffer = io.BytesIO()
        best(buffer)
        self.best = buffer.getvalue()

    def deliver(self, path):
        path.write_bytes(self.best)


def pictures(root: Path, count: int, *, split: str = "train", masks: bool = True, seed: int = 0) -> Dataset:
    """Grey noise with a bright square and a dark disc in two of three pictures."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, np.ndarray]] = []
    files = []
    for image in range(count):
        height, width = SIDE - 8 * (image % 3), SIDE
        grey = rng.normal(128, 8, (height, width))
        y, x = np.mgrid[:height, :width]
        for label in (0, 1) if image % 3 else ():
            cx, cy, r = rng.uniform(20, 70), rng.uniform(20, 60), rng.uniform(6, 14)
            mask = (abs(x - cx) < r) & (abs(y - cy) < r) if label == 0 else np.hypot(x - cx, y - cy) < r
            grey[mask] += 80 if label == 0 else -80
            rows.append((image, label, mask))
        files.append(f"{split}{image}.png")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(root / files[-1])
    regions = tuple(from_mask(mask) for _, _, mask in rows)
    size = np.array([[SIDE, SIDE - 8 * (image % 3)] for image in range(count)], np.int64).reshape(-1, 2)
    none = np.zeros(len(rows), bool)
    number = np.arange(1, count + 1)
    return Dataset(
        root=root,
        split=split,
        categories=(Category(id=1, name="square", source_id=1), Category(id=2, name="disc", source_id=2)),
        images=Images(
            file=tuple(files), id=number, size=size, group=np.array(files), source_id=tuple(number.tolist())
        ),
        defects=Defects(
            image=np.array([image for image, _, _ in rows], np.int64),
            label=np.array([label for _, label, _ in rows], np.int64),
            box=np.array([region_box(region) for region in regions]).reshape(-1, 4),
            area=np.array([region_area(region) for region in regions]),
            crowd=none, ignore=none.copy(), region=regions if masks else None,
            id=np.arange(1, len(rows) + 1), source_id=tuple(range(len(rows))),
        ),
    )  # fmt: skip


def job(model: str = "ssdlite320_mobilenet_v3", *, options=None, seed: int = 0, **settings) -> TrainJob:
    chosen = {
        "epochs": 2, "image_size": SIDE, "batch": 4, "weights": "none", "device": "cpu", "threads": 1,
        "max_detections": 7, "score_floor": 0.01, **settings,
    }  # fmt: skip
    return TrainJob(
        detector="tiny", framework="torchvision", model=model, dataset="", seed=seed, settings=Settings(**chosen),
        options=LIGHT.get(model, {}) if options is None else options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def backend():
    return load("torchvision")


@pytest.fixture(scope="module", params=LIGHT)
def trained(request, backend, tmp_path_factory):
    """One training of each family, its predictions, and what was told about it."""
    out = tmp_path_factory.mktemp("run")
    train = pictures(out, 12)
    val = pictures(out, 4, split="val", seed=1)
    eyes = Eyes()
    outcome = backend.train(job(request.param), train=train, val=val.without_truth(), out=out, watch=eyes)
    found, said = backend.predict(
        job(request.param), out / outcome.checkpoint, val.without_truth(), device="cpu", batch=3, watch=Eyes()
    )
    return request.param, out, train, val, eyes, outcome, found, said


def test_every_picture_is_seen_also_those_without_defects(trained):
    _, _, train, _, eyes, outcome, _, _ = trained
    assert outcome.images_seen == 12
    assert outcome.defect_free_seen == train.defect_free.sum() == 4
    assert eyes.batches == [(1, 3), (2, 3), (3, 3)] * 2
    assert len(eyes.epochs) == 2


def test_predictions_keep_the_contract(trained):
    model, _, _, val, _, _, found, said = trained
    assert len(found) > 0
    assert set(found.label) <= {0, 1}
    assert found.score.min() >= 0.01
    assert found.score.max() <= 1
    assert np.bincount(found.image, minlength=4).max() <= 7
    size = val.images.size[found.image]
    assert (found.box[:, :2] >= 0).all()
    assert (found.box[:, 2:] <= size).all()
    assert (found.box[:, 2:] > found.box[:, :2]).all()
    assert len(said.latency) == len(val.images)
    assert said.nms_iou == NMS_IOU[model]
    assert "96" in said.input_size


def test_the_same_seed_gives_the_same_predictions(trained, backend, tmp_path):
    model, _, train, val, eyes, outcome, found, _ = trained
    assert outcome.deterministic
    again = backend.train(job(model), train=train, val=val.without_truth(), out=tmp_path, watch=Eyes())
    repeated, _ = backend.predict(
        job(model), tmp_path / again.checkpoint, val.without_truth(), device="cpu", batch=3, watch=Eyes()
    )
    for column in ("image", "label", "box", "score"):
        np.testing.assert_array_equal(getattr(found, column), getattr(repeated, column))
    assert found.region == repeated.region
    # Validation saw the same network; its batches were of another size, which rounds otherwise.
    np.testing.assert_allclose(eyes.epochs[-1].score.sum(), repeated.score.sum(), rtol=1e-4)


def test_another_seed_gives_other_predictions(backend, tmp_path):
    train, scores = pictures(tmp_path, 4), []
    for seed in (0, 1):
        eyes = Eyes(stop_at=1)
        backend.train(job(seed=seed), train=train, val=train.without_truth(), out=tmp_path, watch=eyes)
        assert len(eyes.epochs) == 1, "stopped when told"
        scores.append(eyes.epochs[0].score.sum())
    assert scores[0] != scores[1]


def test_regions_are_predicted_where_the_dataset_has_them(trained):
    model, _, _, val, eyes, outcome, found, _ = trained
    assert all(validation.region is None for validation in eyes.epochs)
    if not capabilities("torchvision", model).masks:
        assert (outcome.masks, found.region) == ("none", None)
        return
    assert outcome.masks == "regions"
    assert found.region is not None
    for row, region in enumerate(found.region):
        assert (region.width, region.height) == tuple(val.images.size[found.image[row]])
        x0, y0, x1, y1 = region_box(region)
        assert region_area(region) > 0
        assert (np.floor(found.box[row, :2]) <= (x0, y0)).all()
        assert (np.ceil(found.box[row, 2:]) >= (x1, y1)).all()


def test_without_masks_the_mask_branch_learns_boxes_and_predicts_no_regions(backend, tmp_path):
    train = pictures(tmp_path, 6, masks=False)
    asked = job("mask_rcnn_r18_fpn", epochs=1)
    outcome = backend.train(asked, train=train, val=train.without_truth(), out=tmp_path, watch=Eyes())
    found, _ = backend.predict(
        asked, tmp_path / outcome.checkpoint, train.without_truth(), device="cpu", batch=2, watch=Eyes()
    )
    assert outcome.masks == "boxes"
    assert found.region is None


def test_no_pictures_no_predictions(trained, backend):
    model, out, _, val, _, outcome, found, _ = trained
    nothing = dataclasses.replace(val.without_truth(), images=val.images.take(np.zeros(0, np.int64)))
    empty, said = backend.predict(job(model), out / outcome.checkpoint, nothing, device="cpu", batch=3, watch=Eyes())
    assert len(empty) == 0
    assert (empty.region is None) == (found.region is None)
    assert said.latency == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_missing_checkpoint_is_named(backend, tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFailed, match=r"checkpoint\.pt"):
        backend.predict(job(), path, pictures(tmp_path, 1), device="cpu", batch=1, watch=Eyes())


def test_a_cut_off_checkpoint_and_one_of_another_model_are_refused(trained, backend, tmp_path):
    model, out, _, val, _, outcome, _, _ = trained
    whole = (out / outcome.checkpoint).read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFailed, match=r"cut\.pt"):
        backend.predict(job(model), path, val, device="cpu", batch=1, watch=Eyes())
    other = next(name for name in LIGHT if name != model)
    with pytest.raises(RunFailed, match=f"holds {model}"):
        backend.predict(job(other), out / outcome.checkpoint, val, device="cpu", batch=1, watch=Eyes())


def test_a_foreign_checkpoint_is_refused(backend, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(RunFailed, match="not a checkpoint of the torchvision backend"):
        backend.predict(job(), tmp_path / "foreign.pt", pictures(tmp_path, 1), device="cpu", batch=1, watch=Eyes())


def test_a_broken_picture_is_named(trained, backend, tmp_path):
    model, out, _, _, _, outcome, _, _ = trained
    data = pictures(tmp_path, 2)
    (tmp_path / data.images.file[1]).write_bytes(b"no picture")
    with pytest.raises(InputError, match=data.images.file[1]):
        backend.predict(job(model), out / outcome.checkpoint, data, device="cpu", batch=1, watch=Eyes())


def test_training_goes_on_from_a_checkpoint(trained, backend, tmp_path):
    model, out, train, val, _, outcome, _, _ = trained
    asked = job(model, epochs=1, weights=str(out / outcome.checkpoint), learning_rate=1e-9)
    again = backend.train(asked, train=train, val=val.without_truth(), out=tmp_path, watch=Eyes())
    assert again.initial_weights.startswith(str(out / outcome.checkpoint))
    assert "sha256:" in again.initial_weights


def test_weights_of_something_else_are_refused(backend, tmp_path):
    train = pictures(tmp_path, 2)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    for path, said in ((tmp_path / "foreign.pt", "0 of"), (tmp_path / "missing.pt", "missing.pt")):
        with pytest.raises(ConfigError, match=said):
            backend.train(job(weights=str(path)), train=train, val=train, out=tmp_path, watch=Eyes())


def test_pretrained_weights_out_of_reach_say_what_to_do(backend, tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise torch.hub.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    train = pictures(tmp_path, 2)
    with pytest.raises(FrameworkMissing, match=r"--set weights=none") as error:
        backend.train(
            job("mask_rcnn_r18_fpn", weights="pretrained"), train=train, val=train, out=tmp_path, watch=Eyes()
        )
    assert "resnet18-f37072fd.pth" in str(error.value)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("ssdlite320_mobilenet_v3", {"model": {"fien": True}}, "Did you mean 'fine'"),
        ("ssdlite320_mobilenet_v3", {"modle": {}}, "Did you mean 'model'"),
        ("ssdlite320_mobilenet_v3", {"model": {"anchor_sizes": [[16]]}}, "at least 2 lists"),
        ("ssdlite320_mobilenet_v3", {"model": {"score_thresh": 0.2}}, "score_floor"),
        ("ssd300_vgg16", {"model": {"anchor_sizes": [[16]]}}, "fine"),
        ("mask_rcnn_r18_fpn", {"model": {"rpn_nms_tresh": 0.5}}, "Did you mean 'rpn_nms_thresh'"),
        ("mask_rcnn_r18_fpn", {"model": {"box_head": "wide"}}, "box_head"),
        ("mask_rcnn_r18_fpn", {"model": {"anchor_sizes": [8]}}, "5 entries"),
        ("mask_rcnn_r18_fpn", {"optimizer": {"name": "adam"}}, "adam"),
    ],
)
def test_options_that_mean_nothing_are_refused(backend, tmp_path, model, options, said):
    train = pictures(tmp_path, 2)
    asked = job(model, options=options, image_size=300)
    with pytest.raises(ConfigError, match=said):
        backend.train(asked, train=train, val=train, out=tmp_path, watch=Eyes())


def test_ssd300_says_what_is_too_small_for_it(backend, tmp_path):
    train = pictures(tmp_path, 2)
    with pytest.raises(Unsupported, match="at least 260 px"):
        backend.train(job("ssd300_vgg16", options={}), train=train, val=train, out=tmp_path, watch=Eyes())


def test_a_loss_that_is_not_finite_ends_the_training_at_once(backend, tmp_path):
    train, eyes = pictures(tmp_path, 4), Eyes()
    with pytest.raises(RunFailed, match=r"epoch \d, batch \d"):
        backend.train(
            job(learning_rate=1e30, epochs=20), train=train, val=train.without_truth(), out=tmp_path, watch=eyes
        )


def test_ssd_learns_background_from_a_batch_without_defects():
    from defect_detect.backends._torchvision import models

    network = models.build(job(), 3).network.train()
    nothing = {"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = network([torch.rand(3, SIDE, SIDE)] * 2, [nothing, nothing])
    assert float(losses["bbox_regression"].detach()) == 0
    assert float(losses["classification"].detach()) > 0
    losses["classification"].backward()
    weights = [p for n, p in network.named_parameters() if n.startswith("head.classification_head")]
    assert any(float(p.grad.abs().sum()) > 0 for p in weights)


def test_mask_rcnn_learns_background_from_a_batch_without_defects():
    from defect_detect.backends._torchvision import models

    network = models.build(job("mask_rcnn_r18_fpn"), 3).network.train()
    nothing = {
        "boxes": torch.zeros((0, 4)), "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros((0, SIDE, SIDE), dtype=torch.uint8),
    }  # fmt: skip
    losses = network([torch.rand(3, SIDE, SIDE)] * 2, [nothing, nothing])
    assert float(losses["loss_classifier"].detach()) > 0
    assert float(losses["loss_objectness"].detach()) > 0
    sum(losses.values()).backward()
    weights = [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]
    assert all(torch.isfinite(tensor).all() for tensor in weights)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_ssd_loss_is_torchvisions_where_every_picture_has_enough_defects():
    """With no floor on negatives the loss is the framework's own, checked against its own code."""
    from torchvision.models.detection.ssd import SSD as Theirs  # noqa: N811

    from defect_detect.backends._torchvision import models

    torch.manual_seed(0)
    network = models.build(job(options={"model": {"least_negatives": 0}}), 3).network.train()
    targets = [
        {"boxes": torch.tensor([[10.0, 10, 40, 40], [50, 50, 90, 70]]), "labels": torch.tensor([1, 2])},
        {"boxes": torch.tensor([[30.0, 20, 60, 80]]), "labels": torch.tensor([2])},
    ]
    images = [torch.rand(3, SIDE, SIDE) for _ in range(2)]
    ours = network(images, targets)
    type(network).compute_loss, kept = Theirs.compute_loss, type(network).compute_loss
    try:
        theirs = network(images, targets)
    finally:
        type(network).compute_loss = kept
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name])


def test_crowds_and_ignored_defects_are_not_trained_on(tmp_path):
    from defect_detect.backends._torchvision.options import Augment
    from defect_detect.backends._torchvision.pictures import Fit, TrainingPictures

    data = pictures(tmp_path, 2)
    marked = dataclasses.replace(data.defects, crowd=np.array([True, False]))
    data = dataclasses.replace(data, defects=marked)
    shown = TrainingPictures(
        data, fit=Fit(side=48, stretch=False), masks=True, vary=Augment(flip=False, light=0), seed=0, cache=0
    )
    row, image, target = shown[1, 1]
    assert row == 1
    assert image.shape == (3, 44, 48)
    assert target["labels"].tolist() == [2]
    np.testing.assert_allclose(target["boxes"].numpy()[0], data.defects.box[1] / 2, atol=1e-5)
    ys, xs = np.nonzero(target["masks"][0].numpy())
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], target["boxes"].numpy()[0], atol=1)


@pytest.mark.parametrize("how", [{"flip": True}, {"turn": True}, {"zoom": (0.7, 1.5)}])
def test_boxes_and_masks_follow_the_picture(how):
    """A bright rectangle on black: wherever it went, its box and mask are still where the light is."""
    from defect_detect.backends._torchvision import augment
    from defect_detect.backends._torchvision.options import Augment

    image = torch.zeros((3, 60, 80), dtype=torch.uint8)
    image[:, 20:30, 30:50] = 255
    target = {
        "boxes": torch.tensor([[30.0, 20, 50, 30]]), "labels": torch.tensor([1]),
        "masks": (image[:1] > 0).to(torch.uint8),
    }  # fmt: skip
    vary = Augment(**{"flip": False, "light": 0.0, **how})
    for seed in range(12):
        seen, moved = augment.vary(image, target, vary, np.random.default_rng(seed))
        ys, xs = np.nonzero(seen[0].numpy() > 0.5)
        around = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(moved["boxes"].numpy()[0], around, atol=1)
        assert moved["masks"].shape == (1, *seen.shape[1:])
        assert (moved["masks"][0].numpy() != (seen[0].numpy() > 0.5)).mean() < 0.02


def test_anchors_have_the_asked_area_and_shapes_around_every_cell():
    from torchvision.models.detection.image_list import ImageList

    from defect_detect.backends._torchvision.anchors import Anchors, default_sizes

    sizes = default_sizes(96, 8)
    assert sizes == [[16, 24], [32, 48], [64, 96]]
    anchors = Anchors(sizes[:1], (4.0,), 96)
    assert anchors.num_anchors_per_location() == [6]
    (boxes,) = anchors(ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)]), [torch.zeros(1, 1, 12, 12)])
    assert len(boxes) == 12 * 12 * 6
    wide, high = (boxes[:, 2] - boxes[:, 0]).numpy(), (boxes[:, 3] - boxes[:, 1]).numpy()
    np.testing.assert_allclose(np.unique(np.sqrt(wide * high).round(3)), [16, 24])
    np.testing.assert_allclose(np.unique((wide / high).round(3)), [0.25, 1, 4])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(np.unique(centre.numpy().round(3)), np.arange(12) * 8 + 4)


def test_a_mask_is_spread_over_its_box_and_nowhere_else():
    from defect_detect.backends._torchvision.detect import _paste
    from defect_detect.geometry import to_mask

    half = np.zeros((28, 28), np.float32)
    half[:, :14] = 1
    shown = to_mask(_paste(half, np.array([10.0, 20, 50, 40]), 80, 60), 80, 60)
    expected = np.zeros((60, 80), bool)
    expected[20:40, 10:30] = True
    np.testing.assert_array_equal(shown, expected)
    unsure = to_mask(_paste(half * 0.2, np.array([10.0, 20, 50, 40]), 80, 60), 80, 60)
    assert unsure.any()
    assert not unsure[~expected].any()
    edge = to_mask(_paste(np.ones((28, 28), np.float32), np.array([78.6, 58.9, 80, 60]), 80, 60), 80, 60)
    assert edge.any()
    assert not edge[:58].any()


@pytest.mark.parametrize(
    ("model", "builder", "side"),
    [
        ("ssd300_vgg16", "ssd300_vgg16", 300),
        ("ssdlite320_mobilenet_v3", "ssdlite320_mobilenet_v3_large", 320),
        ("mask_rcnn_r50_fpn", "maskrcnn_resnet50_fpn", 640),
        ("mask_rcnn_r18_fpn", None, 640),
    ],
)
def test_torchvisions_own_weight_files_fit(tmp_path, model, builder, side):
    """Every tensor of the backbone is theirs."""
    import torchvision

    from defect_detect.backends._torchvision import models, weights

    if builder:
        theirs = getattr(torchvision.models.detection, builder)(weights=None, weights_backbone=None)
    else:
        theirs = torchvision.models.resnet18(weights=None)
    path = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    asked = job(model, options={}, weights=str(path), image_size=side)
    network = models.build(asked, 3).network
    weights.initialize(network, asked)
    prefix, given = ("", "backbone.") if builder else ("backbone.body.", "backbone.body.")
    expected = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    taken = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(given)}
    assert len(taken) > 40
    for name, tensor in taken.items():
        assert torch.equal(tensor, expected[name]), name
