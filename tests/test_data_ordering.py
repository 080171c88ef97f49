"""The order that defects are written in, and the compiled twin of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defect_detect import native
from defect_detect.data.drawn import Drawn
from defect_detect.data.ordering import by_content, ordered
from defect_detect.data.sound import Sound
from defect_detect.tables import Floats, Ints

Row = tuple[int, int, tuple[float, ...], float, bool, bool]
few = st.integers(0, 2)
side = st.sampled_from([-0.0, 0.0, 1.5, 2.0])
rows = st.lists(st.tuples(few, few, st.tuples(side, side, side, side), side, st.booleans(), st.booleans()), max_size=40)
NOTHING: dict[str, int] = {}


def columns(listed: list[Row]) -> tuple[Ints, Ints, Floats]:
    image, label = np.array([each[:2] for each in listed], np.int64).reshape(-1, 2).T
    return image, label, np.array([each[2] for each in listed], np.float64).reshape(-1, 4)


@settings(deadline=None)
@given(listed=rows)
def test_rows_stand_as_a_stable_sort_puts_them(listed: list[Row]) -> None:
    image, label, box = columns(listed)
    keys = [(each[0], each[1], *each[2]) for each in listed]
    turn = sorted(range(len(keys)), key=keys.__getitem__)
    again = [at > 0 and keys[turn[at]] == keys[turn[at - 1]] for at in range(len(turn))]
    with pytest.MonkeyPatch.context() as patch:
        for compiled in {native.compiled, None}:
            patch.setattr(native, "compiled", compiled)
            found = ordered(image, 3, label, box)
            assert (found[0].tolist(), found[1].tolist()) == (turn, again)


@settings(deadline=None)
@given(listed=rows, place=st.lists(st.integers(-1, 5), min_size=3, max_size=3))
def test_what_is_alike_is_told_apart_by_area_flags_and_id(listed: list[Row], place: list[int]) -> None:
    image, label, box = columns(listed)
    sound = Sound(
        names=("a",), source=np.zeros(len(listed), np.int64), number=np.arange(len(listed)), image=image, label=label,
        box=box, area=np.array([each[3] for each in listed], np.float64),
        crowd=np.array([each[4] for each in listed], np.bool_), ignore=np.array([each[5] for each in listed], np.bool_),
        region=Drawn.of_objects([None] * len(listed)), source_id=1000 - np.arange(len(listed)),
        attributes=[NOTHING] * len(listed),
    )  # fmt: skip
    kept = [at for at, each in enumerate(listed) if place[each[0]] >= 0]
    wanted = sorted(kept, key=lambda at: (place[listed[at][0]], *listed[at][1:3], *listed[at][3:], -at))
    assert by_content(sound, np.array(place), regions=False).tolist() == wanted


@pytest.mark.skipif(native.compiled is None, reason="the extension was not built")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({0: np.array([0, 3])}, "place 3 in row 1"), ({0: np.array([0, -1])}, "place -1 in row 1"),
        ({0: np.zeros(2)}, "not a column"), ({1: np.zeros(3, np.int64)}, "rows of 1 were expected"),
        ({2: np.zeros((2, 3))}, "bytes where 2 rows"), ({3: -1}, "place 0 in row 0"), ({3: 2**62}, "can't be"),
        ({4: np.zeros(1, np.int64)}, "bytes where 2 rows"), ({5: np.zeros(2, np.int64)}, "not a column"),
    ],
)  # fmt: skip
def test_the_compiled_order_checks_what_it_is_given(change: dict[int, object], error: str) -> None:
    given_: list[object] = [
        np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros((2, 4)), 3, np.zeros(2, np.int64), np.zeros(2, np.bool_),
    ]  # fmt: skip
    for at, value in change.items():
        given_[at] = value
    assert native.compiled is not None
    with pytest.raises((TypeError, ValueError), match=error):
        native.compiled.order_rows(*given_)
    with pytest.raises(TypeError, match="takes 6"):
        native.compiled.order_rows()
