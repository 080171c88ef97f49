"""The contract of every backend, on real workers: what `backends/README.md` asks, framework by framework.

    python -m pytest tests/test_contract.py -v

`contracted` trains and predicts once for each backend; these tests judge what that left. A framework that
isn't installed here, nor in an environment of its own (`DEFECT_DETECT_ENVS`), is skipped with its reason.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from defect_detect import backends, job
from defect_detect.data import coco
from defect_detect.tables import Dataset
from tests import contracted
from tests.contract_configs import BACKENDS, FLOOR

pytestmark = pytest.mark.framework


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What is left of a backend's jobs: `home` holds a run folder for each."""

    name: str
    home: Path
    told: contracted.Told

    def result(self, run: str) -> job.Result:
        return job.decode_result((self.home / run / "result.json").read_bytes())

    def trained(self, run: str) -> job.Trained:
        result = self.result(run)
        assert isinstance(result, job.Trained), result
        return result

    def refusal(self, run: str) -> str:
        result = self.result(run)
        assert isinstance(result, job.Failed), f"{run} should have failed"
        return result.message

    def said(self, run: str) -> list[dict[str, Any]]:
        result = self.result(run)
        assert isinstance(result, job.Predicted), result
        return json.loads((self.home / run / result.predictions).read_bytes())

    def task(self, run: str) -> job.TrainJob:
        task = job.decode_job((self.home / run / "job.json").read_bytes())
        assert isinstance(task, job.TrainJob)
        return task

    def truth(self, split: str) -> Dataset:
        return coco.load(self.home / "data", split)


@pytest.fixture(scope="module", params=sorted({*BACKENDS, *backends.shipped()}))
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    home = shared / f"contract-{request.param}"
    told = contracted.tried(request.param, home)
    if told.absent:
        pytest.skip(told.absent)
    return Trial(name=request.param, home=home / "work", told=told)


def test_every_backend_of_this_package_is_tried() -> None:
    assert {*BACKENDS} == {*backends.shipped()}


def test_every_picture_reaches_the_network_the_defect_free_and_the_small_too(trial: Trial) -> None:
    train = trial.truth("train")
    for run in ("whole", "killed"):
        outcome = trial.trained(run).outcome
        assert (outcome.images_seen, outcome.defect_free_seen) == (12, 4)
    assert int(train.defect_free.sum()) == 4
    assert train.images.size.min() < 32
    assert train.defects.crowd.sum() == train.defects.ignore.sum() == 1


def test_two_epochs_are_judged_and_the_checkpoint_is_the_best(trial: Trial) -> None:
    trained = trial.trained("whole")
    lines = (trial.home / "whole" / "metrics.csv").read_text().splitlines()[1:]
    scores = [float(line.split(",")[2]) for line in lines]
    assert [line.split(",")[0] for line in lines] == ["1", "2"]
    assert trained.history.epochs == 2
    assert trained.history.best_epoch == 1 + int(np.argmax(scores))
    assert trained.outcome.parameters > 0
    assert trained.outcome.initial_weights == "none"


