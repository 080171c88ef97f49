"""Near-duplicate pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defect_detect.data.similar import BITS, _near, similar
from defect_detect.errors import DatasetError


def texture(seed: int, side: int = 120) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 220, (10, 10)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def save(path: Path, picture: np.ndarray, **options: int) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


def test_repeats_are_found_and_others_kept_apart(tmp_path: Path) -> None:
    part, other = texture(1), texture(2)
    files = [
        save(tmp_path / "part.png", part),
        save(tmp_path / "other.png", other),
        save(tmp_path / "again.jpg", part, quality=40),
        save(tmp_path / "brighter.png", np.clip(part.astype(int) + 12, 0, 255).astype(np.uint8)),
        save(tmp_path / "moved.png", np.roll(part, 1, axis=1)),
        save(tmp_path / "larger.png", np.asarray(Image.fromarray(part).resize((200, 200)))),
    ]
    group = similar(files)
    assert set(group[[2, 3, 4, 5]]) == {group[0]}
    assert group[1] != group[0]


def test_pictures_of_one_grey_are_like_no_other(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{grey}.png", np.full((64, 64), grey, np.uint8)) for grey in (0, 0, 255)]
    files.append(save(tmp_path / "copy.png", np.zeros((64, 64), np.uint8)))
    assert len(set(similar(files))) == 4


def test_no_picture_is_no_group() -> None:
    assert len(similar([])) == 0


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.png"
    path.write_text("no")
    with pytest.raises(DatasetError, match=r"no\.png"):
        similar([path])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 40), limit=st.integers(0, BITS))
def test_pairs_are_those_of_counting_bits(seed: int, rows: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.random((rows, BITS)) < rng.choice([0.02, 0.5])
    found = {tuple(pair) for block in _near(bits, limit) for pair in block.T.tolist()}
    expected = {(a, b) for a in range(rows) for b in range(a + 1, rows) if (bits[a] != bits[b]).sum() <= limit}
    assert found == expected
