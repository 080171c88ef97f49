"""What training by mmdet's configs may run: nothing that a stranger wrote, unless its hash was agreed to."""

import hashlib
import pickle
import re
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from defect_detect import config as configs_of_detectors
from defect_detect import job as jobs
from defect_detect import options
from defect_detect.errors import ConfigError, RunFailed, Unsupported
from tests.test_mmdet import NARROW, job, pictures, run

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("mmdet")]

BASE = "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py"
SSD = {"image_size": 320}


def zoo() -> Path:
    from defect_detect.backends._mmdet import consent

    return consent.zoo()[0]


def plan(config: object = None, override: object = None, **settings: object):
    from defect_detect.backends._mmdet import configs

    given = {"config": str(config or BASE)} | ({"override": override} if override else {})
    return configs.plan(job("config", options=given, **{**SSD, **settings}), classes=2)


def touching(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()\n"


@pytest.mark.parametrize("form", ["{zoo}\n_base_ = {base!r}\n", "{zoo}\n_base_ = [{base!r}]\n"])
def test_a_config_of_ones_own_runs_only_when_its_hash_is_agreed_to(form, tmp_path):
    path, mark = tmp_path / "own.py", tmp_path / "ran"
    path.write_text(form.format(zoo=touching(mark), base=str(zoo() / BASE)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for trust in ("", "0" * 64):
        with pytest.raises(ConfigError, match=rf"own\.py: a program that can run any code.*--trust-config {digest}"):
            plan(path, trust_config=trust)
    assert not mark.exists()
    assert plan(path, trust_config=digest).nms_iou == 0.45
    assert mark.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("top.py", "_base_ = ['./below.py']"),
        ("top.yaml", "_base_: ./below.py"),
        ("top.json", '{"_base_": ["below.py"]}'),
        ("top.py", "from mmengine.config import read_base\nwith read_base():\n    from .below import *"),
        ("top.py", "from mmengine.config import read_base\nwith read_base():\n    from . import below"),
    ],
)
def test_what_a_config_stands_on_is_agreed_to_with_it(name, text, tmp_path):
    from defect_detect.backends._mmdet import consent

    path, base = tmp_path / name, tmp_path / "below.py"
    path.write_text(text)
    base.write_text(f"_base_ = {str(zoo() / BASE)!r}")
    files = [path.resolve(), base.resolve()]
    whole = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    with pytest.raises(ConfigError, match=f"(?s){re.escape(name)}.*below.py.*--trust-config {whole}"):
        consent.find(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert consent.find(str(path), whole) == path.resolve()
    base.write_text("import os")
    with pytest.raises(ConfigError, match="run any code"):
        consent.find(str(path), whole)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.py", "_base_ = [__import__('os').mkdir('MARK')]", "plain text"),
        ("a.py", '_base_ = f\'{__import__("os").mkdir("MARK")}\'', "plain text"),
        ("a.py", "_base_ = '{{ fileDirname }}/b.py'", "plain text"),
        ("a.py", "_base_ = 5", "plain text"),
        ("a.py", "_base_ = './a.py'", "itself among its bases"),
        ("a.py", "_base_ = './gone.py'", "no file .*gone.py"),
        ("a.py", "_base_ = (", "Python"),
        ("a.yaml", "_base_: !!python/object/apply:os.mkdir [MARK]", "constructor"),
        ("a.json", '{"_base_": 5}', "plain text"),
    ],
)
def test_bases_are_told_without_running_anything(name, text, says, tmp_path):
    path, mark = tmp_path / name, tmp_path / "ran"
    path.write_text(text.replace("MARK", str(mark)))
    with pytest.raises(ConfigError, match=says):
        plan(path)
    assert not mark.exists()


def test_the_zoo_comes_before_a_file_of_the_same_name_in_the_folder_that_one_is_in(tmp_path, monkeypatch):
    planted, mark = tmp_path / BASE, tmp_path / "ran"
    planted.parent.mkdir()
    planted.write_text(touching(mark))
    monkeypatch.chdir(tmp_path)
    assert plan().nms_iou == 0.45
    assert plan(zoo() / BASE).nms_iou == 0.45
    assert not mark.exists()


