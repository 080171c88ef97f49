"""The YOLO backend on real tiny trainings: the contract of every backend, and ultralytics' own traps."""

import dataclasses
import hashlib
import io
import os
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defect_detect import config, geometry
from defect_detect.backends import ultralytics as backend
from defect_detect.backends._ultralytics import detecting, environment, network, options, pictures, training, weights
from defect_detect.data import pixels
from defect_detect.data.single_ring import outline
from defect_detect.errors import ConfigError, DatasetError, FrameworkMissing, RunFailed, Unsupported
from defect_detect.job import Epoch, Settings, TrainJob
from defect_detect.tables import Category, Dataset, Defects, Images, Polygons, Predictions

pytestmark = [
    pytest.mark.framework,
    pytest.mark.usefixtures("ultralytics"),
    # torch's deterministic mode warns of operations that have no such version
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SIDE = 96
FILES = ("a.jpg", "a.png", "sub/a.png", "long.jpg", *(f"{number}.png" for number in range(8)))


def scene(root: Path, split: str = "train", *, masks: bool = True, files: tuple[str, ...] = FILES) -> Dataset:
    """Grey noise with a bright square (label 0) or a dark disc (label 1); every third picture has none."""
    rng = np.random.default_rng(len(split))
    boxes, labels, images, regions = [], [], [], []
    for row, file in enumerate(files):
        height = SIDE if row % 2 else SIDE - 24
        shown = rng.integers(100, 130, (height, SIDE, 3), dtype=np.uint8)
        if row % 3:
            left, top, side = (int(number) for number in rng.integers(4, 30, 3))
            side += 10
            area = np.s_[top : top + side, left : left + side]
            shown[area] = 250 if row % 2 else 5
            boxes.append((left, top, left + side, top + side))
            labels.append(row % 2)
            images.append(row)
            corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
            regions.append(Polygons(rings=(np.array(corners, float),)))
        path = root / split / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown).save(path)
        if file == "long.jpg":  # bytes after its end marker: ultralytics takes it for corrupt and writes it anew
            path.write_bytes(path.read_bytes() + b"\0\0")
    size = [(SIDE, SIDE if row % 2 else SIDE - 24) for row in range(len(files))]
    count = len(boxes)
    return Dataset(
        root=root,
        split=split,
        categories=(Category(id=1, name="square", source_id=7), Category(id=2, name="disc", source_id=91)),
        images=Images(
            file=tuple(f"{split}/{file}" for file in files),
            id=np.arange(1, len(files) + 1),
            size=np.array(size).reshape(-1, 2),
            group=np.array(files, dtype=str),
            source_id=tuple(range(len(files))),
        ),
        defects=Defects(
            image=np.array(images, np.int64),
            label=np.array(labels, np.int64),
            box=np.array(boxes, float).reshape(-1, 4),
            area=np.full(count, 100.0),
            crowd=np.zeros(count, np.bool_),
            ignore=np.zeros(count, np.bool_),
            region=tuple(regions) if masks else None,
            id=np.arange(1, count + 1),
            source_id=tuple(range(count)),
        ),
    )


def job(model: str = "yolo26n", options: dict[str, Any] | None = None, **changes: Any) -> TrainJob:
    chosen = {"epochs": 2, "image_size": SIDE, "batch": 4, "weights": "none", "device": "cpu", "threads": 1}
    chosen |= {"learning_rate": 0.002, "max_detections": 7, "score_floor": 0.0005} | changes
    return TrainJob(
        detector=model, framework="ultralytics", model=model, dataset="", seed=3,
        settings=Settings(**chosen), options={"nbs": 4} if options is None else options,
    )  # fmt: skip


