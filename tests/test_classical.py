"""The thresholding baseline keeps the backends' contract, and finds more than chance."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from defect_detect import backends, config, geometry
from defect_detect.backends import classical
from defect_detect.data import demo
from defect_detect.errors import ConfigError, RunFailed, Unsupported
from defect_detect.job import Epoch, Settings, TrainJob
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions, Rle

ROOT = Path(__file__).parents[1]


class Judge:
    """A watch that takes the epochs' scores from a list and notes what it was told."""

    def __init__(self, scores=(0.5,), patience=99):
        self.scores, self.patience = scores, patience
        self.batches, self.epochs, self.losses = [], [], []
        self.best, self.since = -1.0, 0

    def batch(self, done, of, loss=None):  # noqa: ARG002 - the protocol's argument
        self.batches.append((done, of))

    def epoch(self, number, loss, validation):
        assert isinstance(validation, Predictions)
        self.epochs.append(number)
        self.losses.append(loss)
        score = self.scores[min(number, len(self.scores)) - 1]
        better = score > self.best
        self.best, self.since = max(score, self.best), 0 if better else self.since + 1
        return Epoch(score=score, best=better, stop=self.since >= self.patience)


def load(root: Path) -> Dataset:
    export = json.loads((root / "annotations.json").read_text())
    rows, marks = export["images"], export["annotations"]
    box = np.array([mark["bbox"] for mark in marks], float).reshape(-1, 4)
    box[:, 2:] += box[:, :2]
    no = np.zeros(len(marks), np.bool_)
    return Dataset(
        root=root / "images",
        split="train",
        categories=tuple(Category(id=c["id"], name=c["name"], source_id=c["id"]) for c in export["categories"]),
        images=Images(
            file=tuple(row["file_name"] for row in rows),
            id=np.arange(1, len(rows) + 1),
            size=np.array([[row["width"], row["height"]] for row in rows]),
            group=np.array([row["group"] for row in rows]),
            source_id=tuple(row["id"] for row in rows),
        ),
        defects=Defects(
            image=np.array([mark["image_id"] - 1 for mark in marks]),
            label=np.array([mark["category_id"] - 1 for mark in marks]),
            box=box,
            area=np.array([mark["area"] for mark in marks], float),
            crowd=no,
            ignore=no.copy(),
            region=tuple(
                Rle(height=h, width=w, counts=mark["segmentation"]["counts"].encode())
                for mark in marks
                for h, w in [mark["segmentation"]["size"]]
            ),
            id=np.arange(1, len(marks) + 1),
            source_id=tuple(mark["id"] for mark in marks),
        ),
    )


def part(whole: Dataset, start: int, stop: int) -> Dataset:
    inside = (whole.defects.image >= start) & (whole.defects.image < stop)
    defects = whole.defects.take(inside)
    return dataclasses.replace(
        whole,
        images=whole.images.take(np.arange(start, stop)),
        defects=dataclasses.replace(defects, image=defects.image - start),
    )


def boxes_only(data: Dataset) -> Dataset:
    return dataclasses.replace(data, defects=dataclasses.replace(data.defects, region=None))


def recall_at(truth: Dataset, said: Predictions, false_alarms_per_image: float) -> float:
    """Share of defects found, right label and IoU >= 0.5, at the most false alarms that the budget allows."""
    taken = np.zeros(len(truth.defects), np.bool_)
    alarms = found = best = 0
    for row in np.argsort(-said.score, kind="stable"):
        near = np.flatnonzero(
            (truth.defects.image == said.image[row]) & (truth.defects.label == said.label[row]) & ~taken
        )
        overlap = geometry.iou(said.box[[row]], truth.defects.box[near])[0]
        if len(near) and overlap.max() >= 0.5:
            taken[near[overlap.argmax()]] = True
            found += 1
        else:
            alarms += 1
        if alarms <= false_alarms_per_image * len(truth.images):
            best = found
    return best / len(truth.defects)


def job(*, options=None, seed=0, **settings) -> TrainJob:
    values = {"epochs": 2, "batch": 8, "weights": "none"} | settings
    return TrainJob(
        detector="classical", framework="classical", model="threshold", dataset="data", seed=seed,
        settings=Settings(**values), options=options or {},
    )  # fmt: skip


def train(task, data, out, watch=None):
    return classical.train(task, train=data, val=data.without_truth(), out=out, watch=watch or Judge())


def predict(task, checkpoint, data, watch=None):
    return classical.predict(task, checkpoint, data.without_truth(), device="cpu", batch=4, watch=watch or Judge())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    demo.generate(out, images=60, size=128, seed=1)
    return load(out)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    outcome = train(job(), part(data, 0, 24), out)
    return outcome, out / outcome.checkpoint


@pytest.fixture(scope="module")
def said(data, trained):
    return predict(job(), trained[1], part(data, 24, 60))[0]


