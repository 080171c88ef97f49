"""Tiles cover their pictures, lose no defect, and what is said of them speaks of whole pictures again."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from defect_detect import comparing, geometry, job
from defect_detect.data import coco, cutting, predictions, tiling, untiling
from defect_detect.data.normalize import normalize
from defect_detect.data.pieces import pieces
from defect_detect.data.pixels import read
from defect_detect.data.windows import windows
from defect_detect.errors import ConfigError, DatasetError, NotComparable
from defect_detect.evaluation import contract, matching
from defect_detect.job import Tiling
from defect_detect.tables import Images, Polygons, Predictions
from tests import scenes
from tests.test_comparability import changed, contender

ROOT = Path(__file__).parents[1]
TILINGS = st.builds(
    Tiling, size=st.integers(32, 90), overlap=st.floats(0.05, 0.75), min_visible=st.sampled_from([0.0, 0.2, 0.5, 1.0])
)
SIDES = st.integers(1, 300)
WIDE, HIGH = 200, 150
QUICK = settings(deadline=None, max_examples=60)


def truth(box, *, image=None, label=None, region=None, **more):
    """A split of pictures of WIDE x HIGH px."""
    image = [0] * len(box) if image is None else image
    data = scenes.dataset(
        image=image, label=label or [0] * len(box), box=box, images=max(image, default=0) + 1, region=region, **more
    )
    size = np.tile(np.array([[WIDE, HIGH]]), (len(data.images), 1))
    return dataclasses.replace(data, images=dataclasses.replace(data.images, size=size))


def cut(data, how):
    """The tiles of `data` as a split in memory, and its pieces."""
    found = pieces(data, [windows(int(w), int(h), how) for w, h in data.images.size], how.min_visible)
    count = len(found.of)
    images = Images(
        file=tuple(f"images/{row}.png" for row in range(count)), id=np.arange(1, count + 1),
        size=found.window[:, 2:] - found.window[:, :2], group=data.images.group[found.of],
        source_id=tuple(range(count)),
        attribute={
            "x": found.window[:, 0], "y": found.window[:, 1],
            "source_file": np.array([data.images.file[row] for row in found.of.tolist()], np.str_),
        },
    )  # fmt: skip
    return dataclasses.replace(data.without_truth(), images=images), found


def perfect(data, found, score=1.0):
    """Every piece said as it is, those too that are ignored."""
    return Predictions(
        image=found.tile, label=data.defects.label[found.defect], box=found.box,
        score=np.full(len(found.tile), score), region=found.region,
    )  # fmt: skip


def boxes(most=5, smallest=0.25, largest=190.0):
    """Boxes of quarter pixels inside the picture, (N, 4)."""
    quarter = st.integers(0, 4 * WIDE).map(lambda value: value / 4)

    def box(x, y, w, h):
        w, h = min(max(w, smallest), largest, WIDE), min(max(h, smallest), largest, HIGH)
        x, y = min(x, WIDE - w), min(y, HIGH - h)
        return [x, y, x + w, y + h]

    return st.lists(st.builds(box, quarter, quarter, quarter, quarter), min_size=1, max_size=most)


@QUICK
@given(SIDES, SIDES, TILINGS)
def test_tiles_cover_every_pixel_and_overlap_as_asked(width, height, how) -> None:
    found = windows(width, height, how)

    seen = np.zeros((height, width), np.int64)
    for x0, y0, x1, y1 in found.tolist():
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        seen[y0:y1, x0:x1] += 1
    assert seen.min() == 1 or len(found) > 1
    assert seen.min() >= 1
    assert len(np.unique(found, axis=0)) == len(found)
    assert {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in found.tolist()} == {(min(how.size, width), min(how.size, height))}
    for axis in (0, 1):
        starts = np.unique(found[:, axis])
        assert (
            np.diff(starts) <= how.size - how.overlap * how.size + 1e-9
        ).all() or how.overlap * how.size > how.size - 1


@QUICK
@given(boxes(), TILINGS)
def test_every_defect_counts_somewhere_and_is_forgotten_nowhere(box, how) -> None:
    data = truth(box)
    _, found = cut(data, how)

    whole = geometry.area(data.defects.box)
    for defect in range(len(box)):
        mine = found.defect == defect
        window = found.window.astype(float)
        met = geometry.paired_intersection(np.tile(data.defects.box[defect], (len(window), 1)), window)
        assert found.tile[mine].tolist() == np.flatnonzero(met > 0).tolist()
        np.testing.assert_allclose(found.share[mine], met[met > 0] / whole[defect])
        share = met[met > 0] / met.max()
        assert (found.ignore[mine] == (share < how.min_visible - 1e-9)).all()
        assert not found.ignore[mine].all()
    size = found.window[:, 2:] - found.window[:, :2]
    assert (found.box >= 0).all()
    assert (found.box[:, 2:] <= size[found.tile]).all()
    assert (found.box[:, 2:] > found.box[:, :2]).all()


def test_what_is_a_crowd_or_ignored_stays_so_and_a_sliver_is_ignored() -> None:
    # Tiles begin at x 0 and 100; the box [90, 110] lies in both, a fifth of [60, 110] in the second.
    how = Tiling(size=150, overlap=0.3, min_visible=0.5)
    data = truth([[40, 10, 80, 20]] * 4 + [[0, 0, 60, 5]], crowd=[0, 1, 0, 1, 0], ignore=[0, 0, 1, 1, 0])
    assert windows(WIDE, HIGH, how)[:, 0].tolist() == [0, 50]

    _, found = cut(data, how)

    told = [
        (int(tile), int(defect), bool(ignored))
        for tile, defect, ignored in zip(found.tile, found.defect, found.ignore, strict=True)
    ]
    assert told == [
        (0, 0, False), (1, 0, False), (0, 1, False), (1, 1, False), (0, 2, True), (1, 2, True), (0, 3, True),
        (1, 3, True), (0, 4, False), (1, 4, True),
    ]  # fmt: skip
    np.testing.assert_allclose(found.box[-1], [0, 0, 10, 5])


@st.composite
def outlines(draw):
    """Regions with holes, of several parts, and slanted ones, as polygons or run lengths."""
    if draw(st.booleans()):
        count = draw(st.integers(1, 3))
        rings = [
            np.array([[draw(st.integers(0, 4 * WIDE)) / 4, draw(st.integers(0, 4 * HIGH)) / 4] for _ in range(corners)])
            for corners in [draw(st.integers(3, 6)) for _ in range(count)]
        ]
        return Polygons(rings=tuple(rings))
    pixels = np.zeros((HIGH, WIDE), np.bool_)
    for inside in (True, False, True):
        x, y = draw(st.integers(0, WIDE - 2)), draw(st.integers(0, HIGH - 2))
        pixels[y : y + draw(st.integers(1, HIGH)), x : x + draw(st.integers(1, WIDE))] = inside
    pixels[draw(st.integers(0, HIGH - 1)), draw(st.integers(0, WIDE - 1))] = True
    return geometry.from_mask(pixels)


@QUICK
@given(outlines())
@example(Polygons(rings=(np.array([[141.5, 15.75], [0, 10], [73.5, 55.25]]),)))
def test_a_regions_pixels_are_those_of_the_whole_picture(region) -> None:
    whole = geometry.to_mask(region, WIDE, HIGH)
    frame = cutting.frame_of(region, WIDE, HIGH)
    x0, y0, x1, y1 = frame

    found = cutting.pixels(region, frame)

    assert np.array_equal(found, whole[y0:y1, x0:x1])
    assert whole.sum() == found.sum()
    assert cutting.placed(found, x0, y0, WIDE, HIGH) == geometry.from_mask(whole)


@QUICK
@given(outlines(), TILINGS)
def test_a_cut_region_is_the_whole_one_pixel_for_pixel(region, how) -> None:
    box = geometry.region_box(region)
    box[2:] = np.maximum(box[2:], box[:2] + 0.25)
    whole = geometry.to_mask(region, WIDE, HIGH)
    _, found = cut(truth([box.tolist()], region=(region,)), how)

    assert found.region is not None
    for tile, piece, share in zip(found.tile.tolist(), found.region, found.share, strict=True):
        x0, y0, x1, y1 = found.window[tile].tolist()
        shown = geometry.to_mask(piece, x1 - x0, y1 - y0)
        if whole.any():
            assert np.array_equal(shown, whole[y0:y1, x0:x1])
            assert share == pytest.approx(shown.sum() / whole.sum())
    seen = {int(tile) for tile in found.tile}
    for tile, (x0, y0, x1, y1) in enumerate(found.window.tolist()):
        assert tile in seen or not whole[y0:y1, x0:x1].any()


@QUICK
@given(boxes(), TILINGS)
def test_perfect_predictions_of_tiles_are_perfect_ones_of_pictures(box, how) -> None:
    data = truth(box, label=list(range(len(box))), classes=len(box))
    tiles, found = cut(data, how)

    said = untiling.whole(perfect(data, found), tiles, data, most=100)

    # One each, since no two are of one class.
    assert np.array_equal(np.sort(said.label), np.arange(len(box)))
    np.testing.assert_allclose(said.box[np.argsort(said.label)], data.defects.box, atol=1e-9)
    assert missed(data, said) == 0


def missed(data, said):
    """How many defects no prediction finds."""
    return int(np.isneginf(matching.evaluate(data, said).matching.found_at).sum())


@QUICK
@given(boxes(most=8, smallest=1, largest=12), st.integers(60, 90))
def test_defects_within_the_overlap_come_out_once_each(box, size) -> None:
    how = Tiling(size=size, overlap=0.25)
    box = apart(box)
    data = truth(box)
    tiles, found = cut(data, how)

    said = untiling.whole(perfect(data, found), tiles, data, most=100)

    assert len(said) == len(box)
    np.testing.assert_allclose(sorted(said.box.tolist()), sorted(box))


def apart(box):
    """Those that don't touch one before."""
    kept = []
    for one in box:
        if all(one[0] > b[2] or b[0] > one[2] or one[1] > b[3] or b[1] > one[3] for b in kept):
            kept.append(one)
    return kept


