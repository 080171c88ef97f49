"""The mmdet backend on real tiny trainings: the contract of every backend, and mmdet's own traps."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from defect_detect import job as jobs
from defect_detect import runner
from defect_detect.backends import load
from defect_detect.data import coco, predictions
from defect_detect.errors import ConfigError, RunFailed, Unsupported
from defect_detect.geometry import from_mask, region_area, region_box
from defect_detect.tables import Category, Dataset, Defects, Images
from defect_detect.watching import Watching

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("mmdet")]

SIDE = 96
NARROW = {
    "override": {
        "model.backbone.depth": 18, "model.neck.in_channels": [64, 128, 256, 512], "model.neck.out_channels": 16,
        "model.rpn_head.in_channels": 16, "model.rpn_head.feat_channels": 16,
        "model.rpn_head.anchor_generator.scales": [4], "model.train_cfg.rpn_proposal.nms_pre": 100,
        "model.train_cfg.rpn_proposal.max_per_img": 50, "model.train_cfg.rcnn.sampler.num": 32,
        "model.test_cfg.rpn.nms_pre": 100, "model.test_cfg.rpn.max_per_img": 30,
        "model.roi_head.bbox_roi_extractor.out_channels": 16, "model.roi_head.bbox_head.in_channels": 16,
        "model.roi_head.bbox_head.fc_out_channels": 32, "model.roi_head.mask_roi_extractor.out_channels": 16,
        "model.roi_head.mask_head.in_channels": 16, "model.roi_head.mask_head.conv_out_channels": 16,
        "model.roi_head.mask_head.num_convs": 1,
    }
}  # fmt: skip
LIGHT = {"ssdlite320": (320, {}), "mask_rcnn_r50_fpn": (SIDE, NARROW)}


def pictures(root: Path, count: int, *, split: str = "train", masks: bool = True, seed: int = 0) -> Dataset:
    """Noise with a bright square in two of three pictures; the last is a crowd."""
    rng = np.random.default_rng(seed)
    rows, files = [], []
    for image in range(count):
        height = SIDE - 8 * (image % 3)
        grey = rng.normal(128, 8, (height, SIDE))
        y, x = np.mgrid[:height, :SIDE]
        if image % 3:
            cx, cy, r = rng.uniform(20, 70), rng.uniform(20, 60), rng.uniform(8, 14)
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
            size=np.array([[SIDE, SIDE - 8 * (image % 3)] for image in range(count)], np.int64).reshape(-1, 2),
        ),
        defects=Defects(
            image=np.array([image for image, _ in rows], np.int64), label=np.zeros(len(rows), np.int64),
            box=np.array([region_box(region) for region in regions]).reshape(-1, 4),
            area=np.array([region_area(region) for region in regions]), crowd=crowd, ignore=np.zeros(len(rows), bool),
            region=regions if masks else None, id=np.arange(1, len(rows) + 1), source_id=tuple(range(len(rows))),
        ),
    )  # fmt: skip


def job(model: str = "mask_rcnn_r50_fpn", *, options=None, **settings) -> jobs.TrainJob:
    side, light = LIGHT.get(model, (SIDE, {}))
    chosen = {
        "epochs": 2, "image_size": side, "batch": 4, "weights": "none", "device": "cpu", "threads": 1,
        "max_detections": 7, "score_floor": 0.01, **settings,
    }  # fmt: skip
    return jobs.TrainJob(
        detector="tiny", framework="mmdet", model=model, dataset="", seed=0, settings=jobs.Settings(**chosen),
        options=light if options is None else options,
    )  # fmt: skip


class Stopped(BaseException):
    """Stands for a kill."""


class Watched(Watching):
    """The worker's watch; `kill_in` names the epoch during whose first batch it is killed."""

    def __init__(self, out: Path, kill_in: int = 0) -> None:
        super().__init__(io.BytesIO(), out)
        self.kill_in = kill_in

    def batch(self, done, of, loss=None):
        super().batch(done, of, loss)
        if len(self.judged) + 1 == self.kill_in:
            raise Stopped