def test_it_is_found_by_its_name_and_its_config_is_valid():
    shipped = config.read(ROOT / "configs" / "baseline" / "classical.yaml")

    assert "classical" in backends.names()
    assert backends.capabilities(shipped.framework, shipped.model).masks
    classical._options(job(options=shipped.options))
    classical._supported(shipped.settings)


def test_importing_it_loads_neither_scipy_nor_pillow():
    heavy = "{'scipy', 'PIL', 'cv2', 'torch'}"
    code = f"import sys, defect_detect.backends.classical; sys.exit(bool({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_picture_is_seen_and_defect_free_ones_are_counted(data, trained):
    few = part(data, 0, 24)
    outcome, _ = trained

    assert (outcome.images_seen, outcome.defect_free_seen) == (24, int(few.defect_free.sum()))
    assert outcome.defect_free_seen > 0
    assert (outcome.masks, outcome.initial_weights, outcome.deterministic) == ("regions", "none", True)


def test_predictions_keep_the_contract(data, said):
    width, height = data.images.size[24:60][said.image].T

    assert len(said) > 0
    assert ((said.score >= 0.001) & (said.score <= 1)).all()
    assert ((said.label >= 0) & (said.label < 4)).all()
    assert (said.box[:, :2] >= 0).all()
    assert (said.box[:, 2] <= width).all()
    assert (said.box[:, 3] <= height).all()
    assert (said.box[:, 2:] > said.box[:, :2]).all()


def test_boxes_are_those_of_the_regions(said):
    around = np.array([geometry.region_box(region) for region in said.region])

    np.testing.assert_allclose(said.box, around)


def test_it_finds_more_than_chance(data, said):
    assert recall_at(part(data, 24, 60), said, 0.5) > 0.1


def test_labels_are_better_than_a_guess(data, said):
    truth = part(data, 24, 60)
    right = total = 0
    for row in range(len(said)):
        near = np.flatnonzero(truth.defects.image == said.image[row])
        overlap = geometry.iou(said.box[[row]], truth.defects.box[near])[0]
        if len(near) and overlap.max() >= 0.5:
            total += 1
            right += said.label[row] == truth.defects.label[near[overlap.argmax()]]

    assert total > 10
    assert right / total > 0.6


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(data, tmp_path):
    few = part(data, 0, 8)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        train(job(seed=seed, epochs=3), few, tmp_path / name, Judge(scores=(0.1, 0.2, 0.3)))
    a, b, c = ((tmp_path / name / "checkpoint.json").read_bytes() for name in "abc")

    assert a == b
    assert a != c


def test_the_best_epoch_is_kept_not_the_last(data, tmp_path):
    few = part(data, 0, 8)
    for name, scores in (("one", (0.5,)), ("best first", (0.5, 0.4, 0.3)), ("best last", (0.3, 0.4, 0.5))):
        (tmp_path / name).mkdir()
        train(job(epochs=len(scores)), few, tmp_path / name, Judge(scores=scores))
    one, first, last = ((tmp_path / n / "checkpoint.json").read_bytes() for n in ("one", "best first", "best last"))

    assert one == first
    assert first != last


def test_it_stops_when_told(data, tmp_path):
    watch = Judge(scores=(0.5, 0.4), patience=2)
    train(job(epochs=9), part(data, 0, 4), tmp_path, watch)

    assert watch.epochs == [1, 2, 3]


def test_progress_is_told_by_batch(data, tmp_path):
    watch = Judge()
    train(job(epochs=2, batch=4), part(data, 0, 10), tmp_path, watch)

    assert watch.batches == [(4, 10), (8, 10), (10, 10)] * 2
    assert all(0 <= loss <= 1 for loss in watch.losses)

    watch = Judge()
    predict(job(), tmp_path / "checkpoint.json", part(data, 0, 10), watch)
    assert watch.batches == [(4, 10), (8, 10), (10, 10)]


def test_the_floor_and_the_cap_hold(data, trained):
    some = part(data, 24, 60)
    loose, _ = predict(job(), trained[1], some)
    tight, _ = predict(job(score_floor=0.6, max_detections=2), trained[1], some)
    kept = [
        row
        for image in range(len(some.images))
        for row in sorted(np.flatnonzero(loose.image == image), key=lambda r: -loose.score[r])[:2]
        if loose.score[row] >= 0.6
    ]

    assert 0 < len(tight) < len(loose)
    np.testing.assert_array_equal(np.sort(tight.score), np.sort(loose.score[kept]))


def test_datasets_with_boxes_only_get_boxes_only(data, tmp_path):
    few = boxes_only(part(data, 0, 12))
    outcome = train(job(), few, tmp_path)
    plain, _ = predict(job(), tmp_path / outcome.checkpoint, few)

    assert outcome.masks == "none"
    assert len(plain) > 0
    assert plain.region is None