MARK = "MARK"
RUNS = {
    "an imported function": ({"model.backbone": {"_delete_": True, "type": "os.mkdir", "path": MARK}}, "os.mkdir"),
    "a module": ({"model.backbone.type": "antigravity"}, "antigravity"),
    "a scope": ({"model.backbone._scope_": "antigravity"}, "antigravity"),
    "an expression": ({"model.test_cfg.nms.type": f"__import__('os').mkdir({MARK!r})"}, "__import__"),
    "a value that is evaluated": (
        {"model.train_cfg.assigner": {"_delete_": True, "type": "CameraMotionCompensation",
                                      "warp_mode": f"__import__('os').mkdir({MARK!r})"}}, "CameraMotion"),
    "a config that is read": (
        {"model": {"_delete_": True, "type": "KnowledgeDistillationSingleStageDetector", "backbone": {}, "neck": {},
                   "bbox_head": {}, "teacher_config": f"{MARK}.py"}}, "KnowledgeDistillation"),
    "detectron2's pickle": ({"model": {"_delete_": True, "type": "Detectron2Wrapper"}}, "Detectron2Wrapper"),
    "a hook that writes": ({"custom_hooks": [{"type": "CheckpointHook", "out_dir": MARK}]}, "CheckpointHook"),
    "an optimizer": ({"optim_wrapper.optimizer.type": "os.mkdir"}, "os.mkdir"),
    "an address": (
        {"model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": "http://127.0.0.1:9/x.pth"}}, "never fetched"),
    "modules": ({"custom_imports": {"imports": ["antigravity"]}}, "not used here"),
    "a pipeline nobody reads": ({"test_pipeline": []}, "not used here"),
}  # fmt: skip


@pytest.mark.parametrize("what", RUNS)
def test_an_override_brings_no_code(what, tmp_path):
    override, says = RUNS[what]
    mark = tmp_path / "ran"
    text = msgspec.json.encode(override).decode().replace(MARK, str(mark))
    (tmp_path / "ran.py").write_text(touching(mark))
    with pytest.raises(ConfigError, match=f"options.override.*{says}"):
        plan(override=msgspec.json.decode(text))
    assert not mark.exists()
    assert "antigravity" not in sys.modules


def test_an_override_may_name_what_mmdet_registers():
    made = plan(
        override={
            "model.bbox_head.anchor_generator.type": "SSDAnchorGenerator",
            "model.test_cfg.nms.type": "soft_nms",
            "model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://mobilenet_v2"},
            "optim_wrapper.optimizer": {"_delete_": True, "type": "AdamW", "lr": 0.001},
            "custom_hooks": [{"type": "EMAHook", "momentum": 0.01}],
            "train_dataloader.dataset.dataset.pipeline.4": {"_delete_": True, "type": "mmdet.RandomFlip", "prob": 0.5},
        }
    )
    assert made.model.test_cfg.nms.type == "soft_nms"
    assert made.train[4]["type"] == "mmdet.RandomFlip"