class Watching:
    """Takes every epoch for a better one, and stops after `last`."""

    def __init__(self, last: int = 99) -> None:
        self.last = last
        self.batches: list[tuple[int, int]] = []
        self.epochs: list[tuple[int, float, Predictions]] = []

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        assert loss is None or np.isfinite(loss)
        self.batches.append((done, of))

    def epoch(self, number: int, loss: float, validation: Predictions) -> Epoch:
        self.epochs.append((number, loss, validation))
        return Epoch(score=number / 10, best=True, stop=number >= self.last)

    def resume(self) -> None:
        return None

    def keep(self, _state: Any, best: Any) -> None:
        buffer = io.BytesIO()
        best(buffer)
        self.best = buffer.getvalue()

    def deliver(self, path: Path) -> None:
        path.write_bytes(self.best)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Run:
    """One training in a working folder of its own, and all that it left anywhere."""

    def __init__(self, home: Path, task: TrainJob, *, masks: bool, watch: Watching | None = None) -> None:
        self.train, self.val = scene(home / "data", masks=masks), scene(home / "data", "val", masks=masks)
        self.home, self.job, self.out, self.watch = home, task, home / "out", watch or Watching()
        self.out.mkdir()
        self.pictures = digests(home / "data")
        before = Path.cwd()
        (home / "cwd").mkdir()
        os.chdir(home / "cwd")
        try:
            self.outcome = backend.train(
                task, train=self.train, val=self.val.without_truth(), out=self.out, watch=self.watch
            )
        finally:
            os.chdir(before)

    @property
    def checkpoint(self) -> Path:
        return self.out / self.outcome.checkpoint

    def predict(self, data: Dataset | None = None, batch: int = 4) -> Predictions:
        data = data or self.val.without_truth()
        return backend.predict(self.job, self.checkpoint, data, device="cpu", batch=batch, watch=Watching())[0]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("segmented"), job(), masks=True)


@pytest.fixture(scope="module")
def boxed(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("boxed"), job("yolo11n", {"nbs": 4, "iou": 0.5}, max_detections=3), masks=False)


@pytest.fixture(params=["segmented", "boxed"])
def run(request):
    return request.getfixturevalue(request.param)


def test_every_image_reaches_the_network_the_defect_free_too(run):
    assert run.outcome.images_seen == len(FILES)
    assert run.outcome.defect_free_seen == 4
    assert run.outcome.parameters > 1_000_000
    assert run.outcome.initial_weights == "none"


def test_nothing_is_left_but_the_checkpoint_and_no_picture_is_touched(run):
    assert [path.name for path in run.out.iterdir()] == ["checkpoint.pt"]
    assert digests(run.home / "data") == run.pictures
    assert not list((run.home / "cwd").iterdir())


def test_each_epoch_is_judged_by_predictions_on_val(run):
    assert [number for number, _, _ in run.watch.epochs] == [1, 2]
    assert all(np.isfinite(loss) and loss > 0 for _, loss, _ in run.watch.epochs)
    assert run.watch.batches == [(1, 3), (2, 3), (3, 3)] * 2
    last = run.watch.epochs[-1][2]
    said = run.predict()
    assert len(last) > 0
    # the checkpoint is the judged network, but for the folding of batch norms into convolutions
    assert sorted(last.score)[-20:] == pytest.approx(sorted(said.score)[-20:], rel=1e-3)


def test_predictions_keep_the_contract(run):
    said = run.predict()
    assert len(said) > 0
    size = run.val.images.size[said.image]
    assert np.isfinite(said.box).all()
    assert (said.box >= 0).all()
    assert (said.box[:, 2:] <= size).all()
    assert (said.box[:, 2:] > said.box[:, :2]).all()
    assert ((said.score >= run.job.settings.score_floor) & (said.score <= 1)).all()
    assert set(said.label.tolist()) <= {0, 1}
    assert np.bincount(said.image).max() == run.job.settings.max_detections


def test_masks_for_a_dataset_with_masks_only(segmented, boxed):
    said = segmented.predict()
    assert segmented.outcome.masks == "regions"
    assert said.region is not None
    for image, region in zip(said.image, said.region, strict=True):
        assert (region.width, region.height) == tuple(segmented.val.images.size[image])
    assert any(geometry.region_area(region) > 0 for region in said.region)
    assert boxed.outcome.masks == "none"
    assert boxed.predict().region is None


def test_a_picture_is_judged_alike_alone_and_in_a_batch(boxed):
    together, alone = boxed.predict(batch=8), boxed.predict(batch=1)
    assert len(together) == len(alone)
    assert together.score == pytest.approx(alone.score, abs=1e-5)
    assert together.box == pytest.approx(alone.box, abs=1e-2)


def test_no_pictures_no_predictions(segmented, tmp_path):
    said = segmented.predict(scene(tmp_path, "test", files=()))
    assert len(said) == 0
    assert said.region == ()


