"""A prediction must never meet the wrong image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import geometry
from defect_detect.data import predictions
from defect_detect.errors import PredictionsError
from defect_detect.job import Manifest, encode
from defect_detect.tables import Category, Dataset, Defects, Images, Polygons, Predictions


def split(ids: list[int], source_ids: list[int | str], categories: list[int | str] | None = None) -> Dataset:
    source_categories = categories or [1, 2]
    return Dataset(
        root=Path("unused"),
        split="val",
        categories=tuple(
            Category(id=row + 1, name=f"c{row}", source_id=source) for row, source in enumerate(source_categories)
        ),
        images=Images(
            file=tuple(f"images/p{row}.png" for row in range(len(ids))),
            id=np.array(ids, np.int64),
            size=np.array([[60, 40]] * len(ids), np.int64),
            group=np.array([f"g{row}" for row in range(len(ids))]),
            source_id=tuple(source_ids),
        ),
        defects=Defects.none(),
        fingerprint="f" * 64,
    )


def said(**fields: Any) -> dict[str, Any]:
    entry = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5} | fields
    return {name: value for name, value in entry.items() if value is not None}


def read(folder: Path, entries: object, dataset: Dataset, **options: str) -> Predictions:
    path = folder / "p.json"
    path.write_text(json.dumps(entries))
    return predictions.read(path, dataset, **options)


VAL = split([101, 102, 103], [1, 2, 3])


@pytest.mark.parametrize("ids", [[101, 103], [1, 3], ["1", "3"], [1.0, 3.0]])
def test_ids_of_one_numbering_are_understood(ids: list[Any], tmp_path: Path) -> None:
    found = read(tmp_path, [said(image_id=id_) for id_ in ids], VAL)
    assert found.image.tolist() == [0, 2]


def test_ids_that_mean_the_same_in_both_are_no_doubt(tmp_path: Path) -> None:
    assert read(tmp_path, [said(image_id=2)], split([1, 2, 3], [1, 2, 3])).image.tolist() == [1]


def test_ids_that_fit_both_with_different_meaning_are_refused_until_someone_says_which(tmp_path: Path) -> None:
    shifted = split([1, 2, 3], [0, 1, 2])
    entries = [said(image_id=1), said(image_id=2)]
    with pytest.raises(PredictionsError, match="name one image in the normalized dataset and another in its source"):
        read(tmp_path, entries, shifted)
    assert read(tmp_path, entries, shifted, ids="normalized").image.tolist() == [0, 1]
    assert read(tmp_path, entries, shifted, ids="source").image.tolist() == [1, 2]
    assert read(tmp_path, [*entries, said(image_id=0)], shifted).image.tolist() == [1, 2, 0]


def test_mixed_numberings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="ids of the val split"):
        read(tmp_path, [said(image_id=1), said(image_id=102)], VAL)


def test_another_splits_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="about another split"):
        read(tmp_path, [said(image_id=id_) for id_ in (1, 2, 3, 4)], VAL)


def test_classes_are_numbered_as_the_images_are(tmp_path: Path) -> None:
    data = split([101, 102], [1, 2], categories=[0, 1])
    assert read(tmp_path, [said(image_id=1, category_id=1)], data).label.tolist() == [1]
    assert read(tmp_path, [said(image_id=101, category_id=1)], data).label.tolist() == [0]
    with pytest.raises(PredictionsError, match="one category in the normalized"):
        read(tmp_path, [said(image_id=None, file_name="p0.png", category_id=1)], data)
    with pytest.raises(PredictionsError, match="images and classes numbered alike"):
        read(tmp_path, [said(image_id=101, category_id=0)], data)


@pytest.mark.parametrize("name", ["p1.png", "images/p1.png", "./p1.png", "images\\p1.png"])
def test_names_say_it_best(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, [said(image_id=None, file_name=name, category_id=None, category_name="c1")], VAL)
    assert (found.image.tolist(), found.label.tolist()) == ([1], [1])


def test_a_bare_name_of_two_pictures_names_none(tmp_path: Path) -> None:
    images = dataclasses.replace(VAL.images, file=("images/a/p.png", "images/b/p.png", "images/p2.png"))
    data = dataclasses.replace(VAL, images=images)
    assert read(tmp_path, [said(image_id=None, file_name="b/p.png")], data).image.tolist() == [1]
    with pytest.raises(PredictionsError, match="a file of the val split"):
        read(tmp_path, [said(image_id=None, file_name="p.png")], data)


def test_the_source_name_of_a_re_encoded_picture_is_understood(tmp_path: Path) -> None:
    renamed = {"source_file": np.array(["old\\x.tif", "p1.png", "p2.png"])}
    data = dataclasses.replace(VAL, images=dataclasses.replace(VAL.images, attribute=renamed))
    for name in ("old\\x.tif", "old/x.tif", "x.tif", "p0.png"):
        assert read(tmp_path, [said(image_id=None, file_name=name)], data).image.tolist() == [0]


BAD = {
    "not an object": 5,
    "score over 1": said(score=1.5),
    "score NaN": said(score=float("nan")),
    "score as text": said(score="0.5"),
    "no score": said(score=None),
    "box NaN": said(bbox=[1, 2, float("nan"), 4]),
    "box infinite": said(bbox=[1, 2, float("inf"), 4]),
    "box null": said(bbox=None),
    "box negative": said(bbox=[1, 2, -3, 4]),
    "unknown class name": said(category_name="dent"),
    "unknown file": said(file_name="dent.png"),
    "region malformed": said(segmentation={"size": [40, 60], "counts": [5, 5]}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_with_their_place(case: str, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"p\.json\[1\]"):
        read(tmp_path, [said(), BAD[case]], VAL)


def test_all_faults_at_once_the_first_twenty_in_words(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError) as caught:
        read(tmp_path, [said(score=2)] * 50, VAL)
    assert len(caught.value.faults) == 21
    assert "50 in all" in str(caught.value.faults[-1])


def test_what_is_not_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="That is a dataset"):
        read(tmp_path, {"images": [], "annotations": []}, VAL)
    (tmp_path / "p.json").write_text('[{"image_id": 1')
    with pytest.raises(PredictionsError, match="cut off"):
        predictions.read(tmp_path / "p.json", VAL)
    with pytest.raises(PredictionsError, match="No such file"):
        predictions.read(tmp_path / "none.json", VAL)


def test_a_silent_detector_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, [], VAL)) == 0


def test_regions_in_every_prediction_or_in_none(tmp_path: Path) -> None:
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    assert read(tmp_path, [said(segmentation=square)] * 2, VAL).region is not None
    with pytest.raises(PredictionsError, match="every prediction or in none"):
        read(tmp_path, [said(segmentation=square), said()], VAL)


def manifest(**fields: Any) -> bytes:
    values: dict[str, Any] = {
        "detector": "d", "framework": "f", "model": "m", "family": "yolo", "seed": 0, "versions": {},
        "checkpoint_sha256": "", "dataset_fingerprint": "f" * 64, "split": "val", "images_sha256": "", "images": 3,
        "categories": ["c0", "c1"], "score_floor": 0.0, "max_detections": 100, "decode_policy": "", "tiling": "",
        "nms_iou": None, "input_size": "", "initial_weights": "", "masks": "none", "epochs": 1, "images_seen": 1,
        "defect_free_seen": 0, "stopped_early": False, "under_trained": False, "predictions_sha256": "",
    }  # fmt: skip
    return encode(Manifest(**values | fields))


def test_a_manifest_of_ours_settles_the_numbering(tmp_path: Path) -> None:
    shifted = split([1, 2, 3], [0, 1, 2])
    text = json.dumps([said(image_id=1)])
    (tmp_path / "p.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "manifest.json").write_bytes(manifest(predictions_sha256=digest))
    assert predictions.read(tmp_path / "p.json", shifted).image.tolist() == [0]

    (tmp_path / "manifest.json").write_bytes(manifest(predictions_sha256=digest, dataset_fingerprint="0" * 64))
    with pytest.raises(PredictionsError, match="names another dataset or split"):
        predictions.read(tmp_path / "p.json", shifted)

    (tmp_path / "manifest.json").write_bytes(manifest(predictions_sha256="of another file"))
    with pytest.raises(PredictionsError, match="with one meaning"):
        predictions.read(tmp_path / "p.json", shifted)


rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 50), st.integers(0, 30), st.floats(0, 1)),
    max_size=12,
)


def table(content: list[tuple[int, int, int, int, float]], *, regions: bool) -> Predictions:
    box = np.array([(x, y, x + 7.1, y + 5.3) for _, _, x, y, _ in content], np.float64).reshape(-1, 4)
    corners = [np.array([[x0, y0], [x1, y0], [x1, y1]]) for x0, y0, x1, y1 in box]
    return Predictions(
        image=np.array([row[0] for row in content], np.int64),
        label=np.array([row[1] for row in content], np.int64),
        box=box,
        score=np.array([row[4] for row in content], np.float64),
        region=tuple(Polygons(rings=(ring,)) for ring in corners) if regions else None,
    )


@settings(deadline=None)
@given(content=rows, regions=st.booleans())
def test_what_is_written_is_read_back(
    content: list[tuple[int, int, int, int, float]], regions: bool, tmp_path_factory: pytest.TempPathFactory  # noqa: FBT001 - drawn by hypothesis
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("round") / "p.json"
    original = predictions.canonical_order(table(content, regions=regions))
    predictions.write(path, original, VAL)
    back = predictions.read(path, VAL)
    for name in ("image", "label", "score"):
        assert getattr(back, name).tolist() == getattr(original, name).tolist()
    np.testing.assert_allclose(back.box, original.box, rtol=0, atol=1e-12)
    assert (back.region is not None) == (regions and len(content) > 0)


@settings(deadline=None)
@given(content=rows, regions=st.booleans())
def test_the_order_of_rows_leaves_no_trace(
    content: list[tuple[int, int, int, int, float]], regions: bool, tmp_path_factory: pytest.TempPathFactory  # noqa: FBT001 - drawn by hypothesis
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("order")
    shuffled = list(content)
    random.Random(3).shuffle(shuffled)  # noqa: S311 - a test's shuffle, not a secret
    predictions.write(folder / "a.json", table(content, regions=regions), VAL)
    predictions.write(folder / "b.json", table(shuffled, regions=regions), VAL)
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_what_breaks_the_tables_promises_is_not_written(tmp_path: Path) -> None:
    bad = table([(0, 0, 1, 1, 0.5)], regions=False)
    bad = dataclasses.replace(bad, score=np.array([np.nan]))
    with pytest.raises(ValueError, match="not finite"):
        predictions.write(tmp_path / "p.json", bad, VAL)
    assert not (tmp_path / "p.json").exists()


def test_a_mask_that_came_out_empty_is_a_prediction_like_any_other(tmp_path: Path) -> None:
    dataset = split([1], [1])
    width, height = dataset.images.size[0].tolist()
    nothing = {"size": [height, width], "counts": [width * height]}

    found = read(tmp_path, [said(image_id=1, segmentation=nothing)], dataset)

    assert found.region is not None
    assert not geometry.to_mask(found.region[0], width, height).any()
