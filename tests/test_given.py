"""Predictions from elsewhere are taken in with what is known of them, and with nothing that speaks of another file."""

import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from defect_detect import comparing, folder, given, job
from defect_detect.data import coco
from defect_detect.errors import ConfigError, PredictionsError
from tests.test_compare import manifest


@pytest.fixture
def said(tiny: Path, tmp_path: Path) -> Path:
    """A file of predictions on test with the manifest of a run beside it."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    entries = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in json.loads((tiny / "test.json").read_text())["annotations"]
    ]
    path = home / "said.json"
    path.write_text(json.dumps(entries))
    told = msgspec.structs.replace(
        manifest("a"), dataset_fingerprint=coco.load(tiny, "test").fingerprint,
        predictions_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )  # fmt: skip
    (home / "manifest.json").write_bytes(job.encode(told))
    return path


def test_a_manifest_counts_for_the_file_it_names_and_no_other(tiny: Path, said: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out" / "predictions" / "a" / "test"

    assert given.take_in(tmp_path / "out", [f"a={said}"], tiny) == {"a": ["test"]}
    kept = folder.read_manifest(copy)
    assert kept.predictions_sha256 == hashlib.sha256((copy / "predictions.json").read_bytes()).hexdigest()

    said.write_text(json.dumps(json.loads(said.read_text())[1:]))
    given.take_in(tmp_path / "out", [f"a={said}"], tiny)
    assert folder.read_manifest(copy) is None


@pytest.mark.parametrize("text", ["..=said.json", "a/b=said.json", "a:dev=said.json", "=said.json", "a"])
def test_names_stay_in_their_folder(text: str) -> None:
    with pytest.raises(ConfigError):
        given.parse_given([text])


def test_masks_can_be_matched_only_where_there_are_some(tiny: Path, said: Path, tmp_path: Path) -> None:
    how = comparing.Judging(policy="score=0.5", geometry="mask", resamples=20)

    with pytest.raises(PredictionsError, match="a on test: expected a mask for every prediction"):
        comparing.run(comparing.Source(path=tiny), tmp_path / "out", detectors=[], given=[f"a={said}"], judging=how,
                      fiftyone=False, console=Console(quiet=True))  # fmt: skip


def test_thresholds_by_class_come_back_from_the_folder(tiny: Path, said: Path, tmp_path: Path) -> None:
    val = tmp_path / "val.json"
    truth = json.loads((tiny / "val.json").read_text())
    rng = np.random.default_rng(0)
    val.write_text(json.dumps([
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"],
         "score": float(rng.uniform(0.2, 0.9))}
        for a in truth["annotations"]
    ]))  # fmt: skip
    how = comparing.Judging(policy="recall>=0.6", per_class=True, resamples=20)
    code = comparing.run(
        comparing.Source(path=tiny), tmp_path / "out", detectors=[], given=[f"a:val={val}", f"a:test={said}"],
        judging=how, fiftyone=False, console=Console(quiet=True),
    )  # fmt: skip
    comparison, judged, loaded = folder.load(tmp_path / "out")

    assert code == 0
    (by_class,) = comparison.detectors[0].operating_point.by_class
    assert comparison.protocol.policy == "recall>=0.6 per class"
    assert list(by_class) == [category.name for category in loaded.categories]
    assert [None if np.isinf(one) else one for one in judged[0].threshold.tolist()] == list(by_class.values())
    assert int((~judged[0].found & loaded.defects.counts).sum()) == comparison.detectors[0].test.fn_rate.rate.count
