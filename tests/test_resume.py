"""Trainings that are killed go on where they were: the same weights, the same choice of checkpoint, and it is said."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from defect_detect import installed, job, resuming, runner
from defect_detect.backends import load
from defect_detect.data.hashed import Writer
from defect_detect.errors import ConfigError, RunFailed, WorkerDied
from defect_detect.geometry import from_mask
from defect_detect.tables import Category, Dataset, Defects, Images
from defect_detect.watching import Watching

When = Callable[[str, int, int], bool]
SIDE = 96
PICTURES = 12
SSD = {"model": {"fine": True, "width": 0.35}}
MASK_RCNN = {
    "model": {
        "layers": [1, 2, 3], "fpn_channels": 16, "box_head": 32, "mask_layers": [16], "anchor_sizes": [8, 16, 32, 64],
        "rpn_pre_nms_top_n_train": 100, "rpn_post_nms_top_n_train": 50, "rpn_pre_nms_top_n_test": 100,
        "rpn_post_nms_top_n_test": 30, "box_batch_size_per_image": 32,
    }
}  # fmt: skip


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


class Watched(Watching):
    """The worker's watch, killed by `when` at a moment of its choosing: it hears (what, epoch, batch)."""

    def __init__(self, out: Path, when: When = lambda *_: False) -> None:
        super().__init__(io.BytesIO(), out)
        self.when = when

    def batch(self, done: int, of: int, loss: float | None = None) -> None:
        super().batch(done, of, loss)
        self.maybe("batch", done)

    def keep(self, state: Writer, best: Writer | None) -> Path:
        self.maybe("judged", 0)
        kept = super().keep(state, best)
        self.maybe("kept", 0)
        return kept

    def maybe(self, what: str, batch: int) -> None:
        epoch = len(self.judged) + (what == "batch")
        if self.when(what, epoch, batch):
            raise Killed

    def told(self) -> list[job.Progress]:
        assert isinstance(self.wire, io.BytesIO)
        return [msgspec.json.decode(line, type=job.Progress) for line in self.wire.getvalue().splitlines()]


def pictures(root: Path, split: str, *, count: int = PICTURES) -> Dataset:
    """Grey noise; two of three pictures hold a bright square."""
    rng = np.random.default_rng(len(split))
    files, images, boxes, regions = [], [], [], []
    for image in range(count):
        grey = rng.normal(128, 8, (SIDE, SIDE))
        if image % 3:
            x, y, side = (int(number) for number in rng.integers(6, 30, 3))
            mask = np.zeros((SIDE, SIDE), bool)
            mask[y : y + side, x : x + side] = True
            grey[mask] += 90
            images.append(image)
            boxes.append((x, y, x + side, y + side))
            regions.append(from_mask(mask))
        files.append(f"{split}{image}.png")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(root / files[-1])
    none, number = np.zeros(len(boxes), bool), np.arange(1, count + 1)
    return Dataset(
        root=root, split=split, categories=(Category(id=1, name="square", source_id=1),),
        images=Images(file=tuple(files), id=number, size=np.full((count, 2), SIDE), group=np.array(files),
                      source_id=tuple(number.tolist())),
        defects=Defects(image=np.array(images), label=np.zeros(len(boxes), np.int64), box=np.array(boxes, float),
                        area=np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes], float), crowd=none,
                        ignore=none.copy(), region=tuple(regions), id=np.arange(1, len(boxes) + 1),
                        source_id=tuple(range(len(boxes)))),
    )  # fmt: skip


