"""What the detectron2 backend reads: configs and weights of strangers, pictures and what is to be learned from them."""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from defect_detect import job as jobs
from defect_detect.errors import ConfigError, FrameworkMissing, InputError, RunFailed, Unsupported
from defect_detect.geometry import from_mask, region_area, region_box
from defect_detect.tables import Category, Dataset, Defects, Images

pytest.importorskip("detectron2", reason="detectron2 is not installed")
pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore")]

SLIM = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8, "MODEL.RESNETS.RES2_OUT_CHANNELS": 16, "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.FPN.OUT_CHANNELS": 8, "MODEL.ROI_BOX_HEAD.FC_DIM": 8, "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1, "MODEL.ROI_MASK_HEAD.CONV_DIM": 8,
}  # fmt: skip


def job(model: str = "mask_rcnn_r50_fpn", *, options: Any = None, **changed: Any) -> jobs.TrainJob:
    chosen = {"epochs": 2, "image_size": 64, "batch": 4, "weights": "none", "device": "cpu", "threads": 1, **changed}
    return jobs.TrainJob(
        detector="x", framework="detectron2", model=model, dataset="", seed=0, settings=jobs.Settings(**chosen),
        options={"override": SLIM} if options is None else options,
    )  # fmt: skip


def plan(wanted: jobs.TrainJob, *, classes: int = 2, regions: bool = True, images: int = 9) -> Any:
    from defect_detect.backends._detectron2 import configs, environment

    with environment.installed():
        return configs.plan(wanted, classes=classes, regions=regions, device="cpu", images=images)


def network(made: Any) -> Any:
    from detectron2.modeling import build_model

    torch.manual_seed(0)
    return build_model(made.cfg)


# Configs


def test_the_job_is_laid_over_the_zoos_config():
    made = plan(job(learning_rate=None, batch=8, epochs=27, max_detections=5, score_floor=0.25), images=100)
    cfg = made.cfg
    assert made.zoo == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.TEST.DETECTIONS_PER_IMAGE) == (2, 5)
    assert 0.2499 < cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST < 0.25
    assert cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS is False
    assert (cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN) == ((64,), 64)
    # 270000 iterations of 16 with 0.02, of which the rate falls after 210000 and 250000
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.BASE_LR) == (351, (273, 325), 0.01)
    assert cfg.SOLVER.WARMUP_ITERS == 70
    assert plan(job(learning_rate=0.5)).cfg.SOLVER.BASE_LR == 0.5


def test_from_scratch_nothing_is_frozen_and_given_weights_keep_it():
    scratch, given_weights = plan(job()).cfg, plan(job(weights="pretrained")).cfg
    assert (scratch.MODEL.RESNETS.NORM, scratch.MODEL.BACKBONE.FREEZE_AT, scratch.MODEL.WEIGHTS) == ("BN", 0, "")
    assert (given_weights.MODEL.RESNETS.NORM, given_weights.MODEL.BACKBONE.FREEZE_AT) == ("FrozenBN", 2)
    gn = {"override": {"MODEL.RESNETS.NORM": "GN", "MODEL.FPN.NORM": "SyncBN"}}
    assert plan(job(options=gn)).cfg.MODEL.RESNETS.NORM == "GN"
    assert plan(job(options=gn)).cfg.MODEL.FPN.NORM == "BN"


def test_every_config_of_the_zoo_is_read_or_refused():
    from defect_detect.backends._detectron2 import config_files

    taken, refused = [], []
    for path in sorted(config_files.zoo().rglob("*.yaml")):
        name = path.relative_to(config_files.zoo()).as_posix()
        try:
            taken.append((name, plan(job("config", options={"config": name})).masks))
        except Unsupported as error:
            refused.append((name, str(error)))
    assert len(taken) >= 30
    assert ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", False) in taken
    assert ("Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml", True) in taken
    assert all("options: " in why for _, why in refused)
    # Others ask for keypoints, whole scenes or given proposals; for pictures shown more than once; for averages and
    # variations that are not made here.
    known = ("keypoint", "panoptic", "semantic", "/rpn_r", "/fast_rcnn", "lvis", "syncbn", "inference_acc_test")
    assert [name for name, _ in refused if not any(part in name.lower() for part in known)] == []


