"""The documents that are written behind FiftyOne's back are those that FiftyOne would write."""

import dataclasses
import uuid

import numpy as np
import pytest

from defect_detect.evaluation.comparison import Place
from defect_detect.explore.store import store
from tests import scenes
from tests.explored import another, compared, judged_by, pictures

pytestmark = pytest.mark.fiftyone
OWN = ("_id", "_rand", "_dataset_id", "created_at", "last_modified_at")


@pytest.fixture
def ours(fiftyone, tmp_path):
    truth, first = scenes.scene(5, images=16, masks=True, groups=9)
    more = {"line": np.array([f"L{row % 2}" for row in range(16)]), "speed": np.where(np.arange(16) < 3, np.nan, 2.5)}
    truth = dataclasses.replace(truth, images=dataclasses.replace(truth.images, attribute=more))
    truth = pictures(truth, tmp_path / "p")
    judged = judged_by(truth, {("a", 0): first, ("b", 0): another(truth, 1), ("b", 1): another(truth, 2, masks=True)})
    place = Place(image=truth.images.file[3], box=[1.0, 2.0, 9.0, 8.0], category="class1")
    return fiftyone.load_dataset(store("s", compared(judged, [place]), judged, truth, folder=tmp_path))


def bare(value):
    """Without ids and times, of which a copy has its own."""
    if isinstance(value, list):
        return [bare(one) for one in value]
    return {n: bare(v) for n, v in value.items() if n not in OWN} if isinstance(value, dict) else value


def test_fiftyone_stores_the_same_of_what_it_reads(fiftyone, ours):
    theirs = fiftyone.Dataset(f"theirs-{uuid.uuid4().hex}")
    for name, field in ours.get_field_schema().items():
        if name not in theirs.get_field_schema():
            theirs._sample_doc_cls.merge_field_schema({name: field})
    theirs.add_samples([sample.copy() for sample in ours], progress=False)
    left, right = (list(dataset._sample_collection.find().sort("_id", 1)) for dataset in (ours, theirs))
    assert len(left) == len(right) == 16
    for one, other in zip(left, right, strict=True):
        assert set(one) == set(other)
        assert all(type(one[name]) is type(other[name]) for name in OWN)
        assert bare(one) == bare(other)
    theirs.delete()


def test_fiftyone_finds_them_valid(ours):
    for sample in ours:
        ours._validate_sample(sample)
    assert ours.media_type == "image"
    assert ours.match({"created_at": {"$gt": ours.created_at}}).count() == 16
    assert ours.shuffle(seed=1).values("id") != ours.values("id")
    assert ours.values("group") == [sample.group for sample in ours]
    assert [sample.filepath for sample in ours] == sorted(ours.values("filepath"))