def test_the_same_seed_gives_the_same_predictions_also_after_a_kill(trial: Trial) -> None:
    """Byte by byte: from two trainings, of which one was killed, in processes of their own."""
    one, other = trial.trained("whole"), trial.trained("killed")
    assert one.outcome == other.outcome
    if not one.outcome.deterministic:
        pytest.skip(f"{trial.name} declares that it can't repeat itself")
    files = [trial.home / run / "predictions.json" for run in ("whole_test", "killed_test")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert one.history == other.history


def test_predictions_name_classes_and_places_of_the_dataset(trial: Trial) -> None:
    said, data = trial.said("whole_test"), trial.truth("test")
    size = dict(zip(data.images.id.tolist(), data.images.size.tolist(), strict=True))
    assert len(said) > 0
    for one in said:
        assert one["category_id"] in (1, 2)
        x, y, width, height = one["bbox"]
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert x + width <= size[one["image_id"]][0] + 1e-6
        assert y + height <= size[one["image_id"]][1] + 1e-6
        assert FLOOR <= one["score"] <= 1


def test_regions_are_predicted_where_the_model_has_masks(trial: Trial) -> None:
    from pycocotools import mask

    task, said, data = trial.task("whole"), trial.said("whole_test"), trial.truth("test")
    size = dict(zip(data.images.id.tolist(), data.images.size.tolist(), strict=True))
    masks = backends.capabilities(trial.name, task.model).masks
    assert (trial.trained("whole").outcome.masks == "regions") == masks
    assert {"segmentation" in one for one in said} == {masks}
    for one in said if masks else ():
        region = one["segmentation"]
        assert region["size"][::-1] == size[one["image_id"]]
        x, y, width, height = mask.toBbox({**region, "counts": region["counts"].encode()})
        box = one["bbox"]
        if width and height:
            assert x >= np.floor(box[0] - 1)
            assert y >= np.floor(box[1] - 1)
            assert x + width <= np.ceil(box[0] + box[2] + 1)
            assert y + height <= np.ceil(box[1] + box[3] + 1)


def test_a_floor_and_a_cap_hide_and_change_nothing_else(trial: Trial) -> None:
    """What is said under a higher floor and a lower cap is what was said without, from the top."""
    loose, strict = trial.said("whole_test"), trial.said("strict_test")
    asked = trial.task("strict").settings
    expected: list[tuple[int, float, int]] = []
    hidden = [one for one in loose if one["score"] < asked.score_floor]
    images = sorted({one["image_id"] for one in loose})
    capped = 0
    for image in images:
        above = [one for one in loose if one["image_id"] == image and one["score"] >= asked.score_floor]
        above.sort(key=lambda one: -one["score"])
        capped += len(above) > asked.max_detections
        expected += [(image, one["score"], one["category_id"]) for one in above[: asked.max_detections]]
    assert hidden
    assert capped
    found = [(one["image_id"], one["score"], one["category_id"]) for one in strict]
    assert sorted(found) == pytest.approx(np.array(sorted(expected)), abs=1e-6)


def test_no_pictures_no_predictions(trial: Trial) -> None:
    assert trial.said("nothing_test") == []


@pytest.mark.parametrize("run", ["broken_test", "broken_train"])
def test_a_picture_that_is_none_is_named(trial: Trial, run: str) -> None:
    split = run.rpartition("_")[2]
    assert trial.truth(split).images.file[1] in trial.refusal(run)


@pytest.mark.parametrize("run", ["text", "foreign"])
def test_a_checkpoint_of_something_else_is_named(trial: Trial, run: str) -> None:
    checkpoint = trial.trained(run).outcome.checkpoint
    assert f"{run}/{checkpoint}" in trial.refusal(f"{run}_test")


def test_no_job_leaves_a_file_outside_its_run(trial: Trial) -> None:
    """The dataset, the user's home, the temporary and the working folder are as they were."""
    assert len(trial.told.left_outside) == 3
    assert {run: files for run, files in trial.told.left_outside.items() if files} == {}


def test_a_finished_run_holds_its_five_files(trial: Trial) -> None:
    for run in ("whole", "killed"):
        checkpoint = trial.trained(run).outcome.checkpoint
        left = {path.name for path in (trial.home / run).iterdir()}
        assert left == {"job.json", "result.json", "log.txt", "metrics.csv", checkpoint}
    predicted = {path.name for path in (trial.home / "whole_test").iterdir()}
    assert predicted == {"job.json", "result.json", "log.txt", "predictions.json", "manifest.json"}


def test_sigterm_in_a_training_leaves_one_that_is_completed(trial: Trial) -> None:
    goes_on = BACKENDS[trial.name].goes_on
    assert "SIGTERM" in trial.told.died
    assert "result.json" not in trial.told.left
    assert {f"resume/{part}-1" in trial.told.left for part in ("state", "best", "after")} == {goes_on}
    trained = trial.trained("killed")
    assert trained.resumed == ([1] if goes_on else [])
    assert trained.history.epochs == 2
    assert trial.trained("whole").resumed == []
