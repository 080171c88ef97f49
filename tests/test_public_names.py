"""What `defect_detect` offers is what it lists."""

import defect_detect


def test_every_listed_name_is_there() -> None:
    for name in defect_detect.__all__:
        assert getattr(defect_detect, name).__name__ in (name, "read")


def test_nothing_else_is_listed() -> None:
    assert sorted(defect_detect.__all__) == defect_detect.__all__ == sorted(defect_detect._HOME)
    assert not hasattr(defect_detect, "no_such_name")