def run(out: Path, wanted: jobs.TrainJob, train: Dataset, val: Dataset, kill_in: int = 0):
    watch = Watched(out, kill_in)
    watch.watch(wanted, val, {"job": "one"})
    outcome = load("mmdet").train(wanted, train=train, val=val.without_truth(), out=out, watch=watch)
    return outcome, watch


def predicted(out: Path, wanted: jobs.TrainJob, val: Dataset, batch: int = 3):
    return load("mmdet").predict(
        wanted, out / "checkpoint.pt", val.without_truth(), device="cpu", batch=batch, watch=Watched(out)
    )


@pytest.fixture(scope="module", params=LIGHT)
def trained(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train, val = pictures(out, 12), pictures(out, 4, split="val", seed=1)
    outcome, watch = run(out, job(request.param), train, val)
    return request.param, out, train, val, outcome, watch, *predicted(out, job(request.param), val)


def test_every_picture_is_seen_the_defect_free_too(trained):
    _, _, train, _, outcome, watch, _, _ = trained
    assert (outcome.images_seen, outcome.defect_free_seen) == (12, int(train.defect_free.sum()))
    assert outcome.defect_free_seen == 4
    assert len(watch.judged) == 2
    assert all(np.isfinite(one.loss) and one.loss > 0 for one in watch.judged)


def test_nothing_but_the_checkpoint_and_what_to_go_on_from_stays(trained):
    _, out, train, val, *_ = trained
    pictures_of = {*train.images.file, *val.images.file}
    assert {path.name for path in out.iterdir()} - pictures_of == {"checkpoint.pt", "metrics.csv", "resume"}


def test_predictions_keep_the_floor_the_cap_and_the_pictures(trained):
    model, _, _, val, outcome, _, found, how = trained
    assert len(found)
    assert found.score.min() >= 0.01
    assert found.score.max() <= 1
    assert np.bincount(found.image).max() <= 7
    size = val.images.size[found.image]
    assert (found.box[:, :2] >= 0).all()
    assert (found.box[:, 2:] <= size).all()
    assert (found.box[:, 2:] > found.box[:, :2]).all()
    assert set(found.label) <= {0, 1}
    assert outcome.masks == ("regions" if model.startswith("mask") else "none")
    assert (found.region is not None) == model.startswith("mask")
    assert len(how.latency) == 4
    assert how.nms_iou == (0.45 if model.startswith("ssd") else 0.5)


def test_a_picture_gets_the_same_predictions_alone_as_among_others(trained):
    model, out, _, val, _, _, found, _ = trained
    alone, _ = predicted(out, job(model), val, batch=1)
    order, other = (np.lexsort((t.box[:, 0], t.label, -t.score.round(5), t.image)) for t in (found, alone))
    assert len(found) == len(alone)
    assert np.allclose(found.score[order], alone.score[other], atol=1e-4)


def test_the_checkpoint_is_no_code_and_of_its_model(trained, tmp_path):
    model, out, _, val, *_ = trained
    torch.load(out / "checkpoint.pt", weights_only=True)
    other = "ssd300" if model != "ssd300" else "ssd512"
    with pytest.raises(RunFailed, match=f"is of {model}"):
        load("mmdet").predict(
            job(other, image_size=300), out / "checkpoint.pt", val.without_truth(), device="cpu", batch=1,
            watch=Watched(tmp_path),
        )  # fmt: skip
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(RunFailed, match=str(tmp_path)):
        predicted(tmp_path, job(model), val)


def test_mmdets_own_inference_says_the_same(trained):
    """Its pipeline and `test_step` on the same file give our boxes and scores, to 1e-4."""
    from mmcv.transforms import Compose

    from defect_detect.backends._mmdet import configs, weights

    model, out, _, val, _, _, found, _ = trained
    network, steps, *_ = weights.restore(out / "checkpoint.pt", job(model), names=["square", "disc"])
    own = [{"type": "LoadImageFromFile"}, *steps[1:]]
    network.eval()
    for row, name in enumerate(val.images.file):
        shown = Compose(own)({"img_path": str(val.root / name), "img_id": row})
        with torch.no_grad():
            (said,) = network.test_step({key: [shown[key]] for key in ("inputs", "data_samples")})
        ours = found.take(found.image == row)
        score = np.sort(said.pred_instances.scores.numpy())[::-1]
        score = score[score >= 0.01][:7]
        assert np.allclose(np.sort(ours.score)[::-1], score, atol=1e-4)
    assert configs.input_size(steps)


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    train, val = pictures(tmp_path, 12), pictures(tmp_path, 4, split="val", seed=1)
    run(whole, job(), train, val)
    with pytest.raises(Stopped):
        run(killed, job(), train, val, kill_in=2)
    outcome, watch = run(killed, job(), train, val)
    assert watch.resumed == [1]
    assert outcome.images_seen == 12
    states = [torch.load(out / "resume" / "state-2", weights_only=True)["network"] for out in (whole, killed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


ADDED_UP = {"override": {**NARROW["override"], "optim_wrapper.accumulative_counts": 3}}


def test_gradients_that_wait_for_the_optimizer_are_kept(tmp_path):
    """3 batches an epoch, 2 to a step: the second epoch's first one completes a step of the first's last."""
    wanted = job(options={"override": {**NARROW["override"], "optim_wrapper.accumulative_counts": 2}})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    train, val = pictures(tmp_path, 12), pictures(tmp_path, 4, split="val", seed=1)
    run(whole, wanted, train, val)
    with pytest.raises(Stopped):
        run(killed, wanted, train, val, kill_in=2)
    _, watch = run(killed, wanted, train, val)
    assert watch.resumed == [1]
    assert torch.load(killed / "resume" / "state-1", weights_only=True)["gradients"]
    states = [torch.load(out / "resume" / "state-2", weights_only=True)["network"] for out in (whole, killed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def out_of_memory(monkeypatch, *, above: int, error: Exception, predicting: bool = False) -> list[int]:
    """From now on the network finds no memory for more than `above` pictures at once; how many it was shown."""
    from mmdet.models.detectors import TwoStageDetector

    shown: list[int] = []
    name = "predict" if predicting else "loss"
    real = getattr(TwoStageDetector, name)

    def narrow(self, inputs, samples, *rest, **named):
        shown.append(len(inputs))
        if len(inputs) > above:
            raise error
        return real(self, inputs, samples, *rest, **named)

    monkeypatch.setattr(TwoStageDetector, name, narrow)
    return shown


def test_out_of_memory_fails_with_what_to_do(tmp_path, monkeypatch):
    train, val = pictures(tmp_path, 4), pictures(tmp_path, 1, split="val")
    out_of_memory(monkeypatch, above=2, error=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RunFailed, match=r"(?s)epoch 1, batch 1 .*--set batch=2.*on_out_of_memory=halve"):
        run(tmp_path, job(), train, val)


@pytest.mark.parametrize("options", [NARROW, ADDED_UP], ids=["each batch steps", "three batches step"])
def test_out_of_memory_halves_what_is_seen_at_once_where_allowed(tmp_path, monkeypatch, options):
    train, val = pictures(tmp_path, 12), pictures(tmp_path, 4, split="val", seed=1)
    wanted = job(options=options, on_out_of_memory="halve")
    shown = out_of_memory(monkeypatch, above=2, error=MemoryError())
    with pytest.raises(Stopped):
        run(tmp_path, wanted, train, val, kill_in=2)
    outcome, watch = run(tmp_path, wanted, train, val)
    assert outcome.halved == [jobs.Halved(epoch=1, step=1, batch=2)]
    assert watch.resumed == [1]
    assert len(watch.judged) == 2
    assert outcome.images_seen == 12
    assert shown[0] == 4
    assert max(shown[1:]) == 2, "the second try knows of it"


def test_predicting_halves_too_in_a_training_and_after_it(tmp_path, monkeypatch):
    train, val = pictures(tmp_path, 4), pictures(tmp_path, 4, split="val", seed=1)
    wanted = job(on_out_of_memory="halve", epochs=1)
    shown = out_of_memory(monkeypatch, above=2, error=MemoryError(), predicting=True)
    outcome, _ = run(tmp_path, wanted, train, val)
    assert outcome.halved == [jobs.Halved(epoch=1, step=0, batch=2)]
    assert shown == [4, 2, 2]
    monkeypatch.undo()
    shown = out_of_memory(monkeypatch, above=1, error=MemoryError(), predicting=True)
    found, how = predicted(tmp_path, wanted, val, batch=4)
    assert how.halved == [jobs.Halved(epoch=0, step=0, batch=2), jobs.Halved(epoch=0, step=0, batch=1)]
    assert len(how.latency) == 4
    assert len(found)
    with pytest.raises(RunFailed, match="predicting on 4 pictures"):
        predicted(tmp_path, job(epochs=1), val, batch=4)


class Mean(torch.nn.Module):
    """As much of a network of mmengine's as a step needs; its loss is a mean over pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.seen: list[int] = []

    def data_preprocessor(self, data, _training):
        for sample in data["data_samples"]:
            sample.scale *= 2  # as `BatchSyncRandomResize` changes boxes where they lie
        return data

    def _run_forward(self, data, mode):
        assert mode == "loss"
        self.seen.append(len(data["inputs"]))
        losses = [((one * self.weight).sum() - sample.scale) ** 2 for one, sample in zip(*data.values(), strict=True)]
        return {"loss_mean": torch.stack(losses).mean()}

    def parse_losses(self, losses):
        return losses["loss_mean"], {"loss": losses["loss_mean"]}


def test_gradients_of_parts_are_that_of_the_batch_where_the_loss_is_a_mean():
    from types import SimpleNamespace

    from mmengine.optim import OptimWrapper

    from defect_detect.backends._mmdet import loop

    rng = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, generator=rng) for _ in range(7)]
    results = []
    for at_once in (7, 3):
        network = Mean()
        wrapper = OptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1), accumulative_counts=2)
        room = loop.Room(settings=jobs.Settings(on_out_of_memory="halve"), at_once=at_once, least=2, names=())
        samples = [SimpleNamespace(scale=torch.ones(()), img_id=row) for row in range(7)]
        losses = loop.gradients(network, {"inputs": inputs, "data_samples": samples}, wrapper, room, "")
        assert all(sample.scale == 1 for sample in samples), "a second try begins with the same truth"
        assert wrapper.inner_count == 1
        results.append((float(losses["loss"]), network.weight.grad.clone()))
        assert sum(network.seen) == 7
        assert max(network.seen) <= max(at_once, 2)
        assert min(network.seen) >= 2
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1])


def test_a_loss_that_is_not_finite_ends_the_training_before_the_step(tmp_path, monkeypatch):
    from mmdet.models.detectors import TwoStageDetector

    train, val = pictures(tmp_path, 4), pictures(tmp_path, 1, split="val")
    real, networks = TwoStageDetector.loss, []

    def diverged(self, *given):
        networks.append((self, {name: one.clone() for name, one in self.named_parameters()}))
        return {**real(self, *given), "loss_cls": self.rpn_head.rpn_cls.weight.sum() * float("nan")}

    monkeypatch.setattr(TwoStageDetector, "loss", diverged)
    with pytest.raises(RunFailed, match=r"loss is nan in epoch 1, batch 1 \(train.*png.*learning_rate"):
        run(tmp_path, job(), train, val)
    ((network, before),) = networks
    assert all(torch.equal(before[name], one) for name, one in network.named_parameters())


def test_a_picture_left_over_joins_the_batch_before_it(tmp_path):
    """Batch norm can't learn from one picture where an SSD's last map is one pixel."""
    train, val = pictures(tmp_path, 5), pictures(tmp_path, 4, split="val")
    outcome, watch = run(tmp_path, job("ssdlite320", epochs=1), train, val)
    assert outcome.images_seen == 5
    assert len(watch.judged) == 1


@pytest.mark.parametrize(("count", "batch", "least", "sizes"), [
    (5, 4, 2, [5]), (6, 4, 2, [4, 2]), (5, 4, 1, [4, 1]), (8, 4, 2, [4, 4]), (1, 4, 2, [2]), (1, 4, 1, [1]),
    (9, 4, 2, [4, 5]), (3, 4, 2, [3]),
])  # fmt: skip
def test_batches_hold_every_picture_once(count, batch, least, sizes):
    from mmengine.dataset import DefaultSampler

    from defect_detect.backends._mmdet import loop

    batches = loop.Batches(DefaultSampler(range(count), seed=3), batch, least=least)
    made = list(batches)
    assert [len(one) for one in made] == sizes
    assert len(batches) == len(made)
    assert {row for one in made for row in one} == set(range(count))


def test_a_worker_trains_and_another_predicts(tiny, tmp_path):
    """In processes of their own, where nothing has imported anything before."""
    home = tmp_path / "tiny-0"
    wanted = msgspec.structs.replace(job("ssdlite320", epochs=1, batch=16), dataset=str(tiny))
    done = runner.execute(home, wanted, framework="mmdet")
    assert isinstance(done, jobs.Trained)
    assert done.versions["mmdet"].startswith("3.3")
    asked = jobs.PredictJob(trained=str(home), dataset=str(tiny), split="test", device="cpu", threads=1)
    said = runner.execute(home / "predictions" / "test", asked, framework="mmdet")
    assert isinstance(said, jobs.Predicted)
    data = coco.load(tiny, "test")
    found = predictions.read(home / "predictions" / "test" / said.predictions, data)
    assert len(found)


def test_boxes_alone_teach_box_shaped_masks_that_are_not_shown(tmp_path):
    train, val = pictures(tmp_path, 6, masks=False), pictures(tmp_path, 4, split="val", seed=1, masks=False)
    wanted = job(epochs=1)
    outcome, _ = run(tmp_path, wanted, train, val)
    assert outcome.masks == "boxes"
    assert predicted(tmp_path, wanted, val)[0].region is None


def test_a_batch_without_defects_teaches_ssd(tmp_path):
    """mmdet's own head divides by zero there."""
    from mmdet.registry import MODELS

    from defect_detect.backends._mmdet import configs, environment
    from defect_detect.backends._mmdet import pictures as shown

    free = pictures(tmp_path, 1)
    plan = configs.plan(job("ssdlite320"), classes=2)
    with environment.quiet():
        torch.manual_seed(0)
        network = MODELS.build(plan.model)
        data = shown.DefectPictures(data=free, masks="none", pipeline=plan.train)
        items = [data[0], data[0]]
        batch = network.data_preprocessor({key: [one[key] for one in items] for key in items[0]}, True)
        losses = network.loss(batch["inputs"], batch["data_samples"])
    total = sum(sum(loss).sum() for loss in losses.values())
    assert torch.isfinite(total)
    assert total > 0


@pytest.mark.parametrize("upstream", [True, False])
def test_mmdets_ssd_still_needs_mending(upstream, tmp_path):
    """The day this fails, `DefectSSDHead.loss_cls` can go (mmdetection#11063): its own SSD can't predict."""
    from mmdet.registry import MODELS

    from defect_detect.backends._mmdet import configs, detecting, environment

    plan, data = configs.plan(job("ssdlite320"), classes=2), pictures(tmp_path, 1)
    if upstream:
        plan.model.bbox_head.type = "SSDHead"
    with environment.quiet():
        network = MODELS.build(plan.model)
        assert type(network.bbox_head).__name__ == ("SSDHead" if upstream else "DefectSSDHead")

        def predict():
            return detecting.detect(
                network, data, steps=plan.test, floor=0.01, cap=5, batch=1, regions=False, done=lambda _: None
            )

        if upstream:
            with pytest.raises(AttributeError, match="'SSDHead' object has no attribute 'loss_cls'"):
                predict()
        else:
            assert len(predict()[1]) == 1


@pytest.mark.parametrize(("upstream", "finite"), [(True, False), (False, True)])
def test_mmdets_normalization_still_has_no_gradient_at_zero(upstream, finite):
    """The day this fails, `DefectSSDNeck` can go."""
    from mmdet.models.necks.ssd_neck import L2Norm

    from defect_detect.backends._mmdet import ssd

    norm = (L2Norm if upstream else ssd._L2Norm)(3)
    norm.weight.data.fill_(20.0)
    features = torch.zeros((1, 3, 2, 2), requires_grad=True)
    norm(features).sum().backward()
    assert bool(features.grad.isfinite().all()) is finite


def test_operators_in_torchvisions_place_are_those_of_mmcv():
    """mmcv's Python around them is its own; the kernels are compared with torchvision's public functions."""
    from mmcv.ops import RoIAlign, nms

    rng = torch.Generator().manual_seed(0)
    corner = torch.rand((50, 2), generator=rng) * 40
    boxes = torch.cat([corner, corner + 1 + torch.rand((50, 2), generator=rng) * 20], 1)
    scores = torch.rand(50, generator=rng)
    kept = nms(boxes, scores, 0.5)[1]
    assert kept.tolist() == torchvision.ops.nms(boxes, scores, 0.5).tolist()
    image = torch.rand((2, 3, 32, 32), generator=rng, requires_grad=True)
    rois = torch.cat([torch.randint(0, 2, (50, 1), generator=rng).float(), boxes / 2], 1)
    ours = RoIAlign((7, 7), 0.5, 2, aligned=True)(image, rois)
    theirs = torchvision.ops.roi_align(image, rois, (7, 7), 0.5, 2, aligned=True)
    assert torch.equal(ours, theirs)
    (mine,) = torch.autograd.grad(ours.square().sum(), image)
    (yours,) = torch.autograd.grad(theirs.square().sum(), image)
    assert torch.allclose(mine, yours)


def test_the_focal_loss_in_torchvisions_place_is_that_of_mmcv():
    from defect_detect.backends._mmdet import environment

    if environment.compiled():
        pytest.skip("compiled mmcv has it for GPUs only, and mmdet doesn't ask for it on a CPU")
    from mmcv.ops import sigmoid_focal_loss

    rng = torch.Generator().manual_seed(0)
    logits = torch.randn((9, 4), generator=rng, requires_grad=True)
    target = torch.arange(9) % 5
    wanted = torchvision.ops.sigmoid_focal_loss(logits, torch.eye(5)[target][:, :4], alpha=0.25, gamma=2)
    given = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    assert torch.allclose(given, wanted, atol=1e-6)
    (mine,) = torch.autograd.grad(given.sum(), logits)
    (yours,) = torch.autograd.grad(wanted.sum(), logits)
    assert torch.allclose(mine, yours, atol=1e-6)


def test_an_operator_that_only_mmcv_has_says_how_to_get_it():
    from defect_detect.backends._mmdet import environment

    if environment.compiled():
        pytest.skip("mmcv is compiled here")
    from mmcv.ops import soft_nms

    with pytest.raises(Unsupported, match="mmcv with compiled operators"):
        soft_nms(torch.rand((2, 4)), torch.rand(2), 0.5)


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        (job("ssd300", image_size=640), Unsupported, "image_size=300"),
        (job("config"), ConfigError, "options.config"),
        (job("config", options={"config": "nowhere/x.py"}), ConfigError, "nowhere/x.py"),
        (job(options={"lr": 1}), Unsupported, "options.override"),
        (job(options={"config": "yolox/yolox_s_8xb8-300e_coco.py"}), Unsupported, "MultiImageMixDataset"),
        (job(device="tpu"), Unsupported, "cpu"),
        (job(device="cuda:7"), ConfigError, "cpu"),
        (job(weights="/nowhere.pth"), ConfigError, "nowhere.pth"),
    ],
)  # fmt: skip
def test_what_mmdet_cannot_do_is_said(wanted, error, says, tmp_path):
    train, val = pictures(tmp_path, 2), pictures(tmp_path, 1, split="val")
    with pytest.raises(error, match=says):
        run(tmp_path, wanted, train, val)
    assert not any(path.name.startswith(".mmdet") for path in tmp_path.iterdir())


def test_schedules_are_stretched():
    from defect_detect.backends._mmdet import configs

    plan = configs.plan(job(), classes=2)
    warmup, steps = configs.schedule(plan.rest, epochs=24, batches=10)
    assert (warmup["begin"], warmup["end"]) == (0, 48)
    assert steps["milestones"] == [16, 22]