def test_a_users_config_lies_over_one_of_the_zoo_or_of_his(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "_BASE_: COCO-Detection/retinanet_R_50_FPN_1x.yaml\nMODEL: {RETINANET: {NUM_CONVS: 1}}\n"
    )
    (tmp_path / "over.yaml").write_text(
        "_BASE_: mine.yaml\nMODEL: {FPN: {OUT_CHANNELS: 16}}\nSOLVER:\n  STEPS: (9, 18)\n"
    )
    made = plan(job("config", options={"config": str(tmp_path / "over.yaml")}))
    assert made.zoo is None
    assert made.cfg.MODEL.META_ARCHITECTURE == "RetinaNet"
    assert (made.cfg.MODEL.RETINANET.NUM_CONVS, made.cfg.MODEL.FPN.OUT_CHANNELS) == (1, 16)
    assert len(made.cfg.MODEL.ANCHOR_GENERATOR.SIZES[0]) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MODEL: !!python/object/apply:os.mkdir [ran]", "python/object"),
        ("MODEL: {WEIGHTS: !!python/object/apply:os.mkdir [ran]}", "python/object"),
        ("_BASE_: http://127.0.0.1:9/evil.yaml", "not fetched"),
        ("_BASE_: detectron2://evil.yaml", "not fetched"),
        ("_BASE_: nowhere.yaml", "nowhere.yaml"),
        ("_BASE_: config.yaml", "configs that end"),
        ("_BASE_: base.py", "LazyConfig"),
        ("VERSION: 1", "VERSION"),
        ("- a list", "a mapping"),
        ("MODEL: {NO_SUCH: 1}", "NO_SUCH"),
        ("MODEL: {FPN: 5}", "FPN"),
        ("MODEL: &a {FPN: *a}", "alias"),
        ("MODEL: {META_ARCHITECTURE: PanopticFPN}", "GeneralizedRCNN | RetinaNet"),
        ("MODEL: {META_ARCHITECTURE: os.mkdir}", "GeneralizedRCNN | RetinaNet"),
        ("DATALOADER: {SAMPLER_TRAIN: RepeatFactorTrainingSampler}", "TrainingSampler"),
    ],
)
def test_a_strangers_config_runs_nothing_fetches_nothing_and_says_what_is_wrong(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "base.py").write_text("import os; os.mkdir('ran')")
    with pytest.raises(InputError) as error:
        plan(job("config", options={"config": "config.yaml"}))
    assert says in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        (job("config", options={}), ConfigError, "options.config"),
        (job("config", options={"config": "nowhere/x.yaml"}), ConfigError, "nowhere/x.yaml"),
        (job("config", options={"config": "config.py"}), Unsupported, "LazyConfig"),
        (job("config", options={"config": 5}), ConfigError, "options.config"),
        (job(options={"lr": 1}), Unsupported, "options.override"),
        (job(options={"override": [1]}), ConfigError, "dotted keys"),
        (job(options={"override": {"MODEL.KEYPOINT_ON": True}}), Unsupported, "KEYPOINT_ON"),
    ],
)  # fmt: skip
def test_what_detectron2_cannot_do_is_said(wanted, error, says):
    with pytest.raises(error, match=says):
        plan(wanted)


def test_all_overrides_that_do_not_fit_are_said_at_once():
    with pytest.raises(ConfigError) as error:
        plan(job(options={"override": {"MODEL.FPN.OUT_CHANNEL": 1, "SOLVER.BASE_LR": "fast", "SOLVER.GAMMA": 0.5}}))
    assert [fault.where for fault in error.value.faults] == [
        "options.override MODEL.FPN.OUT_CHANNEL", "options.override SOLVER.BASE_LR",
    ]  # fmt: skip
    assert "MODEL.FPN.OUT_CHANNELS" in str(error.value)