TRAININGS = {
    "ssdlite": ("torchvision", "ssdlite320_mobilenet_v3", SSD, {}),
    "mask_rcnn": ("torchvision", "mask_rcnn_r18_fpn", MASK_RCNN, {}),
    # Gradients wait over the end of an epoch (nbs); mosaics are drawn from a buffer, and closed before the last epochs.
    "yolo26": ("ultralytics", "yolo26n", {"nbs": 10, "close_mosaic": 2}, {}),
    "yolo11": ("ultralytics", "yolo11n", {"nbs": 11, "close_mosaic": 2, "mixup": 0.3, "optimizer": "SGD",
                                          "warmup_epochs": 0.5, "task": "detect"}, {"batch": 5}),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    root = tmp_path_factory.mktemp("pictures")
    return pictures(root, "train"), pictures(root, "val", count=4)


def asked(kind: str, *, options: dict[str, Any] | None = None, **settings: Any) -> job.TrainJob:
    framework, model, own, changed = TRAININGS[kind]
    chosen = {
        "epochs": 4, "image_size": SIDE, "batch": 4, "weights": "none", "device": "cpu", "threads": 1,
        "learning_rate": 0.002, **changed, **settings,
    }  # fmt: skip
    return job.TrainJob(
        detector=kind, framework=framework, model=model, dataset="", seed=5, settings=job.Settings(**chosen),
        options=own | (options or {}),
    )  # fmt: skip


def train(
    wanted: job.TrainJob, data: tuple[Dataset, Dataset], out: Path, when: When = lambda *_: False,
    versions: dict[str, str] | None = None,
) -> tuple[Watched, job.TrainOutcome | None]:  # fmt: skip
    """Train in `out` as the worker does; the outcome is None when it was killed."""
    out.mkdir(exist_ok=True)
    random.seed()  # another process has another state of chance
    np.random.seed()  # noqa: NPY002  ultralytics draws from this one
    watch = Watched(out, when)
    fingerprints = {part.split: part.fingerprint for part in data}
    watch.watch(wanted, data[1], resuming.identity(wanted, fingerprints, versions or {"torch": "1"}))
    try:
        return watch, load(wanted.framework).train(
            wanted, train=data[0], val=data[1].without_truth(), out=out, watch=watch
        )
    except Killed:
        return watch, None


def state_of(path: Path) -> dict[str, Any]:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)["state"]


def equal(one: Path, other: Path) -> bool:
    a, b = state_of(one), state_of(other)
    return a.keys() == b.keys() and all(bool(a[name].equal(b[name])) for name in a)


def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kind: str, data: Any) -> Any:
    if TRAININGS[kind][0] == "ultralytics":
        request.getfixturevalue("ultralytics")
    pytest.importorskip(TRAININGS[kind][0])
    out = tmp_path_factory.mktemp(kind)
    watch, outcome = train(asked(kind), data, out)
    assert outcome is not None
    return kind, out, watch, outcome


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory, data):
    """Trainings that nothing disturbed, by kind, each made when it is first asked for."""
    done: dict[str, Any] = {}

    def one(kind: str) -> Any:
        if kind not in done:
            done[kind] = undisturbed(request, tmp_path_factory, kind, data)
        return done[kind]

    return one


@pytest.fixture(scope="module")
def small(whole):
    """The quickest of them."""
    return whole("ssdlite")


KILLS: dict[str, When] = {
    "in a batch": lambda what, epoch, batch: (what, epoch, batch) == ("batch", 3, 1),
    "between judging and keeping": lambda what, epoch, _: (what, epoch) == ("judged", 2),
    "after an epoch was kept": lambda what, epoch, _: (what, epoch) == ("kept", 3),
    "after the last": lambda what, epoch, _: (what, epoch) == ("kept", 4),
}
GOES_ON = {"in a batch": [2], "between judging and keeping": [1], "after an epoch was kept": [3], "after the last": [4]}

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.mark.parametrize(("kind", "moment"), [
    ("ssdlite", "between judging and keeping"), ("ssdlite", "after the last"), ("mask_rcnn", "in a batch"),
    ("yolo26", "in a batch"), ("yolo11", "after an epoch was kept"),
])  # fmt: skip
def test_a_killed_training_ends_as_if_it_had_not_been(whole, data, tmp_path, kind, moment):
    _, undisturbed, watched, expected = whole(kind)
    _, nothing = train(asked(kind), data, tmp_path / "run", KILLS[moment])
    assert nothing is None
    watch, outcome = train(asked(kind), data, tmp_path / "run")
    assert watch.resumed == GOES_ON[moment]
    assert outcome == expected
    assert [epoch.epoch for epoch in watch.judged] == [1, 2, 3, 4]
    same = [(epoch.loss, epoch.score, epoch.fn_rate) for epoch in watch.judged]
    assert same == [(epoch.loss, epoch.score, epoch.fn_rate) for epoch in watched.judged]
    assert equal(tmp_path / "run" / outcome.checkpoint, undisturbed / expected.checkpoint)


