"""Segmentations: what passes the check is what pycocotools means by it, and nothing else passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from defect_detect import geometry
from defect_detect.data.regions import MalformedError, decode_counts, encode_counts, from_coco, parse, to_coco
from defect_detect.tables import Polygons, Rle

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))).filter(np.any)


def runs_of(mask: Any) -> list[int]:
    runs, colour, length = [], False, 0
    for pixel in mask.flatten(order="F").tolist():
        if pixel != colour:
            runs.append(length)
            colour, length = pixel, 0
        length += 1
    return [*runs, length]


@settings(deadline=None)
@given(mask=masks)
def test_run_lengths_have_the_bytes_of_pycocotools(mask: Any) -> None:
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert decode_counts(coded) == runs_of(mask)
    assert encode_counts(runs_of(mask)) == coded


@settings(deadline=None)
@given(mask=masks)
def test_compressed_and_uncompressed_run_lengths_are_one_region(mask: Any) -> None:
    height, width = mask.shape
    size = [height, width]
    plain, _ = parse({"size": size, "counts": runs_of(mask)}, width, height)
    packed, _ = parse({"size": size, "counts": encode_counts(runs_of(mask)).decode()}, width, height)
    assert plain == packed
    assert plain is not None
    assert (geometry.to_mask(plain, width, height) == mask).all()
    assert from_coco(to_coco(plain)) == plain


@settings(deadline=None)
@given(mask=masks, data=st.data())
def test_runs_of_zero_change_nothing(mask: Any, data: st.DataObject) -> None:
    height, width = mask.shape
    runs = runs_of(mask)
    at = data.draw(st.integers(1, len(runs)))
    padded = [*runs[:at], 0, 0, *runs[at:]]
    assert parse({"size": [height, width], "counts": padded}, width, height) == parse(
        {"size": [height, width], "counts": runs}, width, height
    )


@settings(deadline=None)
@given(text=st.text(st.characters(max_codepoint=200), max_size=20))
def test_any_text_is_a_mask_of_the_right_size_or_refused(text: str) -> None:
    try:
        region, _ = parse({"size": [4, 5], "counts": text}, 5, 4)
    except MalformedError:
        return
    assert isinstance(region, Rle)
    assert geometry.to_mask(region, 5, 4).any()


@settings(deadline=None)
@given(corners=st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), min_size=3, max_size=6))
def test_polygons_past_the_edge_cover_the_same_pixels_inside(corners: list[tuple[int, int]]) -> None:
    flat = [float(value) for corner in corners for value in corner]
    try:
        region, repairs = parse([flat], 40, 40)
    except MalformedError:
        return
    assert isinstance(region, Polygons)
    for ring in region.rings:
        assert ring.min() >= 0
        assert ring.max() <= 40
    # The whole polygon, drawn on a larger picture and cut to this one.
    whole = Polygons(rings=(np.array(flat).reshape(-1, 2) + 40,))
    expected = geometry.to_mask(whole, 120, 120)[40:80, 40:80]
    differing = np.logical_xor(geometry.to_mask(region, 40, 40), expected).sum()
    assert differing <= (0 if not repairs else 3 * 40)


def test_nothing_is_no_region() -> None:
    for empty in (None, [], [[]], {}):
        assert parse(empty, 5, 4) == (None, [])


@pytest.mark.parametrize(
    "segmentation",
    [
        5, "abc", [[1, 2, 3]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5, None]], [["1", 2, 3, 4, 5, 6]],
        [[1, 2, 3, 4, 5, 1e9]], [[1, 2, 3, 4, 5, float("inf")]], [[1, 2, 3, 4, 5, 10**400]], [[50, 50, 60, 50, 60, 60]],
        [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], [list(range(200_002))], [True, False, True, False, True, False],
        {"size": [4, 5]}, {"counts": [20]}, {"size": [4, 5], "counts": [20]}, {"size": [4, 5], "counts": [10, 9]},
        {"size": [4, 5], "counts": [-5, 25]}, {"size": [5, 4], "counts": [10, 10]}, {"size": [4, 5], "counts": ""},
        {"size": [4, 5], "counts": [10.0, 10.0]}, {"size": [2 * 10**9, 2 * 10**9], "counts": "0"},
        {"size": [4, 5], "counts": "\u00e9"}, {"size": [4, 5], "counts": "P" * 40}, {"size": [4, 5], "counts": "o"},
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(segmentation: object) -> None:
    with pytest.raises(MalformedError):
        parse(segmentation, 5, 4)