# Weights

dtypes = st.sampled_from(["f4", "f8", "f2", "i8", "u1", "b1"]).flatmap(
    lambda kind: st.sampled_from([np.dtype(kind), np.dtype(kind).newbyteorder(">")])
)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 5))
def test_pickled_arrays_are_read_as_they_were(tmp_path_factory, data, protocol):
    from defect_detect.backends._detectron2 import arrays

    value = data.draw(arrays_of.arrays(data.draw(dtypes), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4)))
    value = np.asfortranarray(value) if data.draw(st.booleans()) else value
    path = tmp_path_factory.mktemp("arrays") / "a.pkl"
    path.write_bytes(pickle.dumps({"model": {"a.weight": value}, "__author__": "me", "n": [1, 2.5]}, protocol))
    found = arrays.load(path)
    assert (found["__author__"], found["n"]) == ("me", [1, 2.5])
    assert found["model"]["a.weight"].dtype == value.dtype.newbyteorder("=")
    assert np.array_equal(found["model"]["a.weight"], value, equal_nan=value.dtype.kind == "f")


class _Runs:
    def __reduce__(self) -> Any:
        return Path.mkdir, (Path("ran"),)


def _state(*state: Any) -> bytes:
    """A pickled array whose state is another than numpy's."""

    class Shaped:
        def __reduce__(self) -> Any:
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    return pickle.dumps({"model": Shaped()})


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(_Runs()), pickle.dumps({"model": {"a": _Runs()}}), pickle.dumps(np.array([_Runs()], object)),
        pickle.dumps(np.float64(1)), pickle.dumps(np.zeros(1, "U3")), pickle.dumps(np.zeros(1, "i4,f4")),
        _state(1, (4,), np.dtype("f4"), False, b"1234"), _state(1, (-1,), np.dtype("f4"), False, b"1234"),
        _state(1, (1,), np.dtype("f4"), False, "\u1234"), _state(1, (1,), "f4", False, b"1234"), _state(5),
        b"", b"\x80\x04", b"cos\nmkdir\n(S'ran'\ntR.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)  # fmt: skip
