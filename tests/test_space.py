"""Room for checkpoints is estimated before the first training, from what models weigh."""

from collections import namedtuple
from pathlib import Path

import pytest

from defect_detect import backends, config, job, space
from defect_detect.errors import ConfigError

ROOT = Path(__file__).parents[1]


def read(name: str) -> config.DetectorConfig:
    return config.read(ROOT / "configs" / name, [])


def test_trainings_that_will_not_fit_are_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage(10**9, 0, 10**9))
    configs = [read("ssd/ssd300_vgg16.yaml"), read("maskrcnn/mask_rcnn_r50_fpn.yaml")]

    with pytest.raises(ConfigError, match=r"6 trainings, about [\d,]+ MB, found 1,000 MB free"):
        space.check(tmp_path, configs, range(3), jobs=1)
    space.check(tmp_path, [read("yolo/yolo26n.yaml")], range(3), jobs=1)


def test_what_is_done_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage(1, 1, 0))
    made = read("yolo/yolo26n.yaml")
    home = tmp_path / "runs" / "yolo26n-0"
    home.mkdir(parents=True)

    with pytest.raises(ConfigError, match="1 trainings"):
        space.check(tmp_path, [made], [0], jobs=1)
    (home / "result.json").touch()
    space.check(tmp_path, [made], [0], jobs=1)


def test_trainings_side_by_side_need_more_at_once() -> None:
    configs = [read("ssd/ssd300_vgg16.yaml")] * 3

    assert space.needs(configs, jobs=2) > space.needs(configs, jobs=1) > 3 * 138e6
    assert space.needs([read("baseline/classical.yaml")], jobs=1) == 0


def test_every_model_of_a_known_size_is_one_of_a_backend() -> None:
    models = {model for name in backends.shipped() for model in backends.load(name).models}

    assert set(space.MEGABYTES) <= models | {"ssd300", "ssd512"}
    assert models - {"config"} <= set(space.MEGABYTES)


@pytest.mark.framework
def test_the_sizes_are_those_of_the_networks(ultralytics: None) -> None:
    import torch

    from defect_detect.backends import torchvision
    from defect_detect.backends._torchvision import models
    from defect_detect.backends._ultralytics import network

    def size(net: torch.nn.Module) -> float:
        return sum(value.numel() * value.element_size() for value in net.state_dict().values()) / 1e6

    found = {"yolo11n": size(network.build("yolo11n", "segment", [str(n) for n in range(80)]))}
    for model in ("ssdlite320_mobilenet_v3", "mask_rcnn_r18_fpn"):
        assert model in torchvision.models
        wanted = job.TrainJob(
            detector="x", framework="torchvision", model=model, dataset="", seed=0,
            settings=job.Settings(weights="none"),
        )  # fmt: skip
        found[model] = size(models.build(wanted, 81).network)
    for model, megabytes in found.items():
        assert megabytes <= space.MEGABYTES[model] <= megabytes + 2