def test_how_it_predicted_is_told(boxed, segmented):
    watch = Watching()
    task = job(options={"nms": False})
    said, how = backend.predict(task, segmented.checkpoint, segmented.val, device="cpu", batch=4, watch=watch)
    assert len(said) > 0
    assert how.nms_iou is None
    assert len(how.latency) == len(FILES)
    assert watch.batches[-1] == (len(FILES), len(FILES))
    _, how = backend.predict(boxed.job, boxed.checkpoint, boxed.val, device="cpu", batch=4, watch=watch)
    assert how.nms_iou == 0.5
    assert how.input_size == "long side 96, padded to multiples of 32"


def test_training_ends_when_the_watch_says_so(tmp_path):
    stopped = Run(tmp_path, job("yolo11n", epochs=5), masks=False, watch=Watching(last=1))
    assert [number for number, _, _ in stopped.watch.epochs] == [1]
    assert stopped.outcome.images_seen == len(FILES)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    with pytest.raises(RunFailed, match=r"diverged.*learning_rate"):
        Run(tmp_path, job("yolo11n", {"nbs": 4, "box": 1e39}), masks=False)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


def broken(kind: str, whole: bytes) -> bytes:
    import torch

    buffer = io.BytesIO()
    match kind:
        case "cut off":
            return whole[: len(whole) // 2]
        case "empty":
            return b""
        case "text":
            return b"<html>not found</html>"
        case "foreign":
            torch.save({"model": torch.zeros(3)}, buffer)
        case "weights missing":
            content = torch.load(io.BytesIO(whole), weights_only=True)
            content["state"].popitem()
            torch.save(content, buffer)
        case "code":
            torch.save({"format": Evil()}, buffer)
        case "pickle":
            buffer.write(pickle.dumps(Evil()))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["cut off", "empty", "text", "foreign", "weights missing", "code", "pickle"])