def test_a_pickle_of_anything_but_arrays_is_refused_unrun(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pkl").write_bytes(content)
    made = plan(job(weights=str(tmp_path / "model.pkl")))
    with pytest.raises(ConfigError, match=r"model\.pkl"):
        initialized(made, job(weights=str(tmp_path / "model.pkl")))
    assert not (tmp_path / "ran").exists()


def initialized(made: Any, wanted: jobs.TrainJob) -> tuple[Any, str]:
    from defect_detect.backends._detectron2 import weights

    fresh = network(made)
    return fresh, weights.initialize(fresh, wanted, made)


def zoo_file(path: Path, made: Any, **more: Any) -> dict[str, Any]:
    """A file like those of detectron2's zoo: arrays of a network, with values of its own."""
    torch.manual_seed(1)
    state = {name: torch.rand(tensor.shape).numpy() for name, tensor in network(made).state_dict().items()}
    path.write_bytes(pickle.dumps({"model": state, "__author__": "detectron2", **more}))
    return state


def test_pretrained_weights_are_the_zoos_but_for_what_tells_its_classes(tmp_path, monkeypatch):
    asked: list[str] = []
    address = "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600"

    def download(source: str, path: str, **_: Any) -> None:
        asked.append(source)
        zoo_file(Path(path), plan(job(), classes=2))  # as many classes as ours, to see that they are left out

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    wanted = job(weights="pretrained")
    for _ in range(2):
        fresh, said = initialized(plan(wanted), wanted)
    assert asked == [f"{address}/model_final_f10217.pkl"]
    assert said.startswith(asked[0] + " sha256:")
    file = next((tmp_path / "checkpoints").iterdir())
    state = pickle.loads(file.read_bytes())["model"]  # noqa: S301  written above
    now = fresh.state_dict()
    for name in ("backbone.bottom_up.stem.conv1.weight", "proposal_generator.rpn_head.conv.weight"):
        assert np.array_equal(now[name].numpy(), state[name])
    for name in ("roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_head.predictor.weight"):
        assert not np.array_equal(now[name].numpy(), state[name])


def test_pretrained_weights_out_of_reach_say_what_to_do(tmp_path, monkeypatch):
    def download(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(FrameworkMissing, match=r"(?s)no network.*--set weights=/path/to/model_final_f10217\.pkl"):
        initialized(plan(job(weights="pretrained")), job(weights="pretrained"))


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/evil.pkl", "", "catalog://no/such"])
def test_a_config_can_have_nothing_fetched_but_detectron2s_own(tmp_path, source):
    (tmp_path / "mine.yaml").write_text(
        f"_BASE_: COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml\nMODEL: {{WEIGHTS: '{source}'}}\n"
    )
    wanted = job("config", weights="pretrained", options={"config": str(tmp_path / "mine.yaml"), "override": SLIM})
    with pytest.raises(ConfigError, match=r"MODEL\.WEIGHTS of detectron2's zoo"):
        initialized(plan(wanted), wanted)
    for address in ("http://127.0.0.1:9/evil.pkl", "http://127.0.0.1:9/evil.pth"):
        with pytest.raises(ConfigError, match="evil"):
            initialized(plan(job()), job(weights=address))


def test_weights_by_detectron2s_own_checkpointer_fit(tmp_path):
    from detectron2.checkpoint import DetectionCheckpointer

    made = plan(job())
    torch.manual_seed(5)
    there = network(made)
    torch.nn.init.normal_(there.backbone.bottom_up.stem.conv1.weight)
    optimizer = torch.optim.SGD(there.parameters(), lr=1.0, momentum=0.5)
    DetectionCheckpointer(there, str(tmp_path), optimizer=optimizer).save("model_final", iteration=9)
    path = str(tmp_path / "model_final.pth")
    fresh, said = initialized(made, job(weights=path))
    assert said.startswith(f"{path} sha256:")
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in there.state_dict().items())


def test_an_imagenet_backbone_with_other_names_fits(tmp_path):
    """As converted from Caffe2: no `model` around it, `res2_0_branch2a_w` for `res2.0.conv1.weight`."""
    made = plan(job(weights="x"))
    bottom = network(made).backbone.bottom_up.state_dict()
    ours = "res2.0.conv1.weight"
    caffe = {
        name.replace("stem.conv1", "conv1").replace(".norm.weight", "_bn_s").replace(".norm.bias", "_bn_b")
        .replace(".conv1.weight", "_branch2a_w").replace(".conv2.weight", "_branch2b_w")
        .replace(".conv3.weight", "_branch2c_w").replace(".shortcut.weight", "_branch1_w")
        .replace(".conv1_", "_branch2a_").replace(".conv2_", "_branch2b_").replace(".conv3_", "_branch2c_")
        .replace(".shortcut_", "_branch1_").replace(".", "_").replace("conv1_weight", "conv1_w"): value.numpy() + 1
        for name, value in bottom.items() if "running" not in name
    }  # fmt: skip
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(caffe))
    fresh, _ = initialized(made, job(weights=str(tmp_path / "R-50.pkl")))
    assert torch.equal(fresh.backbone.bottom_up.state_dict()[ours], bottom[ours] + 1)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nowhere.pth", None, "nowhere.pth"), ("a.pth", b"no weights", "a.pth"),
        ("b.pth", {"x.weight": torch.zeros(3)}, "0 of"), ("c.pth", [1], "0 of"), ("d.pkl", pickle.dumps([1]), "0 of"),
    ],
)  # fmt: skip
def test_weights_of_something_else_are_refused(tmp_path, name, content, says):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ConfigError, match=says):
        initialized(plan(job()), job(weights=str(path)))


