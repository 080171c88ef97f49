"""What defects look like, and FiftyOne's map and search made of it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from defect_detect.errors import DatasetError
from defect_detect.explore import lookalikes
from defect_detect.explore.descriptors import SIDE, crop, describe
from defect_detect.explore.store import store
from tests import scenes
from tests.explored import compared, judged_by

KINDS = ("scratch across", "scratch down", "spot")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Defects of three kinds on noise, 20 of each, in 20 pictures; the labels say nothing of the kind."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("kinds")
    (root / "test").mkdir()
    box, image = [], []
    for row in range(20):
        picture = rng.normal(120, 6, (96, 96))
        for kind, top in enumerate((4, 36, 68)):
            x, y = int(rng.integers(4, 60)), top + int(rng.integers(0, 4))
            around = np.s_[y : y + 20, x : x + 20]
            yy, xx = np.mgrid[:20, :20]
            inside = (abs(yy - 10) < 2, abs(xx - 10) < 2, (yy - 10) ** 2 + (xx - 10) ** 2 < 36)[kind]
            picture[around] -= 70 * inside
            box.append([x, y, x + 20, y + 20])
            image.append(row)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / f"test/{row:05d}.png")
    truth = scenes.dataset(image=image, label=np.zeros(60), box=box, images=20, classes=1, side=96)
    return dataclasses.replace(truth, root=root)


def nearest(found, row):
    distance = np.linalg.norm(found - found[row], axis=1)
    distance[row] = np.inf
    return int(distance.argmin())


def test_the_nearest_defect_is_of_the_same_kind(kinds):
    told = []
    found = describe(kinds, lambda *done: told.append(done))
    assert (len(found), told[0], told[-1]) == (60, (1, 20), (20, 20))
    assert np.isfinite(found).all()
    assert found.mean(axis=0) == pytest.approx(0)
    same = [row % 3 == nearest(found, row) % 3 for row in range(60)]
    assert np.mean(same) > 0.95
    assert np.array_equal(describe(kinds), found)


@pytest.mark.parametrize(
    "box", [(0, 0, 3, 2), (60, 60, 64, 64), (-5, -5, 1, 1), (0, 0, 64, 64), (10.4, 10.6, 10.9, 11)]
)
def test_crops_stay_finite_at_edges_and_for_specks(box):
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    seen = crop(grey, box)
    assert seen.shape == (SIDE, SIDE)
    assert (seen >= 0).all()
    assert (seen <= 1).all()


def test_a_crop_is_what_lies_there():
    grey = np.zeros((64, 64), np.uint8)
    grey[16:32, 16:32] = 255
    seen = crop(grey, (16, 16, 32, 32))
    assert seen[4:20, 4:20].min() == 1
    assert (seen[:3].max(), seen[:, :3].max()) == (0, 0)


def test_a_picture_that_is_gone_is_said(kinds, tmp_path):
    with pytest.raises(DatasetError, match="00000"):
        describe(dataclasses.replace(kinds, root=tmp_path))
    assert describe(scenes.dataset(image=[], label=[], box=[], images=1)).shape == (0, 1)


@pytest.mark.fiftyone
def test_the_map_and_the_search_are_in_the_dataset(fiftyone, kinds, tmp_path):
    judged = judged_by(kinds, {("a", 0): scenes.predictions(image=[0], label=[0], box=[[0, 0, 9, 9]], score=[0.9])})
    name = store("kinds", compared(judged), judged, kinds, folder=tmp_path)
    dataset = fiftyone.load_dataset(name)
    assert not lookalikes.mapped(dataset)
    assert lookalikes.map_defects(name, kinds)
    dataset.reload()
    points = dataset.load_brain_results(lookalikes.MAP)
    assert points.points.shape == (60, 2)
    ids = dataset.values("ground_truth.detections.id", unwind=True)
    assert set(points.label_ids) == set(ids)
    patches = dataset.to_patches("ground_truth").sort_by_similarity(ids[0], k=6, brain_key=lookalikes.ALIKE)
    assert patches.first().ground_truth.id == ids[0]
    order = {label: row for row, label in enumerate(ids)}
    assert {order[one.ground_truth.id] % 3 for one in patches} == {0}
    before = dataset.get_brain_info(lookalikes.MAP).timestamp
    assert lookalikes.map_defects(name, kinds)
    dataset.reload()
    assert dataset.get_brain_info(lookalikes.MAP).timestamp == before


@pytest.mark.fiftyone
def test_two_defects_make_no_map(fiftyone):
    assert not lookalikes.map_defects("nothing", scenes.dataset(image=[0], label=[0], box=[[0, 0, 9, 9]], images=1))