def test_a_broken_checkpoint_is_named_and_runs_no_code(kind, boxed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "broken.pt"
    path.write_bytes(broken(kind, boxed.checkpoint.read_bytes()))
    with pytest.raises(RunFailed, match=r"broken\.pt"):
        backend.predict(boxed.job, path, boxed.val, device="cpu", batch=4, watch=Watching())
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_of_another_model_is_refused(boxed):
    with pytest.raises(RunFailed, match="is of yolo11n"):
        backend.predict(job("yolo26n"), boxed.checkpoint, boxed.val, device="cpu", batch=4, watch=Watching())


def test_labels_and_pixels_are_ours(tmp_path):
    data = scene(tmp_path)
    crowd = data.defects.crowd.copy()
    crowd[0] = True
    data = dataclasses.replace(data, defects=dataclasses.replace(data.defects, crowd=crowd))
    records = pictures.labels(data, masks=True)
    assert [record["im_file"] for record in records] == [str(tmp_path / "train" / file) for file in FILES]
    assert [len(record["cls"]) for record in records] == [0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1]  # the crowd is row 1
    size = data.images.size[data.defects.image]
    for record, box, (width, height) in zip([records[2]], data.defects.box[1:2], size[1:2], strict=True):
        x, y, w, h = record["bboxes"][0].astype(float) * (width, height, width, height)
        assert [x - w / 2, y - h / 2, x + w / 2, y + h / 2] == pytest.approx(box.tolist(), abs=1e-4)

    environment.start(1)
    from ultralytics.cfg import get_cfg

    kind = pictures.dataset_class(data, masks=True)
    theirs = kind(img_path="", imgsz=SIDE, augment=False, hyp=get_cfg(), task="segment", data={"names": {0: "", 1: ""}})
    for row, file in enumerate(FILES):
        shown, before, _ = theirs.load_image(row)
        ours = pixels.read(tmp_path / "train" / file)
        assert before == ours.shape[:2]
        assert np.array_equal(shown[:, :, ::-1], ours)
    small = kind(img_path="", imgsz=48, augment=False, hyp=get_cfg(), task="segment", data={"names": {0: "", 1: ""}})
    assert small.load_image(0)[0].shape == (36, 48, 3)
    Image.new("RGB", (10, 10)).save(tmp_path / "train" / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png.*96 x 96"):
        theirs.load_image(1)


def crossings(path: np.ndarray, x: float, y: float) -> int:
    """How often a ray from (x, y) to the right crosses the closed path."""
    one, two = path, np.roll(path, -1, axis=0)
    spans = (one[:, 1] > y) != (two[:, 1] > y)
    one, two = one[spans], two[spans]
    at = one[:, 0] + (y - one[:, 1]) / (two[:, 1] - one[:, 1]) * (two[:, 0] - one[:, 0])
    return int((at > x).sum())


@given(st.integers(0, 2**25 - 1))
@settings(max_examples=60, deadline=None)
def test_an_outline_filled_even_odd_is_the_region(bits):
    mask = np.array([bits >> k & 1 for k in range(25)], np.bool_).reshape(5, 5)
    path = outline(geometry.from_mask(mask), 5, 5)
    if not mask.any():
        assert path.shape == (0, 2)
        return
    filled = [[crossings(path, x + 0.5, y + 0.5) % 2 == 1 for x in range(5)] for y in range(5)]
    assert np.array_equal(filled, mask)
    assert [*path.min(axis=0), *path.max(axis=0)] == pytest.approx(
        geometry.region_box(geometry.from_mask(mask)).tolist(), abs=0.13
    )


def test_overlapping_rings_are_a_union():
    rings = (np.array([[0.0, 0], [6, 0], [6, 6], [0, 6]]), np.array([[3.0, 3], [9, 3], [9, 9], [3, 9]]))
    path = outline(Polygons(rings=rings), 10, 10)
    assert crossings(path, 4.5, 4.5) % 2 == 1
    assert outline(Polygons(rings=rings[:1]), 10, 10) is rings[0]


class Fixed:
    """A network that says the same box, in the padded picture's pixels, about every picture."""

    names = ("a", "b")
    end2end = False

    def eval(self):
        return self

    def __call__(self, inputs):
        import torch

        assert tuple(inputs.shape[1:]) == (3, 32, 64)
        said = torch.tensor([19.2, 9.6, 25.6, 12.8, 0.1, 0.9])  # centre, size, scores
        return (said[None, :, None].repeat(len(inputs), 1, 1),)


def test_boxes_are_in_the_pictures_own_pixels(tmp_path):
    environment.start(1)
    Image.new("RGB", (100, 50)).save(tmp_path / "wide.png")
    images = Images(
        file=("wide.png",), id=np.array([1]), size=np.array([[100, 50]]), group=np.array(["g"]), source_id=(1,)
    )
    data = Dataset(root=tmp_path, split="test", categories=(), images=images, defects=Defects.none())
    said, seconds = detecting.detect(
        Fixed(), data, image_size=64, floor=0.1, cap=5, iou=0.7, agnostic_nms=False, device="cpu", batch=2, masks=False
    )
    assert said.box.tolist()[0] == pytest.approx([10, 5, 50, 25], abs=1e-4)
    assert (said.label.tolist(), said.score.tolist()) == ([1], pytest.approx([0.9]))
    assert len(seconds) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mosiac": 0.0}, r"Did you mean 'mosaic'"),
        ({"epochs": 3}, r"Use the setting epochs"),
        ({"lr0": 0.1}, r"Use the setting learning_rate"),
        ({"fraction": 0.5}, r"all training images are seen"),
        ({"cache": "disk"}, r"beside the user's pictures"),
        ({"task": "pose"}, r"detect \| segment"),
        ({"mosaic": "much"}, r"mosaic"),
        ({"optimizer": "auto"}, r"ignores learning_rate"),
        ({"mosiac": 0.0, "imgsz": 3}, r"(?s)mosaic.*image_size"),
    ],
)
def test_a_wrong_option_is_the_users_and_told(wrong, says, tmp_path):
    environment.start(1)
    with pytest.raises(ConfigError, match=says):
        options.arguments(job(options=wrong), task="detect", folder=tmp_path, device="cpu")


def test_settings_become_ultralytics_arguments(tmp_path):
    environment.start(1)
    given = options.arguments(job(options={"mosaic": 0.2}, amp=True), task="detect", folder=tmp_path, device="cuda:1")
    assert (given["imgsz"], given["lr0"], given["mosaic"], given["seed"]) == (SIDE, 0.002, 0.2, 3)
    assert (given["amp"], given["device"], given["plots"], given["deterministic"]) == ("bf16", "1", False, True)
    plain = options.arguments(
        job(options={}, amp=True, learning_rate=None), task="detect", folder=tmp_path, device="cpu"
    )
    assert plain["amp"] is False
    assert "optimizer" not in plain


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs" / "yolo").glob("*.yaml")), ids=str)
def test_shipped_configs_are_what_ultralytics_takes(path, tmp_path):
    environment.start(1)
    chosen = config.read(path)
    assert chosen.framework == "ultralytics"
    assert chosen.name in {chosen.model, f"{chosen.model}_light"}
    assert chosen.settings.weights == ("none" if chosen.name.endswith("_light") else "pretrained")
    task = job(chosen.model, chosen.options, learning_rate=chosen.settings.learning_rate)
    assert options.arguments(task, task="detect", folder=tmp_path, device="cpu")["flipud"] == 0.5


