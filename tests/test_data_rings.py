"""Rings of many regions at once: the compiled loops and NumPy say the same, and nothing is taken on trust."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data.crossing import crossing
from defect_detect.data.drawn import Drawn, Rings
from defect_detect.data.extents import extents
from defect_detect.tables import Polygons, Rle

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
BOW = [(0, 0), (4, 4), (4, 0), (0, 4)]
SLIT = [(0, 0), (9, 0), (9, 9), (5, 9), (5, 6), (6, 6), (6, 3), (3, 3), (3, 6), (5, 6), (5, 9), (0, 9)]
compiled = native.compiled
both = pytest.mark.skipif(compiled is None, reason="the extension was not built")


def columns(rings):
    """Corners and ends of rings."""
    corners = np.array([point for ring in rings for point in ring], float).reshape(-1, 2)
    return corners, np.cumsum([len(ring) for ring in rings]).astype(np.int64)


def pure(function, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "compiled", None)
        return function(*arguments)


coarse = st.integers(0, 6).map(float)
fine = st.floats(-1e3, 1e3, width=32)
many_coarse = st.lists(st.tuples(coarse, coarse), min_size=3, max_size=40)
points = st.one_of(many_coarse, st.lists(st.tuples(fine, fine), min_size=3, max_size=9))


def test_a_bow_crosses_itself_and_a_slit_to_a_hole_does_not():
    corners, end = columns([SQUARE, BOW, SLIT, SQUARE[:3]])
    assert crossing(corners, end).tolist() == [False, True, False, False]
    assert pure(crossing, corners, end).tolist() == [False, True, False, False]


def test_a_long_ring_is_looked_at_whole():
    turn = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    ring = np.stack([50 + 40 * np.cos(turn), 500 + 400 * np.sin(turn)], axis=1)
    knot = ring.copy()
    knot[[900, 1100]] = knot[[1100, 900]]
    corners, end = columns([ring, knot])
    assert crossing(corners, end).tolist() == [False, True]
    assert pure(crossing, corners, end).tolist() == [False, True]


@both
@settings(deadline=None)
@given(rings=st.lists(points, min_size=1, max_size=6))
@example(rings=[[(0.0, 0.0)] * 3, [(1.0, 1.0)] * 5])
def test_crossing_is_the_same_compiled(rings):
    corners, end = columns(rings)
    assert crossing(corners, end).tolist() == pure(crossing, corners, end).tolist()


@both
def test_what_is_too_tangled_counts_as_sound_in_both():
    rng = np.random.default_rng(0)
    fan = np.stack([np.tile([0.0, 100.0], 600), np.sort(rng.random(1200)) * 90], axis=1)
    corners, end = columns([fan, BOW])
    assert crossing(corners, end).tolist() == pure(crossing, corners, end).tolist()


@both
@settings(deadline=None)
@given(rings=st.lists(points, min_size=1, max_size=6), cut=st.integers(1, 6))
def test_extents_are_the_same_compiled(rings, cut):
    corners, end = columns(rings)
    first = np.array([0, cut] if cut < len(rings) else [0], np.int64)
    many = np.diff(first, append=len(rings)).astype(np.int64)
    around, outline = extents(corners, end, first, many)
    again, other = pure(extents, corners, end, first, many)
    assert np.array_equal(around, again)
    assert np.allclose(outline, other, rtol=1e-12, atol=0)
    assert around[0, :2].tolist() == corners[: end[many[0] - 1]].min(axis=0).tolist()


@both
@pytest.mark.parametrize("end", [[5], [3], [-1, 4], [3, 2], [4, 9], []])
def test_ends_that_do_not_fit_are_refused(end):
    corners = np.zeros((4, 2))
    with pytest.raises(ValueError, match="ring"):
        compiled.crossing(corners, np.array(end, np.int64), np.zeros(len(end), np.bool_))


@both
@pytest.mark.parametrize(("first", "many"), [(-1, 1), (2, 1), (0, 3), (1, 2), (0, 0), (0, -1), (1, 2**62)])
def test_rings_that_are_not_there_are_refused(first, many):
    corners, end = columns([SQUARE, BOW])
    rows = (np.array([first], np.int64), np.array([many], np.int64))
    with pytest.raises(ValueError, match="ring"):
        compiled.extents(corners, end, *rows, np.empty((1, 4)), np.empty(1))


@both
def test_columns_of_another_kind_are_refused():
    corners, end = columns([SQUARE])
    with pytest.raises((TypeError, ValueError)):
        compiled.crossing(corners.astype(np.float32), end, np.zeros(1, np.bool_))
    with pytest.raises((TypeError, ValueError)):
        compiled.crossing(corners, end, np.zeros(2, np.bool_))
    with pytest.raises(TypeError):
        compiled.crossing(corners, end)
    with pytest.raises((TypeError, ValueError)):
        compiled.extents(corners, end, end * 0, end * 0 + 1, np.empty((2, 4)), np.empty(1))


def drawn():
    """A square, nothing, a bow and a square as columns; run lengths, nothing and a bow as objects."""
    corners, end = columns([SQUARE, BOW, SQUARE])
    first, many = np.array([0, 0, 1], np.int64), np.array([1, 0, 2], np.int64)
    columns_ = Drawn.of_columns(Rings(corners, end), np.array([True, False, True]), first, many)
    rle, bow = Rle(height=2, width=2, counts=b"04"), Polygons(rings=(np.array(BOW, float),))
    return Drawn.joined([columns_, Drawn.of_objects([rle, None, bow]), columns_])


def told(region):
    if region is None:
        return None
    return region.counts if isinstance(region, Rle) else [ring.tolist() for ring in region.rings]


def test_regions_come_out_as_they_went_in():
    square, bow = (np.array(ring, float).tolist() for ring in (SQUARE, BOW))
    expected = [[square], None, [bow, square], b"04", None, [bow], [square], None, [bow, square]]
    regions = drawn()
    assert [told(region) for region in regions] == expected
    assert [told(regions[at]) for at in range(len(regions))] == expected
    assert [told(region) for region in regions[2:6]] == expected[2:6]
    assert regions.there.tolist() == [each is not None for each in expected]
    turned = np.array([8, 3, 0, 5])
    assert [told(region) for region in regions.take(turned)] == [expected[at] for at in turned.tolist()]


def test_crossing_regions_are_named_wherever_they_stand():
    assert drawn().crossing().tolist() == [False, False, True, False, False, True, False, False, True]
    assert drawn().take(np.array([1, 3, 5])).crossing().tolist() == [False, False, True]