def test_a_network_of_modules_that_predicting_would_not_import_is_refused_before_the_training(tmp_path, monkeypatch):
    (tmp_path / "planted_backbones.py").write_text(
        "from mmdet.models.backbones import MobileNetV2\nfrom mmdet.registry import MODELS\n"
        "@MODELS.register_module(force=True)\nclass PlantedBackbone(MobileNetV2): pass\n"
    )
    path = tmp_path / "own.py"
    path.write_text(
        f"_base_ = {str(zoo() / BASE)!r}\ncustom_imports = dict(imports=['planted_backbones'])\n"
        "model = dict(backbone=dict(type='PlantedBackbone'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Unsupported, match=r"'PlantedBackbone'.*backend of its own"):
        plan(path, trust_config=hashlib.sha256(path.read_bytes()).hexdigest())


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("weights", ["none", "pretrained"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_a_config_starts_from_are_never_code(weights, zipped, tmp_path):
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    if zipped:
        torch.save({"state_dict": Code(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Code(mark)}))
    own = tmp_path / "own.py"  # has no weights in the zoo
    own.write_text(f"_base_ = {str(zoo() / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')!r}")
    start = {"type": "Pretrained", "checkpoint": str(path)}
    override = {**NARROW["override"], "model.backbone.init_cfg": start, "model.rpn_head.init_cfg": start}
    wanted = job("config", options={"config": str(own), "override": override}, weights=weights,
                 trust_config=hashlib.sha256(own.read_bytes()).hexdigest())  # fmt: skip
    train, val = pictures(tmp_path, 4), pictures(tmp_path, 4, split="val")
    if weights == "pretrained":
        with pytest.raises(RunFailed, match="holds more than tensors"):
            run(tmp_path, wanted, train, val)
    else:
        run(tmp_path, msgspec.structs.replace(wanted, settings=msgspec.structs.replace(wanted.settings, epochs=1)),
            train, val)  # fmt: skip
    assert not mark.exists()


def test_inside_nothing_is_loaded_but_tensors_whatever_is_asked_for(tmp_path):
    from mmengine.logging.history_buffer import HistoryBuffer

    from defect_detect.backends._mmdet import loading

    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": Code(mark)}, path)
    with pytest.raises(RunFailed, match="more than tensors"), loading.tensors_only():
        torch.load(path, weights_only=False)  # as torch.hub does with what it fetched
    assert not mark.exists()
    torch.save({"message_hub": {"loss": HistoryBuffer([0.5], [1])}, "state_dict": {"a": torch.ones(1)}}, path)
    with loading.tensors_only():
        assert torch.load(path)["state_dict"]["a"] == 1

    class Reached:
        def __reduce__(self):
            return (getattr, (HistoryBuffer.mean, "__globals__"))

    torch.save({"state_dict": Reached()}, path)
    with loading.tensors_only():
        assert torch.load(path) == {"state_dict": None}, "what stands for getattr leads nowhere"
    torch.save({"state_dict": Code(mark)}, path)
    torch.load(path, weights_only=False)
    assert mark.exists(), "outside it is as it was"


def test_weights_with_code_are_refused_unless_trusted_by_their_hash(tmp_path):
    path, mark = tmp_path / "weights.pth", tmp_path / "ran"
    torch.save({"state_dict": Code(mark)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    train, val = pictures(tmp_path, 2), pictures(tmp_path, 2, split="val")
    with pytest.raises(ConfigError, match=rf"run any code.*--trust-checkpoint {digest}"):
        run(tmp_path, job(weights=str(path)), train, val)
    assert not mark.exists()
    with pytest.raises(ConfigError, match="backbone tensors that fit"):  # it is loaded, and holds no weights
        run(tmp_path, job(weights=str(path), trust_checkpoint=digest), train, val)
    assert mark.exists()


def test_weights_at_an_address_are_not_fetched(tmp_path):
    train, val = pictures(tmp_path, 2), pictures(tmp_path, 2, split="val")
    with pytest.raises(ConfigError, match=r"weights.*path of a checkpoint"):
        run(tmp_path, job(weights="http://127.0.0.1:9/x.pth"), train, val)


def test_a_checkpoint_names_nothing_that_runs_what_its_values_say():
    from defect_detect.backends._mmdet import named

    for what in ("a value that is evaluated", "a config that is read", "detectron2's pickle", "a scope", "a module"):
        override, says = RUNS[what]
        nested: dict = {}
        for key, value in override.items():
            *path, last = key.split(".")
            inner = nested
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = value
        assert says in str(named.unknown(nested)), what
    teacher = {"type": "KnowledgeDistillationSingleStageDetector", "teacher_config": {"model": {"type": "SSDHead"}}}
    assert named.unknown(teacher) is None, "a config that is there"


SINKS = (
    r"(?<![\w.])(?:eval|exec|__import__)\(|fromfile\(|import_module|pickle\.load|yaml\.load|get_object_from_string"
    r"|os\.system|subprocess\."
)
REVIEWED = {
    "mmdet/models/detectors/kd_one_stage.py": "KnowledgeDistillationSingleStageDetector",
    "mmdet/models/task_modules/tracking/camera_motion_compensation.py": "CameraMotionCompensation",
    "mmcv/cnn/rfsearch/search.py": "RFSearchHook",
    "mmcv/ops/nms.py": "evaluates the type of a suppression, which is the name of an operator of mmcv's",
}


def test_what_of_mmdet_runs_the_values_of_a_config_was_reviewed():
    """The day this fails, a release evaluates, reads or imports what a config says in another place."""
    from defect_detect.backends._mmdet import consent, named

    site = zoo().parents[2]
    folders = [
        *(f"mmdet/{name}" for name in ("models", "datasets/transforms", "engine", "structures")),
        *(f"mmcv/{name}" for name in ("cnn", "ops", "transforms")),
        *(f"mmengine/{name}" for name in ("model", "optim")),
    ]
    found = {
        str(path.relative_to(site))
        for folder in folders
        for path in (site / folder).rglob("*.py")
        if re.search(SINKS, re.sub(r"\.eval\(|np\.fromfile\(|#.*", "", path.read_text(encoding="utf-8")))
    }
    assert found == set(REVIEWED)
    assert {name for name in REVIEWED.values() if " " not in name} | {"Detectron2Wrapper"} == set(named._RUN)
    assert consent.zoo()[0].is_dir()


def test_consent_is_given_on_the_command_line_never_by_the_config_itself(tmp_path):
    digest = "ab" * 32
    path = tmp_path / "gift.yaml"
    text = f"framework: mmdet\nmodel: config\noptions: {{config: {BASE}}}\n"
    for key in ("trust_config", "trust_checkpoint"):
        path.write_text(f"{text}{key}: {digest}\n")
        with pytest.raises(ConfigError, match=f"{key}.*command line only"):
            configs_of_detectors.read(path)
    path.write_text(text)
    parser = options.parser("", "--set", "--trust-config", "--trust-checkpoint")
    given = parser.parse_args(["data", "--trust-config", digest, "--trust-checkpoint", "cd" * 32])
    settings = configs_of_detectors.read(path, options.overrides(given)).settings
    assert (settings.trust_config, settings.trust_checkpoint) == (digest, "cd" * 32)
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        configs_of_detectors.read(path, ["trust_config=ok"])
    assert jobs.Settings().trust_config == ""