def test_a_training_killed_twice_says_both(small, data, tmp_path):
    _, undisturbed, _, expected = small
    for when in (KILLS["between judging and keeping"], KILLS["in a batch"]):
        assert train(asked("ssdlite"), data, tmp_path / "run", when)[1] is None
    watch, outcome = train(asked("ssdlite"), data, tmp_path / "run")
    assert watch.resumed == [1, 2]
    assert equal(tmp_path / "run" / outcome.checkpoint, undisturbed / expected.checkpoint)
    told = watch.told()
    assert [(line.stage, line.epoch) for line in told][:2] == [("resume", 2), ("train", 3)]
    assert told[0].note == "goes on after epoch 2"
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]


def test_patience_is_counted_on(data, tmp_path):
    """Whatever the scores are, the training that was killed stops at the epoch at which the other one does."""
    wanted = asked("ssdlite", epochs=9, patience=1, learning_rate=1e-9)
    watch, outcome = train(wanted, data, tmp_path / "whole")
    assert outcome is not None
    assert watch.history().stopped_early
    last = len(watch.judged)
    assert last < 9
    train(wanted, data, tmp_path / "run", lambda what, epoch, _: (what, epoch) == ("kept", last - 1))
    again, _ = train(wanted, data, tmp_path / "run")
    assert again.history() == watch.history()
    train(wanted, data, tmp_path / "late", lambda what, epoch, _: (what, epoch) == ("kept", last))
    late, _ = train(wanted, data, tmp_path / "late")
    assert late.history() == watch.history()
    assert not [line for line in late.told() if line.stage == "train"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, empty, turn_a_bit, Path.unlink])
@pytest.mark.parametrize("file", ["state-3", "after-3"])
def test_a_damaged_state_gives_way_to_the_one_before(half_done, data, tmp_path, damage, file):
    run = shutil.copytree(half_done, tmp_path / "run")
    damage(run / "resume" / file)
    (run / "resume" / ".state-4.abc.part").write_bytes(b"half")  # as a kill while writing leaves it
    said: list[str] = []
    wanted = asked("ssdlite")
    of = resuming.identity(wanted, {part.split: part.fingerprint for part in data}, {"torch": "1"})
    record = resuming.Keeper(run, of).newest(said.append)
    assert record is not None
    assert record.epoch == 2
    if file != "after-3" or damage is not Path.unlink:  # without its record, a state never was
        assert "the state after epoch 3 can't be used" in said[0]
    assert {path.name for path in (run / "resume").iterdir()} == {"state-2", "after-2", f"best-{record.best}"}


@pytest.fixture(scope="module")
def half_done(small, data, tmp_path_factory):
    """The run folder of a training that was killed after its third epoch."""
    run = tmp_path_factory.mktemp("half") / "run"
    train(asked("ssdlite"), data, run, KILLS["after an epoch was kept"])
    assert {path.name.partition("-")[0] for path in (run / "resume").iterdir()} == {"state", "best", "after"}
    return run


def test_from_the_state_before_it_ends_as_if_it_had_not_been(small, half_done, data, tmp_path, capsys):
    _, undisturbed, _, expected = small
    run = shutil.copytree(half_done, tmp_path / "run")
    turn_a_bit(run / "resume" / "state-3")
    watch, outcome = train(asked("ssdlite"), data, run)
    assert watch.resumed == [2]
    assert equal(run / outcome.checkpoint, undisturbed / expected.checkpoint)
    assert "after epoch 3 can't be used" in capsys.readouterr().out


