"""The compiled reader and matcher give what the pure path gives, to the bit, or decline."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from defect_detect import geometry, native
from defect_detect.data import coco, outlined, placing, plain, predictions, settled
from defect_detect.evaluation import kernels, matching
from defect_detect.evaluation.judged import Rule
from defect_detect.masks import Masks, areas, overlaps
from defect_detect.tables import Polygons, Rle
from tests import scenes

pytestmark = pytest.mark.skipif(native.compiled is None, reason="the extension was not built")
compiled = native.compiled
GOOD = (
    b'[{"image_id":1,"category_id":2,"bbox":[1,2.5,3e1,4],"score":0.25},'
    b' {"category_id":1,"image_id":7,"score":1,"bbox":[0,0,0.1,5]}]'
)
CODED = (
    b'[{"image_id":1,"category_id":2,"bbox":[1,2.5,3,4],"score":0.25,"segmentation":{"size":[4,3],"counts":"52201"}}]'
)


@pytest.fixture
def pure(monkeypatch):
    """A call that runs without the extension."""

    def run(function, *arguments, **named):
        with monkeypatch.context() as patch:
            patch.setattr(native, "compiled", None)
            return function(*arguments, **named)

    return run


def bits(value):
    return struct.pack("<d", value)


# Numbers


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
def test_a_float_is_read_back_exactly(value):
    assert bits(compiled.number(repr(value).encode())) == bits(value)


@settings(deadline=None)
@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})\.[0-9]{1,30}\Z"))
@example("9007199254740993.0")
@example("0." + "0" * 26 + "1")
def test_any_decimal_rounds_as_python_does(text):
    assert bits(compiled.number(text.encode())) == bits(float(text))


@pytest.mark.parametrize("seed", range(4))
def test_numbers_half_way_between_two_floats_round_as_python_does(seed):
    rng = np.random.default_rng(seed)
    for _ in range(2000):
        places = int(rng.integers(2, 8))
        # An odd number of halves of the last place of a float, written out in full.
        digits = str((2 * int(rng.integers(2**52, 2**53)) + 1) * 5**places).zfill(places + 1)
        for end in ("", "0", "1"):
            text = f"{digits[:-places]}.{digits[-places:]}{end}"
            assert bits(compiled.number(text.encode())) == bits(float(text))


@pytest.mark.parametrize(
    "text", ["", "-", "01", "1.", ".5", "1e", "+1", "0x1", "NaN", "1e999", "-0", "9007199254740992", "1 ", "1\0"]
)
def test_what_is_no_plain_number_is_declined(text):
    assert compiled.number(text.encode()) is None


# Reading


def same(one, other):
    """Equal columns of equal kinds, or equal tuples of regions, or None twice."""
    if one is None or other is None:
        return one is other
    for name in one.__dataclass_fields__:
        ours, theirs = getattr(one, name), getattr(other, name)
        if isinstance(ours, Mapping):
            continue
        if type(ours) is not type(theirs):
            return False
        if isinstance(ours, np.ndarray) and ours.dtype != theirs.dtype:
            return False
        if not np.array_equal(ours, theirs):
            return False
    return True


def test_results_are_the_pure_paths(pure):
    assert plain.scan(GOOD, None, plain._SAID_FIELDS, others=False) is not None
    assert same(plain.results(GOOD), pure(plain.results, GOOD))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[", b"]", b"null", b"{}", b"[1]", GOOD[:-1], GOOD + b"x", b"\xef\xbb\xbf" + GOOD, GOOD + b"\0",
        GOOD.replace(b"1,", b"1,,", 1), GOOD.replace(b'"score":1', b'"score":"1"'), GOOD.replace(b"0.25", b"NaN"),
        GOOD.replace(b'"score":1', b'"score":1,"score":1'), GOOD.replace(b'"score":1,', b""),
        GOOD.replace(b"2.5", b"1e400"),
        GOOD.replace(b'"score":1', b'"score":1,"more":1'), GOOD.replace(b"[1,2.5,3e1,4]", b"[1,2.5,3]"),
        GOOD.replace(b'"image_id":1', b'"image_id":true'),
        GOOD.replace(b'"image_id":1', b'"image_id":9007199254740992'),
        GOOD.replace(b'"image_id"', b'"im\\u0061ge_id"', 1), b"[" * 100_000, b'[{"image_id":' * 50_000,
    ],
    ids=range(23),
)  # fmt: skip
def test_odd_results_are_declined(text, pure):
    assert compiled.scan(text, None, tuple(plain._SAID_FIELDS.items()), False) is None
    assert same(plain.results(text), pure(plain.results, text))


@settings(deadline=None)
@given(st.data())
def test_damaged_results_never_come_out_different(data):
    text = bytearray(data.draw(st.sampled_from([GOOD, CODED])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"[", b"}", b'"', b"e9", b","])
        )
    raw = bytes(text)
    for fields in (plain._SAID_FIELDS, outlined._SAID):
        found = compiled.scan(raw, None, tuple(fields.items()), False)
        if found is not None:
            entries = json.loads(raw)
            assert [entry["score"] for entry in entries] == np.frombuffer(found[3][3]).tolist()
            assert [entry["image_id"] for entry in entries] == np.frombuffer(found[3][0], np.int64).tolist()


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_a_value_that_is_passed_over_is_json(value):
    text = json.dumps([{"a": 1, "b": value}], ensure_ascii=False)
    found = compiled.scan(text.encode("utf-8", "surrogatepass"), None, (("a", "i"), ("b", "v")), False)
    if found is not None:
        start, end = np.frombuffer(found[3][1], np.int64).tolist()
        assert json.loads(text.encode()[start:end]) == value


def split(tmp_path, *, masks):
    truth, said = scenes.scene(3, images=9, defects=30, said=80, masks=masks)
    from dataclasses import replace

    truth = replace(
        truth, root=tmp_path, images=replace(truth.images, file=tuple(f"images/{row}ä.png" for row in range(9)))
    )
    names = truth.images.file
    truth = coco.write(truth, coco.Origin(sha256=["0"] * 9, source_split=["test"] * 9, source_file=names))
    predictions.write(tmp_path / "said.json", said, truth)
    return truth


@pytest.mark.parametrize("masks", [False, True])
def test_files_are_read_the_same_both_ways(tmp_path, pure, masks):
    split(tmp_path, masks=masks)

    ours, theirs = coco.load(tmp_path, "test"), pure(coco.load, tmp_path, "test")
    said, said_too = (
        predictions.read(tmp_path / "said.json", ours),
        pure(predictions.read, tmp_path / "said.json", ours),
    )

    assert same(said, said_too)
    assert same(ours.defects, theirs.defects)
    assert same(ours.images, theirs.images)
    assert list(ours.images.attribute) == list(theirs.images.attribute)
    for name, values in ours.images.attribute.items():
        assert np.array_equal(values, theirs.images.attribute[name])


def test_a_split_with_regions_is_read_by_the_scanner(tmp_path):
    split(tmp_path, masks=True)

    assert outlined.truth((tmp_path / "test.json").read_bytes()) is not None
    assert outlined.results((tmp_path / "said.json").read_bytes()) is not None


@pytest.fixture(scope="module")
def boxes_only(tmp_path_factory):
    """The bytes of a split of boxes."""
    folder = tmp_path_factory.mktemp("boxes")
    split(folder, masks=False)
    return (folder / "test.json").read_bytes()


def test_a_split_of_boxes_is_settled_by_the_extension(tmp_path, boxes_only):
    found = settled.dataset(tmp_path, "test", boxes_only, "images")

    assert found is not None
    assert found.images.file == tuple(f"images/{row}ä.png" for row in range(9))
    assert found.images.attribute["source_file"].tolist() == [f"images/{row}ä.png" for row in range(9)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 0), ("id", 2), ("id", 2**53 - 1), ("width", 0), ("height", 2**31), ("file_name", "../a.png"),
        ("file_name", "/a.png"), ("file_name", "a//b"), ("file_name", ""), ("file_name", "a\\b"), ("file_name", "\x7f"),
        ("file_name", "1ä.png"), ("group", 3), ("source_id", "x"), ("sha256", None), ("attributes", {"a": 1}),
        ("width", 10.0), ("width", True),
    ],
)  # fmt: skip
def test_a_split_with_an_odd_picture_is_left_to_python(tmp_path, boxes_only, name, value):
    content = json.loads(boxes_only)
    content["images"][0][name] = value

    assert settled.dataset(tmp_path, "test", json.dumps(content).encode(), "images") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 0), ("id", 2), ("image_id", 99), ("image_id", -(2**52)), ("category_id", 0), ("category_id", 9),
        ("bbox", [-1, 0, 5, 5]), ("bbox", [0, 0, 0, 5]), ("bbox", [0, 0, 5, 1e6]), ("bbox", [0, 0, 5, -5]),
        ("area", -1), ("iscrowd", 2), ("ignore", -1), ("attributes", {"a": 1}), ("source_id", "x"), ("area", None),
    ],
)  # fmt: skip
def test_a_split_with_an_odd_annotation_is_left_to_python(tmp_path, boxes_only, name, value):
    content = json.loads(boxes_only)
    content["annotations"][0][name] = value

    assert settled.dataset(tmp_path, "test", json.dumps(content).encode(), "images") is None


def test_a_split_with_an_odd_head_is_left_to_python(tmp_path, boxes_only):
    raw = boxes_only
    whole = json.loads(raw)
    heads = [
        whole | {"info": whole["info"] | changed}
        for changed in ({"schema": 99}, {"split": "val"}, {"regions": True}, {"scale": -1.0}, {"normalized_by": "me"})
    ]
    heads += [whole | {"categories": whole["categories"][::-1]}, {k: v for k, v in whole.items() if k != "images"}]
    twice = raw.replace(b'"annotations":', b'"annotations": [], "annotations":')
    for text in (twice, raw[:-3], raw + b"x", b"[]", b"{}", *(json.dumps(head).encode() for head in heads)):
        assert settled.dataset(tmp_path, "test", text, "images") is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_a_damaged_split_never_comes_out_different(tmp_path, boxes_only, data):
    text = bytearray(boxes_only)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"[", b"}", b'"', b"e9", b",", b"7", b".5", b"00"])
        )
    found = settled.dataset(tmp_path, "test", bytes(text), "images")
    if found is not None:
        content = json.loads(text)
        assert [one["file_name"] for one in content["images"]] == [name[7:] for name in found.images.file]
        assert [one["id"] for one in content["annotations"]] == found.defects.id.tolist()
        assert [one["area"] for one in content["annotations"]] == found.defects.area.tolist()
        assert [one["bbox"][:2] for one in content["annotations"]] == found.defects.box[:, :2].tolist()


def test_rows_written_differently_are_read_like_those_before_them():
    # Short numbers are read in one step, all others with care; spaces and the order of keys change midway.
    values = [
        "1.25",
        "12345678.5",
        "0.000000001",
        "1e2",
        "7",
        "-0.0",
        "-3.5",
        "123456789012",
        "0.1234567",
        "0.12345678",
    ]
    rows = [
        f'{{"image_id": {i}, "category_id": 3, "bbox": [{a}, {b}, 1.5, 2], "score": {a}}}'
        for i, (a, b) in enumerate(zip(values * 9, values[::-1] * 9, strict=True))
    ]
    rows[40] = rows[40].replace(" ", "")
    rows[41] = '{"score": 0.5, "bbox": [1.0, 2.0, 3.0,  4.0], "category_id": 3, "image_id" : 41}'
    text = ("[" + ", ".join(rows) + "]").encode()
    entries = json.loads(text)

    found = compiled.scan(text, None, tuple(plain._SAID_FIELDS.items()), False)

    assert np.frombuffer(found[3][3]).tobytes() == np.array([one["score"] for one in entries], float).tobytes()
    assert np.frombuffer(found[3][2]).tobytes() == np.array([one["bbox"] for one in entries], float).tobytes()
    assert np.frombuffer(found[3][0], np.int64).tolist() == [one["image_id"] for one in entries]
    for cut in range(0, len(text), 7):
        assert compiled.scan(text[:cut], None, tuple(plain._SAID_FIELDS.items()), False) is None


@settings(deadline=None)
@given(st.lists(st.integers(-5, 300), unique=True), st.lists(st.integers(-10, 310)))
def test_rows_are_found_by_id_both_ways(known, asked):
    row = {id_: at for at, id_ in enumerate(known)}
    expected = [row[id_] for id_ in asked] if set(asked) <= row.keys() else None
    arguments = np.array(known, np.int64), np.array(asked, np.int64)
    native.compiled = None
    try:
        theirs = placing.places(*arguments)
    finally:
        native.compiled = compiled
    for found in (placing.places(*arguments), theirs):
        assert (None if found is None else found.tolist()) == expected


def test_ids_that_occur_twice_or_lie_far_apart_are_declined(pure):
    for known in ([1, 1], [1, 2**60]):
        ids = np.array(known, np.int64)
        assert placing.places(ids, ids) is None
        assert pure(placing.places, ids, ids) is None


def test_places_outside_the_text_are_refused():
    for place in ([[0, 9]], [[-1, 2]], [[2, 1]]):
        places = np.array(place)
        for call in (
            lambda places=places: compiled.texts(b"abc", places, ""),
            lambda places=places: compiled.wide(b"abc", places),
            lambda places=places: compiled.lead_inside(b"abc", places),
            lambda places=places: compiled.equal_texts(b"abc", places, places),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="outside"):
                call()


# Matching


@settings(deadline=None)
@given(scenes.scenes(), st.sampled_from([0.1, 0.5, 0.75, 1.0]), st.booleans())
def test_matchings_are_the_pure_paths(scene, iou, class_aware):
    truth, said = scene
    rule = Rule(iou=iou, class_aware=class_aware)
    ours = matching.match(truth, said, rule)
    native.compiled = None
    try:
        theirs = matching.match(truth, said, rule)
    finally:
        native.compiled = compiled
    for column in ("prediction_of", "defect_of", "absorbed", "iou", "found_at"):
        assert np.array_equal(getattr(ours, column), getattr(theirs, column)), column


def test_columns_that_do_not_fit_are_refused():
    box, no, one = np.zeros((2, 4)), np.zeros(1, np.bool_), np.zeros(2, np.int64)
    for arguments in (
        (box, box[:1], no, one, one + 5, one[:1], 0.0),  # past the end
        (box, box[:1], no, one - 1, one, one[:1], 0.0),
        (box, box[:1], no, one, one, one[:1] + 1, 0.0),  # no such defect
        (box, box, no, one, one, one[:1], 0.0),
        (box.astype(np.float32), box[:1], no, one, one, one[:1], 0.0),
        (box[:, ::-1], box[:1], no, one, one, one[:1], 0.0),  # not contiguous
        (box,),
    ):
        with pytest.raises((ValueError, TypeError, BufferError)):
            compiled.near(*arguments)
    with pytest.raises(ValueError, match="defect"):
        compiled.greedy(one, one + 1, no, np.zeros(2, np.bool_))
    assert kernels.greedy(one[:0], one[:0], no).tolist() == []


# Masks


@st.composite
def regions(draw, width, height):
    if draw(st.booleans()):
        pixels = draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
        return geometry.from_mask(np.array(pixels, np.bool_).reshape(height, width))
    point = st.tuples(st.floats(0, width), st.floats(0, height))
    rings = draw(st.lists(st.lists(point, min_size=3, max_size=7), min_size=1, max_size=3))
    return Polygons(rings=tuple(np.array(ring) for ring in rings))


@settings(deadline=None)
@given(st.data())
def test_masks_overlap_as_pycocotools_has_it(data):
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    listed = data.draw(st.lists(regions(width, height), min_size=1, max_size=4))
    crowd = np.array([data.draw(st.booleans()) for _ in listed])
    masks = Masks(region=listed, size=np.tile([[width, height]], (len(listed), 1)))
    row, other = (place.ravel() for place in np.indices((len(listed),) * 2))
    rles = [geometry.to_rle(one, width, height) for one in listed]
    expected = geometry.mask_iou(rles, rles, crowd.tolist())

    assert masks.stretches is not None
    assert overlaps(masks, masks, row, other, crowd).tolist() == expected.ravel().tolist()
    assert areas(masks).tolist() == [geometry.region_area(one) for one in rles]


@pytest.mark.parametrize("seed", range(3))
def test_large_masks_overlap_as_pycocotools_has_it_both_ways(seed, pure):
    rng = np.random.default_rng(seed)
    listed = []
    for _ in range(30):
        centre, radius = rng.uniform(50, 400, 2), rng.uniform(5, 150)
        angle = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 60)))
        ring = np.clip(centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1), 0, (500, 450))
        listed.append(
            Polygons(rings=(ring,)) if rng.random() < 0.5 else geometry.to_rle(Polygons(rings=(ring,)), 500, 450)
        )
    size = np.tile([[500, 450]], (30, 1))
    row, other = (place.ravel() for place in np.indices((30, 30)))
    crowd = rng.random(30) < 0.3
    rles = [geometry.to_rle(one, 500, 450) for one in listed]
    expected = geometry.mask_iou(rles, rles, crowd.tolist()).ravel().tolist()

    ours = overlaps(Masks(region=listed, size=size), Masks(region=listed, size=size), row, other, crowd)
    theirs = pure(overlaps, Masks(region=listed, size=size), Masks(region=listed, size=size), row, other, crowd)

    assert ours.tolist() == expected
    assert theirs.tolist() == expected


def test_the_areas_of_many_masks_do_not_overflow():
    # pycocotools' own `area` of a list raises OverflowError past 255 masks on NumPy 2.4.
    rle = geometry.from_mask(np.ones((20, 30), np.bool_))
    size = np.tile([[30, 20]], (300, 1))

    assert areas(Masks(region=[rle] * 300, size=size)).tolist() == [600.0] * 300


@pytest.mark.parametrize("counts", [b"", b"1", b"\xff", b"o" * 40, b"0P0", b"~", b"_1", b"1\0", b"Z"])
def test_malformed_run_lengths_are_left_to_python(counts):
    assert compiled.canonical_counts(counts, 12) is None
    assert compiled.stretches([Rle(height=4, width=3, counts=counts)], np.array([[3, 4]]), Rle) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_only_run_lengths_just_as_we_write_them_pass(runs):
    from defect_detect.data import regions as checked

    text = checked.encode_counts(runs)
    area = compiled.canonical_counts(text, sum(runs))

    assert area == (sum(runs[1::2]) if all(runs[1:]) else None)
    assert compiled.canonical_counts(text, sum(runs) + 1) is None
    if area is not None and sum(runs):
        assert coco_mask.area({"size": [1, sum(runs)], "counts": text}) == area


def test_rle_of_another_size_goes_to_pycocotools():
    rle = geometry.from_mask(np.ones((4, 3), np.bool_))

    assert Masks(region=[rle], size=np.array([[4, 3]])).stretches is None