def test_large_pictures_are_shrunk_and_boxes_come_back_at_full_size(data, tmp_path):
    few = part(data, 0, 12)
    task = job(image_size=64)
    outcome = train(task, few, tmp_path)
    small, how = predict(task, tmp_path / outcome.checkpoint, few)

    assert "64" in how.input_size
    assert small.box.max() > 64
    around = np.array([geometry.region_box(region) for region in small.region])
    np.testing.assert_allclose(small.box, around)


def test_no_pictures_no_predictions(data, trained):
    none, how = predict(job(), trained[1], part(data, 0, 0))

    assert len(none) == 0
    assert none.region == ()
    assert how.latency == []


def test_a_split_without_defects_can_be_trained_on(data, tmp_path):
    free = data.without_truth()
    outcome = train(job(epochs=1), part(free, 0, 6), tmp_path)

    assert outcome.defect_free_seen == outcome.images_seen == 6
    predict(job(), tmp_path / outcome.checkpoint, part(free, 0, 6))


def test_flat_pictures_have_no_spots(data, trained, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), (90, 90, 90)).save(tmp_path / "flat.png")
    flat = Dataset(
        root=tmp_path, split="test", categories=data.categories, defects=Defects.none(regions=True),
        images=Images(
            file=("flat.png",), id=np.array([1]), size=np.array([[40, 30]]), group=np.array(["a"]), source_id=(1,)
        ),
    )  # fmt: skip

    assert len(predict(job(), trained[1], flat)[0]) == 0


def test_crowds_and_ignored_defects_teach_nothing(data, tmp_path):
    few = part(data, 0, 12)
    hidden = dataclasses.replace(
        few, defects=dataclasses.replace(few.defects, crowd=np.ones(len(few.defects), np.bool_))
    )
    train(job(epochs=1), hidden, tmp_path)
    knowledge = classical._recall(tmp_path / "checkpoint.json")

    assert knowledge.shapes.share == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x02}q\x00.", b'{"type": "other"}', b"[]"])
def test_a_foreign_checkpoint_is_named(data, content, tmp_path):
    path = tmp_path / "checkpoint.json"
    path.write_bytes(content)

    with pytest.raises(RunFailed, match=r"checkpoint\.json"):
        predict(job(), path, part(data, 0, 2))


def test_a_checkpoint_cut_off_anywhere_is_refused(data, trained, tmp_path):
    whole = trained[1].read_bytes().strip()
    for end in range(0, len(whole), 97):
        (tmp_path / "cut.json").write_bytes(whole[:end])
        with pytest.raises(RunFailed, match=r"cut\.json"):
            predict(job(), tmp_path / "cut.json", part(data, 0, 0))


def test_a_missing_checkpoint_is_named(data, tmp_path):
    with pytest.raises(RunFailed, match=r"gone\.json"):
        predict(job(), tmp_path / "gone.json", part(data, 0, 2))


def test_a_checkpoint_of_other_categories_is_refused(data, trained):
    other = dataclasses.replace(part(data, 0, 2), categories=data.categories[:2])

    with pytest.raises(RunFailed, match="categories"):
        predict(job(), trained[1], other)


def test_a_picture_that_is_none_is_named(data, trained, tmp_path):
    (tmp_path / "page.png").write_text("<html>")
    broken = dataclasses.replace(
        part(data, 0, 1), root=tmp_path, images=dataclasses.replace(part(data, 0, 1).images, file=("page.png",))
    )

    with pytest.raises(RunFailed, match=r"page\.png"):
        predict(job(), trained[1], broken)


def test_predicting_writes_nothing(data, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained[1].parent
    before = {path: path.stat().st_mtime_ns for root in (run, data.root) for path in root.rglob("*")}
    predict(job(), trained[1], part(data, 0, 4))

    assert {path: path.stat().st_mtime_ns for root in (run, data.root) for path in root.rglob("*")} == before
    assert not list(tmp_path.iterdir())


def test_unknown_options_are_refused_all_at_once_with_what_was_meant(data, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(job(options={"sigm": 3.0, "sleep": -1, "sigma": "wide"}), part(data, 0, 2), tmp_path)

    faults = {fault.where: fault for fault in caught.value.faults}
    assert set(faults) == {"options.sigm", "options.sleep", "options.sigma"}
    assert "'sigma'" in faults["options.sigm"].fix


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), 10**400, True, None, "10", [10]])
def test_a_senseless_sigma_is_refused(value):
    with pytest.raises(ConfigError, match="sigma"):
        classical._options(job(options={"sigma": value}))


def test_settings_it_cannot_honour_are_refused(data, tmp_path):
    with pytest.raises(Unsupported) as caught:
        train(job(learning_rate=0.1, weights="old.pt"), part(data, 0, 2), tmp_path)

    assert {fault.where for fault in caught.value.faults} == {"learning_rate", "weights"}


def test_sleep_is_taken_after_every_batch(data, tmp_path, monkeypatch):
    naps = []
    monkeypatch.setattr(classical.time, "sleep", naps.append)
    train(job(epochs=1, batch=2, options={"sleep": 0.25}), part(data, 0, 5), tmp_path)

    assert naps == [0.25] * 3