# Pictures


def scene(root: Path, *, crowd: bool = False, side: int = 64, thin: bool = False) -> Dataset:
    """One picture with two defects, the second one perhaps a crowd."""
    y, x = np.mgrid[:side, :side]
    first = (x >= 8) & (x < (9 if thin else 24)) & (y >= 10) & (y < 20)
    second = (x >= 30) & (x < 60) & (y >= 30) & (y < 62)
    grey = np.full((side, side), 100, np.uint8)
    grey[first] = 200
    Image.fromarray(grey).save(root / "a.png")
    regions = (from_mask(first), from_mask(second))
    return Dataset(
        root=root, split="train", categories=(Category(id=1, name="a", source_id=1),),
        images=Images(file=("a.png",), id=np.array([1]), size=np.array([[side, side]]), group=np.array(["a"]),
                      source_id=(1,)),
        defects=Defects(
            image=np.zeros(2, np.int64), label=np.zeros(2, np.int64), box=np.array([region_box(r) for r in regions]),
            area=np.array([region_area(r) for r in regions]), crowd=np.array([False, crowd]), ignore=np.zeros(2, bool),
            region=regions, id=np.array([1, 2]), source_id=(1, 2),
        ),
    )  # fmt: skip


def shown(data: Dataset, made: Any, epoch: int = 1, seed: int = 0) -> dict[str, Any]:
    from defect_detect.backends._detectron2.pictures import TrainingPictures

    item: dict[str, Any] = TrainingPictures(data, made.cfg, masks=made.masks, seed=seed)[epoch, 0]
    return item


def test_boxes_and_masks_follow_the_picture(tmp_path):
    data = scene(tmp_path)
    flipped = set()
    for epoch in range(1, 9):
        item = shown(data, plan(job(image_size=128)), epoch)
        truth = item["instances"]
        assert item["image"].shape == (3, 128, 128)
        for box, mask in zip(truth.gt_boxes.tensor, truth.gt_masks.tensor, strict=True):
            across, down = (torch.where(mask.any(axis))[0] for axis in (0, 1))
            tight = torch.tensor([across.min(), down.min(), across.max() + 1, down.max() + 1])
            assert torch.allclose(tight.float(), box, atol=1)
        bright = torch.where((item["image"][0] > 150).any(0))[0]
        assert abs(float(bright.min()) - float(truth.gt_boxes.tensor[0, 0])) <= 1
        flipped.add(float(truth.gt_boxes.tensor[0, 0]))
    assert flipped == {16.0, 80.0}


def test_variations_depend_on_seed_epoch_and_picture_alone(tmp_path):
    data, made = scene(tmp_path), plan(job())
    np.random.seed(1)  # noqa: NPY002  detectron2 draws from this one
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  see above
    first = [shown(data, made, epoch)["image"] for epoch in range(1, 7)]
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002  see above
    np.random.seed(2)  # noqa: NPY002  see above
    assert all(torch.equal(shown(data, made, epoch)["image"], first[epoch - 1]) for epoch in range(6, 0, -1))
    others = [shown(data, made, epoch, seed=9)["image"] for epoch in range(1, 7)]
    assert any(not torch.equal(one, other) for one, other in zip(first, others, strict=True))


def test_a_region_that_vanishes_when_scaled_stands_for_its_box(tmp_path):
    data = scene(tmp_path, side=256, thin=True)
    for size in (16, 20, 24, 32):
        truth = shown(data, plan(job(image_size=size)))["instances"]
        assert len(truth) == 2
        assert all(mask.any() for mask in truth.gt_masks.tensor)


def test_the_weights_see_channels_in_their_order(tmp_path):
    data = scene(tmp_path)
    Image.fromarray(np.full((64, 64, 3), (200, 100, 50), np.uint8)).save(tmp_path / "a.png")
    assert shown(data, plan(job()))["image"][:, 0, 0].tolist() == [50, 100, 200]
    rgb = plan(job(options={"override": {"INPUT.FORMAT": "RGB"}}))
    assert shown(data, rgb)["image"][:, 0, 0].tolist() == [200, 100, 50]