# What two tiles say of one place: tiles [0, 120] and [80, 200] of a picture 200 px wide.
TWO = Tiling(size=120, overlap=0.3)


def said_of(rows, *, masks=False):
    """Predictions, each (tile, x0, x1, score) or with y0 and y1, px of the whole picture, brought back to it."""
    data = truth([[0, 0, 1, 1]])
    size = np.array([[200, 100]])
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, size=size))
    tiles, found = cut(data, TWO)
    assert found.window.tolist() == [[0, 0, 120, 100], [80, 0, 200, 100]]
    full = [row if len(row) > 4 else (*row, 40, 50) for row in rows]
    box = [[x0 - 80 * tile, y0, x1 - 80 * tile, y1] for tile, x0, x1, _, y0, y1 in full]
    regions = None
    if masks:
        regions = tuple(
            Polygons(rings=(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float),)) for x0, y0, x1, y1 in box
        )
    made = scenes.predictions(
        image=[row[0] for row in full], label=[0] * len(full), box=box, score=[row[3] for row in full], region=regions
    )
    return untiling.whole(made, tiles, data, most=100)


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        # Seen whole by both: the better one stays, no larger than it was.
        ([(0, 90, 110, 0.9), (1, 91, 112, 0.6)], [(90, 110, 0.9)]),
        # Cut off by both: joined.
        ([(0, 20, 120, 0.9), (1, 80, 190, 0.6)], [(20, 190, 0.9)]),
        ([(0, 20, 119, 0.5), (1, 81, 190, 0.6)], [(20, 190, 0.6)]),
        # Cut off by one, and the other saw it whole: the whole one's box, the better one's score.
        ([(0, 60, 110, 0.4), (1, 80, 110, 0.9)], [(60, 110, 0.9)]),
        ([(0, 60, 110, 0.9), (1, 80, 110, 0.4)], [(60, 110, 0.9)]),
        # Two defects side by side, both whole: they stay two.
        ([(0, 60, 85, 0.9), (1, 86, 110, 0.8)], [(60, 85, 0.9), (86, 110, 0.8)]),
        # A doubtful box over all of a tile takes nothing in, and is not taken in.
        ([(0, 90, 100, 0.9), (1, 80, 200, 0.01, 0, 100)], [(90, 100, 0.9), (80, 200, 0.01)]),
        # What a tile cuts off and the other shows as part of something better: gone.
        ([(0, 60, 110, 0.9, 0, 100), (1, 80, 100, 0.4)], [(60, 110, 0.9)]),
        # Two that the same tile tells apart stay two.
        ([(0, 90, 110, 0.9), (0, 92, 112, 0.6)], [(90, 110, 0.9), (92, 112, 0.6)]),
        # Far from each other along the seam.
        ([(0, 20, 120, 0.9, 0, 10), (1, 80, 190, 0.6, 60, 70)], [(20, 120, 0.9), (80, 190, 0.6)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("masks", [False, True])
def test_what_two_tiles_say_of_one_place(rows, left, masks) -> None:
    for order in (rows, rows[::-1]):
        said = said_of(order, masks=masks)
        assert [(box[0], box[2], score) for box, score in zip(said.box, said.score, strict=True)] == left
        if masks:
            for box, region in zip(said.box, said.region, strict=True):
                shown = geometry.to_mask(region, 200, 100)
                assert shown.sum() == pytest.approx(np.prod(box[2:] - box[:2]))
                assert geometry.region_box(region).tolist() == box.tolist()


def test_slanted_defects_whose_boxes_meet_are_told_apart_by_their_masks() -> None:
    data = truth([[0, 0, 1, 1]])
    data = dataclasses.replace(data, images=dataclasses.replace(data.images, size=np.array([[200, 100]])))
    tiles, _ = cut(data, TWO)
    one = np.array([[10.0, 0], [20, 0], [120, 90], [110, 90]])
    other = np.array([[0.0, 10], [6, 10], [110, 100], [100, 100]])
    made = scenes.predictions(
        image=[0, 1], label=[0, 0], score=[0.9, 0.8],
        box=[[10, 0, 120, 90], [0, 10, 110, 100]],
        region=(Polygons(rings=(one,)), Polygons(rings=(other,))),
    )  # fmt: skip

    said = untiling.whole(made, tiles, data, most=100)

    assert len(said) == 2


def test_a_long_crack_is_joined_along_all_of_its_tiles() -> None:
    how = Tiling(size=32, overlap=0.2, min_visible=0.2)
    data = truth([[3, 70, 197, 74], [3, 90, 197, 94]])
    tiles, found = cut(data, how)
    assert not found.ignore[found.share > 0.1].any()
    assert len(found.tile) > 12

    said = untiling.whole(perfect(data, found), tiles, data, most=100)

    np.testing.assert_allclose(sorted(said.box.tolist()), data.defects.box)


def test_the_cap_is_one_of_whole_pictures() -> None:
    data = truth([[x, 5, x + 4, 9] for x in range(0, 196, 8)])
    tiles, found = cut(data, Tiling(size=64, overlap=0.2))
    score = np.linspace(0.1, 0.9, len(found.tile))

    said = untiling.whole(dataclasses.replace(perfect(data, found), score=score), tiles, data, most=7)

    assert len(said) == 7
    assert said.score.min() > 0.6
    assert said.region is None


def test_nothing_said_is_nothing_said() -> None:
    data = truth([[0, 0, 5, 5]])
    tiles, _ = cut(data, TWO)

    for regions in (False, True):
        said = untiling.whole(Predictions.none(regions=regions), tiles, data, most=7)
        assert len(said) == 0
        assert (said.region is not None) == regions


@QUICK
@given(boxes(most=6, smallest=2), TILINGS, st.randoms(use_true_random=False))
def test_the_order_of_predictions_changes_nothing(box, how, random) -> None:
    data = truth(box)
    tiles, found = cut(data, how)
    score = np.array([random.choice([0.2, 0.5, 0.9]) for _ in found.tile])
    made = dataclasses.replace(perfect(data, found), score=score)
    order = list(range(len(made)))
    random.shuffle(order)

    first = predictions.canonical_order(untiling.whole(made, tiles, data, most=100))
    other = predictions.canonical_order(untiling.whole(made.take(np.array(order)), tiles, data, most=100))

    for name in ("image", "label", "box", "score"):
        assert np.array_equal(getattr(first, name), getattr(other, name))


def test_other_tiles_are_refused() -> None:
    data = truth([[0, 0, 5, 5]])
    tiles, _ = cut(data, TWO)
    other = dataclasses.replace(data, images=dataclasses.replace(data.images, file=("images/other.png",)))

    with pytest.raises(DatasetError, match="tiles of the test split"):
        untiling.whole(Predictions.none(), tiles, other, most=7)


def test_latency_is_that_of_whole_pictures() -> None:
    data = truth([[0, 0, 5, 5], [0, 0, 5, 5]], image=[0, 1])
    tiles, _ = cut(data, Tiling(size=150, overlap=0.2))
    assert len(tiles.images) == 4

    assert untiling.latency([1, 2, 3, 4], tiles, data, 0.5) == [3.25, 7.25]
    assert untiling.latency([1.0], tiles, data, 0.5) == []


# On disk.


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Root of a normalized dataset of pictures of 600 x 400 px, with defects on seams and a long scratch."""
    raw = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(5)
    images, annotations = [], []
    for number in range(14):
        pixels = rng.normal(120, 3, (400, 600))
        marks = [] if number % 4 == 3 else _marks(rng, number)
        for x, y, w, h in marks:
            pixels[y : y + h, x : x + w] += 80
            annotations.append({
                "id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "bbox": [x, y, w, h],
                "area": w * h, "iscrowd": 0, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            })  # fmt: skip
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(raw / f"part{number}.png")
        images.append({"id": number + 1, "file_name": f"part{number}.png", "width": 600, "height": 400})
    text = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "scratch"}]}
    (raw / "wafers.json").write_text(json.dumps(text))
    return normalize(raw / "wafers.json", images=raw, out=tmp_path_factory.mktemp("wafers") / "dataset").root


def _marks(rng, number):
    """Two small marks, and on each second picture a scratch across most of it: no two near each other."""
    small = [(int(rng.integers(20, 560)), y, 16, 12) for y in (40, 300)]
    return [*small, (60, 180, 480, 10)] if number % 2 else small


def test_tiles_are_a_dataset_like_any_other(large, tmp_path) -> None:
    how = Tiling(size=256, defect_free=0.5)
    root = tiling.make(large, tmp_path / "tiles", how)

    told = tiling.story(root)
    assert told.tiling == how
    first_id = 1
    for split in coco.splits(large):
        whole, tiles = coco.load(large, split), coco.load(root, split)
        assert tiles.images.id.tolist() == list(range(first_id, first_id + len(tiles.images)))
        first_id += len(tiles.images)
        of, window = untiling.places(tiles, whole)
        assert (tiles.images.group == whole.images.group[of]).all()
        for row in range(0, len(tiles.images), 5):
            x0, y0, x1, y1 = window[row].tolist()
            shown = read(whole.root / whole.images.file[of[row]])[y0:y1, x0:x1]
            assert np.array_equal(read(root / tiles.images.file[row]), shown)
        every = sum(len(windows(600, 400, how)) for _ in whole.images.file)
        assert len(tiles.images) + told.splits[split].left_out == every
        assert told.splits[split].defect_free == tiles.defect_free.sum()
        assert set(of.tolist()) == set(range(len(whole.images))) or split == "train"
        defective = len(np.unique(tiles.defects.image[tiles.defects.counts]))
        if split == "train":
            assert tiles.defect_free.sum() == np.ceil(0.5 * defective)
        else:
            assert told.splits[split].left_out == 0
        assert tiles.fingerprint == coco.describe(root).splits[split].fingerprint
    with pytest.raises(DatasetError, match="whole pictures"):
        normalize(root, images=None, out=tmp_path / "again")


def test_tiles_are_made_once_and_by_their_content(large, tmp_path) -> None:
    how = Tiling(size=256)
    root = tiling.make(large, tmp_path, how)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    assert tiling.make(large, tmp_path, how) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert tiling.make(large, tmp_path, Tiling(size=256, overlap=0.3)) != root
    elsewhere = tiling.make(large, tmp_path / "elsewhere", how)
    for path in root.rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (elsewhere / path.relative_to(root)).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_tiles_are_refused_where_parts_are_judged(large, tmp_path) -> None:
    root = tiling.make(large, tmp_path, Tiling(size=256))

    with pytest.raises(DatasetError, match="tiles of another dataset"):
        tiling.make(root, tmp_path, Tiling(size=64))
    with pytest.raises(DatasetError, match="tiles of another dataset"):
        comparing.prepare(comparing.Source(path=root), tmp_path / "out", Console())
    with pytest.raises(DatasetError, match="tiles of another dataset"):
        comparing.normalized(root, tmp_path / "runs" / "a-0")


@pytest.mark.parametrize(
    ("how", "where"),
    [
        (Tiling(size=8), "--tile"),
        (Tiling(size=64, overlap=0.0), "--tile-overlap"),
        (Tiling(size=64, overlap=0.99), "--tile-overlap"),
        (Tiling(size=64, min_visible=1.5), "--tile-min-visible"),
        (Tiling(size=64, defect_free=float("nan")), "--tile-defect-free"),
    ],
)
def test_what_can_not_be_asked_of_a_tiling(how, where) -> None:
    with pytest.raises(ConfigError) as refused:
        tiling.check(how)
    assert [fault.where for fault in refused.value.faults] == [where]


def test_details_without_a_size_and_tiles_for_nobody_are_refused(large, tmp_path) -> None:
    run = tool("compare.py", large, "--out", tmp_path / "out", "--tile-overlap", "0.3", "--tile-min-visible", "0.1")
    assert run.returncode == 2
    assert "--tile-overlap" in run.stderr
    assert "--tile-min-visible" in run.stderr
    with pytest.raises(ConfigError, match="--tile"):
        comparing.run(
            comparing.Source(path=large), tmp_path / "out", detectors=[], given=[f"a={ROOT / 'README.md'}"],
            judging=comparing.Judging(), cut=Tiling(size=64),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_tiled_and_whole_are_not_compared_unless_asked() -> None:
    how = tiling.words(Tiling(size=640))
    tiled, whole = (contender(name, entry=changed(name, tiling=said)) for name, said in (("a", how), ("b", "none")))

    with pytest.raises(NotComparable, match="tiling"):
        contract.check([tiled, whole])
    (said,) = contract.check([tiled, whole], allow=True)
    assert said.startswith("tiling differs")
    assert contract.check([tiled, contender("c", entry=changed("c", tiling=how))]) == []
    assert tiling.words(Tiling(size=640, overlap=0.3)) != how


def tool(name, *arguments):
    """A tool's run."""
    command = [sys.executable, f"tools/{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


def test_a_comparison_on_tiles_judges_whole_pictures(large, tmp_path) -> None:
    out = tmp_path / "out"
    command = ("compare.py", large, "--out", out, "--detectors", "configs/baseline/classical.yaml", "--tile", "256",
               "--set", "epochs=3", "--resamples", "200", "--no-fiftyone")  # fmt: skip
    run = tool(*command)

    assert run.returncode == 0, run.stderr
    test = coco.load(large, "test")
    home = out / "runs" / "classical-0"
    said = home / "predictions" / "test"
    manifest = msgspec.json.decode((said / "manifest.json").read_bytes(), type=job.Manifest)
    assert manifest.tiling == tiling.words(Tiling(size=256))
    assert manifest.dataset_fingerprint == test.fingerprint
    assert manifest.images == len(test.images)
    figures = json.loads((out / "comparison.json").read_text())
    assert figures["dataset"]["images"]["test"] == len(test.images)
    assert figures["dataset"]["defects"]["test"] == len(test.defects)
    rate = figures["detectors"][0]["test"]["fn_rate"]["rate"]
    assert rate["of"] == len(test.defects)
    # High contrast and little noise: what the baseline misses here, it lost at a seam.
    told = predictions.read(said / "predictions.json", test)
    assert missed(test, told) == 0
    judged = matching.evaluate(test, told)
    assert judged.matching.iou.min() > 0.7
    assert told.region is not None
    assert [region.width for region in told.region] == [600] * len(told)

    stamps = {path: path.stat().st_mtime_ns for path in [*(out / "tiles").rglob("*"), *home.rglob("*")]}
    run = tool(*command)
    assert run.returncode == 0, run.stderr
    assert "trained before, kept" in run.stderr
    assert {path: path.stat().st_mtime_ns for path in [*(out / "tiles").rglob("*"), *home.rglob("*")]} == stamps

    before = (said / "predictions.json").read_bytes()
    run = tool("predict.py", large, home, "--split", "test")
    assert run.returncode == 0, run.stderr
    assert (said / "predictions.json").read_bytes() == before
    run = tool("predict.py", large, home, "--split", "train")
    assert run.returncode == 0, run.stderr
    train = coco.load(large, "train")
    assert missed(train, predictions.read(home / "predictions" / "train" / "predictions.json", train)) == 0