def test_with_both_states_damaged_it_begins_anew_and_says_so(small, half_done, data, tmp_path, capsys):
    _, undisturbed, _, expected = small
    run = shutil.copytree(half_done, tmp_path / "run")
    for path in (run / "resume").glob("state-*"):
        turn_a_bit(path)
    watch, outcome = train(asked("ssdlite"), data, run)
    assert watch.resumed == []
    assert equal(run / outcome.checkpoint, undisturbed / expected.checkpoint)
    said = capsys.readouterr().out
    assert "after epoch 3 can't be used" in said
    assert "after epoch 2 can't be used" in said


def keeping(run: Path, scores: list[float], contents: list[bytes]) -> resuming.Keeper:
    """A keeper that has kept an epoch of each score."""
    keeper = resuming.Keeper(run, {"what": "this"})
    for number in range(1, len(scores) + 1):
        keep(keeper, scores[:number], contents[number - 1])
    return keeper


def keep(keeper: resuming.Keeper, scores: list[float], content: bytes) -> None:
    judged = [job.Judged(epoch=k, loss=1, score=score, fn_rate=0, seconds=0) for k, score in enumerate(scores, 1)]
    best = scores[-1] > max(scores[:-1], default=-1)
    writer = (lambda file: file.write(b"best " + content)) if best else None
    keeper.keep(lambda file: file.write(b"state " + content), writer, judged=judged, stop=False, resumed=[])


def test_the_checkpoint_is_that_of_the_epochs_that_count(tmp_path, monkeypatch):
    """A kill at each file of an epoch that was better, and whose second try (on a GPU, say) is worse."""
    for step in range(3):
        run = tmp_path / str(step)
        run.mkdir()
        keeper = keeping(run, [0.2, 0.3, 0.1], [b"1", b"2", b"3"])
        calls = []

        def killed(*arguments: Any, real: Any, step: int = step, calls: list[int] = calls) -> Any:
            calls.append(1)
            if len(calls) == step + 1:
                raise Killed
            return real(*arguments)

        with monkeypatch.context() as patch:
            for name in ("_write", "atomic_write"):
                patch.setattr(resuming, name, functools.partial(killed, real=getattr(resuming, name)))
            with pytest.raises(Killed):
                keep(keeper, [0.2, 0.3, 0.1, 0.9], b"4")
        again = resuming.Keeper(run, {"what": "this"})
        record = again.newest(pytest.fail)
        assert (record.epoch, record.best) == (3, 2)
        keep(again, [0.2, 0.3, 0.1, 0.15], b"other")
        again.deliver(run / "checkpoint")
        assert (run / "checkpoint").read_bytes() == b"best 2"
        assert {p.name for p in (run / "resume").iterdir()} == {"state-3", "after-3", "state-4", "after-4", "best-2"}