def test_crowds_are_neither_objects_nor_background(tmp_path):
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    from defect_detect.backends._detectron2 import ignoring

    made = plan(job())
    item = shown(scene(tmp_path, crowd=True), made)
    assert len(item["instances"]) == 1
    assert len(item["ignored"]) == 1
    crowd, truth = item["ignored"][0], item["instances"].gt_boxes.tensor[0]
    anchors = torch.stack([crowd, crowd + torch.tensor([4.0, 4, -4, -4]), truth, torch.tensor([0.0, 0, 4, 4])])
    fresh = ignoring.teach(network(made))

    def labels(ignored: Any) -> list[int]:
        ignoring.tell(fresh, [ignored])
        found, _ = fresh.proposal_generator.label_and_sample_anchors([Boxes(anchors)], [item["instances"]])
        return [int(label) for label in found[0]]

    assert labels(torch.zeros((0, 4))) == [0, 0, 1, 0]  # as detectron2 has it
    assert labels(item["ignored"]) == [-1, -1, 1, 0]

    def classes(ignored: Any) -> list[int]:
        ignoring.tell(fresh, [ignored])
        proposals = Instances((64, 64), proposal_boxes=Boxes(anchors), objectness_logits=torch.zeros(4))
        with EventStorage():
            (sampled,) = fresh.roi_heads.label_and_sample_proposals([proposals], [item["instances"]])
        return sorted(sampled.gt_classes.tolist())

    assert classes(torch.zeros((0, 4))) == [0, 0, 2, 2, 2]  # the truth itself is among the proposals
    assert classes(item["ignored"]) == [0, 0, 2]


def test_crowds_are_no_background_to_retinanet(tmp_path):
    from detectron2.structures import Boxes

    from defect_detect.backends._detectron2 import ignoring

    options = {"config": "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
               "override": {name: value for name, value in SLIM.items() if "ROI" not in name}}  # fmt: skip
    made = plan(job("config", options=options))
    item = shown(scene(tmp_path, crowd=True), made)
    fresh = ignoring.teach(network(made))
    crowd, truth = item["ignored"][0], item["instances"].gt_boxes.tensor[0]
    anchors = [Boxes(torch.stack([crowd, truth, torch.tensor([0.0, 0, 4, 4])]))]
    for ignored, expected in ((torch.zeros((0, 4)), [2, 0, 2]), (item["ignored"], [-1, 0, 2])):
        ignoring.tell(fresh, [ignored])
        assert fresh.label_anchors(anchors, [item["instances"]])[0][0].tolist() == expected


def test_a_batch_without_defects_teaches_background(tmp_path):
    from detectron2.utils.events import EventStorage

    from defect_detect.backends._detectron2 import ignoring

    data = dataclasses.replace(scene(tmp_path), defects=Defects.none(regions=True))
    made = plan(job())
    fresh, item = ignoring.teach(network(made)), shown(data, made)
    ignoring.tell(fresh, [item["ignored"]] * 2)
    with EventStorage():
        losses = fresh.train()([item, item])
    total = sum(losses.values())
    assert torch.isfinite(total)
    assert losses["loss_cls"] > 0
    assert losses["loss_rpn_cls"] > 0


def test_the_device_that_is_not_there_is_said():
    from defect_detect.backends import _settled

    with pytest.raises(ConfigError, match="--set device=cpu"):
        _settled.device("cuda:77")


def test_a_state_of_something_else_is_refused(tmp_path):
    from defect_detect.backends import _progress

    buffer = io.BytesIO()
    torch.save({"format": "another"}, buffer)
    for content, says in ((b"no", "can't be read"), (buffer.getvalue(), "not a state of a detectron2 training")):
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(RunFailed, match=says):
            _progress.read(tmp_path / "state", "defect_detect detectron2 state 2")