def test_threads_are_the_jobs_and_the_environment_is_left(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("YOLO_CONFIG_DIR", "mine")
    assert environment.start(2) == 2
    import torch

    assert torch.get_num_threads() == 2
    assert environment.start(0) == 1
    assert torch.get_num_threads() == 1
    assert os.environ["YOLO_CONFIG_DIR"] == "mine"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert environment.start(0) == len(os.sched_getaffinity(0))
    assert "OMP_NUM_THREADS" not in os.environ
    environment.start(1)


def test_a_model_or_device_that_is_not_there(tmp_path):
    data = scene(tmp_path, masks=False)
    for task, error in (
        (job("yolo99n"), Unsupported),
        (job(device="cuda:99"), ConfigError),
        (job(device="mps"), Unsupported),
        (job(options={"task": "segment"}), Unsupported),
    ):
        with pytest.raises(error):
            backend.train(task, train=data, val=data, out=tmp_path, watch=Watching())


def test_pretrained_weights_that_cannot_be_had(tmp_path, monkeypatch):
    environment.start(1)
    import torch

    asked = []

    def refuse(url, dst, **_):
        asked.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    net = network.build("yolo26n", "detect", ["a"])
    with pytest.raises(FrameworkMissing, match=r"yolo26n\.pt.*no network.*weights=none"):
        weights.initialize(net, "pretrained", "yolo26n")
    assert len(asked) == 1
    with pytest.raises(ConfigError, match="nowhere"):
        weights.initialize(net, str(tmp_path / "nowhere.pt"), "yolo26n")


def test_weights_of_eighty_classes_fit_a_detector_of_two(tmp_path, monkeypatch):
    environment.start(1)
    import torch

    monkeypatch.chdir(tmp_path)
    donor = network.build("yolo11n", "detect", [str(number) for number in range(80)])
    torch.save({"model": donor, "train_args": {}}, tmp_path / "yolo11n.pt")  # as ultralytics ships them
    net = network.build("yolo11n", "detect", ["scratch", "pit"])
    said = weights.initialize(net, "pretrained", "yolo11n")
    assert said.startswith("yolo11n.pt sha256:")
    stem = "model.0.conv.weight"
    assert torch.equal(net.state_dict()[stem], donor.state_dict()[stem])
    saved = network.Saved(model="yolo11n", task="detect", names=["scratch", "pit"], image_size=96)
    network.save(tmp_path / "checkpoint.pt", net, saved)
    again, what = network.load(tmp_path / "checkpoint.pt")
    assert what == saved
    assert again.names == {0: "scratch", 1: "pit"}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())


def test_weights_of_ours_and_of_others(boxed, tmp_path, monkeypatch):
    environment.start(1)
    import torch

    monkeypatch.chdir(tmp_path)
    net = network.build("yolo11n", "detect", ["square", "disc"])
    assert weights.initialize(net, str(boxed.checkpoint), "yolo11n").startswith("checkpoint.pt sha256:")
    (tmp_path / "other.pt").write_bytes(b"no weights")
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    torch.save({"model": None}, tmp_path / "none.pt")
    for name in ("other", "evil", "none"):
        with pytest.raises(ConfigError, match=f"{name}.pt"):
            weights.initialize(net, str(tmp_path / f"{name}.pt"), "yolo11n")
    assert not (tmp_path / "evil").exists()
    with pytest.raises(ConfigError, match="arrays fit"):
        weights.initialize(network.build("yolo26s", "detect", ["a"]), str(boxed.checkpoint), "yolo26s")


def test_the_parts_are_importable_without_the_framework():
    assert training.__name__.endswith("_ultralytics.training")
    assert set(backend.models) >= {"yolo11n", "yolo11s", "yolo11m", "yolo26n", "yolo26s", "yolo26m", "yolov8n"}
    assert all(model.masks and model.pretrained for model in backend.models.values())


@pytest.mark.framework
def test_pictures_are_opened_by_pillow_alone_after_ultralytics_came():
    environment.start(1)

    assert Image.open.__module__ == "PIL.Image"