def test_a_damaged_best_checkpoint_is_never_delivered(tmp_path):
    keeper = keeping(tmp_path, [0.2, 0.1, 0.3], [b"1", b"2", b"3"])
    turn_a_bit(tmp_path / "resume" / "best-3")
    with pytest.raises(RunFailed, match="best-3 is damaged"):
        keeper.deliver(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
    said: list[str] = []
    assert resuming.Keeper(tmp_path, {"what": "this"}).newest(said.append).epoch == 2
    assert "best-3 is damaged" in said[0]


def test_no_room_for_a_state_is_said_and_leaves_the_one_before(tmp_path):
    import torch

    keeper = keeping(tmp_path, [0.2], [b"1"])

    def full(file: Any) -> None:
        file.file = SimpleNamespace(write=no_room)
        torch.save(torch.zeros(100_000), file)

    def no_room(_data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    judged = [job.Judged(epoch=k, loss=1, score=0.2, fn_rate=0, seconds=0) for k in (1, 2)]
    with pytest.raises(RunFailed, match=r"after epoch 2 .*No space left.*run the same command again"):
        keeper.keep(full, None, judged=judged, stop=False, resumed=[])
    assert {path.name for path in (tmp_path / "resume").iterdir()} == {"state-1", "after-1", "best-1"}
    assert resuming.Keeper(tmp_path, {"what": "this"}).newest(pytest.fail).epoch == 1


def test_a_state_of_something_else_is_set_aside_and_the_differences_are_listed(half_done, data, tmp_path, capsys):
    run = shutil.copytree(half_done, tmp_path / "run")
    wanted = asked("ssdlite", epochs=1, batch=6)
    watch, _ = train(wanted, data, run, versions={"torch": "2"})
    assert watch.resumed == []
    (aside,) = run.glob("resume.replaced-*")
    assert (aside / "state-2").exists()
    said = capsys.readouterr().out
    for difference in ("settings.epochs was 4, is 1", "settings.batch was 4, is 6", "version of torch was 1, is 2"):
        assert difference in said
    assert [line.note for line in watch.told() if "begins anew" in line.note]


def test_a_state_from_before_a_setting_was_added_had_its_default(tmp_path):
    def kept(folder: Path, settings: job.Settings, *, without: str) -> resuming.Record | None:
        wanted = msgspec.structs.replace(asked("ssdlite", epochs=1), settings=settings)
        of = resuming.identity(wanted, {"train": "1"}, {"torch": "1"})
        before = {name: value for name, value in of.items() if name != f"settings.{without}"}
        judged = [job.Judged(epoch=1, loss=1, score=0.1, fn_rate=0, seconds=0)]
        folder.mkdir()
        resuming.Keeper(folder, before).keep(
            lambda file: file.write(b"1"), lambda file: file.write(b"1"), judged=judged, stop=False, resumed=[]
        )
        return resuming.Keeper(folder, of).newest(lambda _: None)

    assert kept(tmp_path / "default", job.Settings(), without="trust_config").epoch == 1
    assert kept(tmp_path / "other", job.Settings(trust_config="1" * 64), without="trust_config") is None


def test_states_are_loaded_without_running_code(half_done, data, tmp_path):
    import torch

    run = shutil.copytree(half_done, tmp_path / "run")

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "evil",))

    keeper = resuming.Keeper(run, {})
    newest = max(keeper._records(), key=lambda record: record.epoch)
    digest = resuming._write(keeper.state(newest), lambda file: torch.save({"format": Evil()}, file))
    record = msgspec.structs.replace(newest, state=digest, sha256="")
    record = msgspec.structs.replace(record, sha256=resuming._digest(record))
    (run / "resume" / f"after-{record.epoch}").write_bytes(job.encode(record))
    with pytest.raises(RunFailed, match="can't be read"):
        train(asked("ssdlite"), data, run)
    assert not (tmp_path / "evil").exists()


def out_of_memory(monkeypatch: pytest.MonkeyPatch, kind: str, *, above: int, error: Exception) -> list[int]:
    """From now on the network finds no memory for more than `above` training images at once; how many it was shown."""
    shown: list[int] = []

    def room(count: int) -> None:
        shown.append(count)
        if count > above:
            raise error

    if TRAININGS[kind][0] == "torchvision":
        from torchvision.models.detection import ssd

        real = ssd.SSD.forward

        def forward(self: Any, images: Any, targets: Any = None) -> Any:
            if self.training:
                room(len(images))
            return real(self, images, targets)

        monkeypatch.setattr(ssd.SSD, "forward", forward)
    else:
        from ultralytics.nn.tasks import DetectionModel

        real_loss = DetectionModel.loss

        def loss(self: Any, batch: Any, preds: Any = None) -> Any:
            room(len(batch["img"]))
            return real_loss(self, batch, preds)

        monkeypatch.setattr(DetectionModel, "loss", loss)
    return shown


@pytest.mark.parametrize("kind", ["ssdlite", "yolo11"])
def test_out_of_memory_fails_with_what_to_do(kind, data, tmp_path, monkeypatch, request):
    import torch

    if kind == "yolo11":
        request.getfixturevalue("ultralytics")
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    out_of_memory(monkeypatch, kind, above=2, error=error)
    with pytest.raises(RunFailed, match=r"(?s)epoch 1, batch 1 .*--set batch=2.*on_out_of_memory=halve"):
        train(asked(kind), data, tmp_path / "run")


@pytest.mark.parametrize("kind", ["ssdlite", "yolo11"])
def test_out_of_memory_halves_what_is_seen_at_once_where_allowed(kind, data, tmp_path, monkeypatch, request):
    import torch

    if kind == "yolo11":
        request.getfixturevalue("ultralytics")
    full = MemoryError() if kind == "ssdlite" else torch.OutOfMemoryError("CUDA out of memory")
    shown = out_of_memory(monkeypatch, kind, above=2, error=full)
    wanted = asked(kind, epochs=2, on_out_of_memory="halve")
    run = tmp_path / "run"
    _, nothing = train(wanted, data, run, lambda what, epoch, _: (what, epoch) == ("kept", 1))
    assert nothing is None
    batch = wanted.settings.batch
    watch, outcome = train(wanted, data, run)
    assert outcome.halved == [job.Halved(epoch=1, step=1, batch=batch // 2)]
    assert outcome.images_seen == PICTURES
    assert max(shown) == batch
    assert shown.count(batch) == 1, "the second try knows of it"
    assert watch.resumed == [1]
    assert len(watch.judged) == 2


def test_halved_steps_are_those_of_the_whole_batch():
    """Gradients of the parts, weighed by their images, are the gradient of the batch where the loss is a mean."""
    import torch

    from defect_detect.backends import _progress
    from defect_detect.backends._torchvision import steps

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, images: Any, _targets: Any) -> dict[str, Any]:
            seen.append(len(images))
            return {"loss": torch.stack([((image * self.weight).sum() - 1) ** 2 for image in images]).mean()}

    batch = [(row, torch.randn(3, generator=torch.Generator().manual_seed(row)), {}) for row in range(7)]
    results = []
    for at_once in (7, 3):
        seen: list[int] = []
        network = Mean()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        now = _progress.Progress(
            format="defect_detect torchvision state 2", network=network,
            optimizer=optimizer, rate=None, scaler=torch.amp.GradScaler(enabled=False),
            device=torch.device("cpu"), initial="none", at_once=at_once,
        )  # fmt: skip
        loss = steps.step(now, batch, clip=1e9, least=2)
        results.append((loss, network.weight.detach().clone()))
        assert sum(seen) == 7
        assert max(seen) <= at_once
        assert min(seen) >= 2
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize(("settings", "options"), [({"batch": 16}, {"nbs": 64}), ({"batch": 12}, {"nbs": 4}),
                                                   ({"batch": 48}, {})])  # fmt: skip
@pytest.mark.usefixtures("ultralytics")
def test_ultralytics_steps_as_often_and_decays_as_much_when_halved(settings, options, tmp_path):
    from defect_detect.backends._ultralytics.options import arguments

    def effect(at_once: int) -> tuple[int, float]:
        from ultralytics.utils import DEFAULT_CFG_DICT

        wanted = asked("yolo11", options=options, **settings)
        chosen = arguments(wanted, task="detect", folder=tmp_path, device="cpu", at_once=at_once)
        known = {**DEFAULT_CFG_DICT, **chosen}
        together = max(round(known["nbs"] / known["batch"]), 1)  # as its `_build_train_pipeline` has it
        return known["batch"] * together, known["weight_decay"] * known["batch"] * together / known["nbs"]

    batch = settings["batch"]
    assert effect(batch // 2) == pytest.approx(effect(batch))
    assert effect(batch // 4) == pytest.approx(effect(batch))


@pytest.mark.parametrize("kind", ["ssdlite", "yolo11"])
def test_a_loss_that_is_not_finite_stops_within_the_step_and_what_was_kept_stays(
    kind, data, tmp_path, monkeypatch, request
):
    import torch

    if kind == "yolo11":
        request.getfixturevalue("ultralytics")
    run = tmp_path / "run"
    train(asked(kind), data, run, lambda what, epoch, _: (what, epoch) == ("kept", 1))
    before = {path.name: path.read_bytes() for path in (run / "resume").iterdir()}
    steps: list[int] = []
    optimizer = torch.optim.SGD if TRAININGS[kind][0] == "ultralytics" else torch.optim.AdamW
    real_step = optimizer.step
    monkeypatch.setattr(optimizer, "step", lambda self, *args: steps.append(1) or real_step(self, *args))
    shown = out_of_memory(monkeypatch, kind, above=10**6, error=MemoryError())
    where = (
        "torchvision.models.detection.ssd.SSD.forward"
        if kind == "ssdlite"
        else "ultralytics.nn.tasks.DetectionModel.loss"
    )
    owner, name = where.rsplit(".", 1)
    module, cls = owner.rsplit(".", 1)
    owner_class = getattr(__import__(module, fromlist=[cls]), cls)
    real = getattr(owner_class, name)

    def poisoned(self: Any, *arguments: Any, **named: Any) -> Any:
        said = real(self, *arguments, **named)
        if len(shown) != 2 or (kind == "ssdlite" and not self.training):
            return said
        if kind == "ssdlite":
            return {key: value * float("nan") for key, value in said.items()}
        return said[0] * float("inf"), said[1]

    monkeypatch.setattr(owner_class, name, poisoned)
    with pytest.raises(RunFailed, match=r"epoch 2, batch 2 of 3 \((train\d+\.png(, )?)+\).*lower"):
        train(asked(kind), data, run)
    assert len(steps) <= 1, "no step was taken on it"
    assert {path.name: path.read_bytes() for path in (run / "resume").iterdir()} == before


def test_progress_goes_on_at_the_right_epoch(half_done, data, tmp_path):
    from rich.console import Console

    from defect_detect.report import progress

    run = shutil.copytree(half_done, tmp_path / "run")
    watch, _ = train(asked("ssdlite"), data, run)
    for terminal in (False, True):
        shown = Console(file=io.StringIO(), width=300, force_terminal=terminal)
        with progress.board(shown) as board:
            report = board("train ssdlite")
            for line in watch.told():
                report(line)
        text = shown.file.getvalue()
        assert "train ssdlite: goes on after epoch 3" in text
        assert "epoch 4/4" in text
        assert "epoch 1/4" not in text


def test_reports_say_that_a_training_was_resumed_or_halved():
    from defect_detect.evaluation.measured import measured
    from defect_detect.report import wording
    from tests.test_compare import manifest

    halved = job.Halved(epoch=2, step=5, batch=8)
    entries = [manifest("a"), manifest("a", resumed=[2, 7], halved=[halved])]
    contender = SimpleNamespace(runs=[SimpleNamespace(manifest=entry) for entry in entries])
    told = measured(contender)
    assert told["resumed"] == [[], ["after epoch 2", "after epoch 7"]]
    assert told["halved"] == [[], ["8 images at once from epoch 2, batch 5"]]
    plain = measured(SimpleNamespace(runs=contender.runs[:1]))
    assert not {"resumed", "halved"} & plain.keys()
    point = SimpleNamespace(status="ok", censored=False)
    flags = wording.flags(SimpleNamespace(under_trained=False, measured=told, operating_point=point))
    assert flags == ["training resumed after a kill", "fewer images at once: memory ran out"]


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["ssdlite", "yolo11"])
def test_weights_with_code_are_refused_with_the_reason_unless_trusted_by_their_hash(kind, data, tmp_path, request):
    import torch

    if kind == "yolo11":
        request.getfixturevalue("ultralytics")
    path, mark = tmp_path / "weights.pt", tmp_path / "ran"
    torch.save({"model": Code(mark)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for number, trust in enumerate(("", "0" * 64)):
        wanted = asked(kind, weights=str(path), trust_checkpoint=trust)
        with pytest.raises(ConfigError, match=rf"run any code.*pathlib\.Path.*--trust-checkpoint {digest}"):
            train(wanted, data, tmp_path / f"run{number}")
    assert not mark.exists()
    with pytest.raises(ConfigError):  # it is loaded, and holds no weights
        train(asked(kind, weights=str(path), trust_checkpoint=digest), data, tmp_path / "trusted")
    assert mark.exists()


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.02)


@pytest.mark.parametrize(("kind", "signum", "says"), [("ssdlite", signal.SIGKILL, "SIGKILL"),
                                                      ("yolo11", signal.SIGINT, "exit code 130")])  # fmt: skip
def test_a_real_worker_goes_on_after_a_signal(kind, signum, says, tiny, tmp_path):
    """Through the runner, in processes of their own: killed after the first epoch, run again, predicted with."""
    if installed.missing(TRAININGS[kind][0]):
        pytest.skip("the framework is not installed")
    run = tmp_path / "run"
    wanted = msgspec.structs.replace(asked(kind, epochs=3, batch=8), dataset=os.path.relpath(tiny, run))
    kept = run / "resume" / "after-1"
    heard: list[job.Progress] = []

    def hear(line: job.Progress) -> None:
        heard.append(line)
        if kept.exists() and line.stage == "train":
            (worker,) = workers(run)
            os.kill(worker, signum)
            until(lambda: not alive(worker))

    with pytest.raises(WorkerDied, match=says):
        runner.execute(run, wanted, framework=wanted.framework, report=hear)
    assert {path.name.partition("-")[0] for path in (run / "resume").iterdir()} >= {"state", "best", "after"}
    heard.clear()
    trained = runner.execute(run, wanted, framework=wanted.framework, report=heard.append)
    assert trained.resumed == [heard[1].epoch]
    assert heard[1].stage == "resume"
    assert {line.epoch for line in heard if line.stage == "validate"} == {2, 3} - {*range(trained.resumed[0] + 1)}
    assert trained.history.epochs == 3
    left = {path.name for path in run.iterdir()}
    assert left == {"job.json", "result.json", "log.txt", "metrics.csv", "checkpoint.pt"}
    assert runner.finished(run, wanted) == trained
    if kind == "ssdlite":
        whole = runner.execute(tmp_path / "whole", wanted, framework=wanted.framework)
        assert equal(run / "checkpoint.pt", tmp_path / "whole" / "checkpoint.pt")
        said = tmp_path / "said"
        ask = job.PredictJob(trained=os.path.relpath(run, said), dataset=os.path.relpath(tiny, said), split="val")
        runner.execute(said, ask, framework=wanted.framework)
        assert msgspec.json.decode((said / "manifest.json").read_bytes(), type=job.Manifest).resumed == trained.resumed
        assert whole.resumed == []


def workers(run: Path) -> list[int]:
    """The processes that were started for a run folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(run).encode() in place.read_bytes().split(b"\0"):
                found.append(int(place.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_predicting_halves_where_allowed_and_says_what_to_do_where_not():
    from defect_detect.backends._memory import predicting

    def work(at_once: int) -> str:
        if at_once > 2:
            raise MemoryError
        return f"said on {at_once}"

    said, record = predicting(job.Settings(on_out_of_memory="halve"), 8, work)
    assert said == "said on 2"
    assert [one.batch for one in record] == [4, 2]
    with pytest.raises(RunFailed, match=r"predicting on 8 pictures.*on_out_of_memory: halve"):
        predicting(job.Settings(), 8, work)
    with pytest.raises(RunFailed, match="predicting on 1 pictures"):
        predicting(job.Settings(on_out_of_memory="halve"), 1, lambda _: work(3))
    with pytest.raises(RuntimeError, match="other"):
        predicting(job.Settings(on_out_of_memory="halve"), 8, lambda _: (_ for _ in ()).throw(RuntimeError("other")))
