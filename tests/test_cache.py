"""Kept columns are the file's own, or they are not used."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest

from defect_detect.data import cache, coco, column_file, kept
from defect_detect.tables import Category, Dataset
from tests import scenes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DEFECT_DETECT_CACHE", raising=False)
    monkeypatch.setattr(cache, "LEAST", 1)
    return tmp_path / "cache" / "defect-detect"


class Reading:
    """Counts how often a file is truly read."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, path: Path, code: str = "1", *, verify: bool = False) -> bytes:
        def build(raw: bytes) -> np.ndarray:
            self.times += 1
            return np.frombuffer(raw, np.uint8)

        found = cache.through(
            path, code, build=build, pack=lambda made: {"text": made}, unpack=lambda c: c["text"], verify=verify
        )
        return found.tobytes()


def written(path: Path, content: bytes, *, age: float = 10.0) -> Path:
    path.write_bytes(content)
    stamp = time.time() - age
    os.utime(path, (stamp, stamp))
    return path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands so far ahead that files written now were left alone for long."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 60)


@pytest.mark.usefixtures("later")
def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")

    assert [read(path), read(path), read(path)] == [b"content"] * 3
    assert read.times == 1


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", [b"CONTENT", b"longer content", b""])
def test_a_changed_file_is_read_again(content: bytes, tmp_path: Path) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")
    read(path)
    path.write_bytes(content)

    assert read(path) == content


@pytest.mark.usefixtures("later")
def test_another_content_of_the_same_size_and_mtime_is_read(tmp_path: Path) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")
    facts = path.stat()
    read(path)
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert path.stat().st_mtime_ns == facts.st_mtime_ns
    assert read(path) == b"CONTENT"


def frozen(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """The file's stamp no longer moves, as within one tick of a coarse clock."""
    stamp = cache._stamp(path)
    monkeypatch.setattr(cache, "_stamp", lambda _: stamp)


def test_a_young_file_is_believed_by_its_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content", age=0)
    frozen(monkeypatch, path)
    read(path)
    assert (read(path), read.times) == (b"content", 1)
    path.write_bytes(b"CONTENT")

    assert read(path) == b"CONTENT"
    assert (read(path), read.times) == (b"CONTENT", 2)


def test_what_was_kept_of_a_young_file_stays_in_doubt_until_it_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content", age=0)
    frozen(monkeypatch, path)
    read(path)
    path.write_bytes(b"CONTENT")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 60)

    assert read(path) == b"CONTENT"
    assert (read(path), read.times) == (b"CONTENT", 2)


@pytest.mark.usefixtures("later")
def test_on_request_the_content_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")
    frozen(monkeypatch, path)
    read(path, verify=True)
    assert (read(path, verify=True), read.times) == (b"content", 1)
    path.write_bytes(b"CONTENT")

    assert read(path, verify=True) == b"CONTENT"


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("place", ["start", "head", "middle", "end", "cut", "empty", "other"])
def test_a_damaged_or_foreign_kept_file_is_read_past_and_replaced(place: str, tmp_path: Path, home: Path) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content" * 50)
    read(path)
    (kept_file,) = home.iterdir()
    whole = kept_file.read_bytes()
    at = {"start": 3, "head": 40, "middle": len(whole) - 200, "end": len(whole) - 9}.get(place)
    broken = {"cut": whole[:-16], "empty": b"", "other": b"some other file\n" * 20}
    kept_file.write_bytes(broken[place] if at is None else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])

    assert (read(path), read.times) == (b"content" * 50, 2)
    assert (read(path), read.times) == (b"content" * 50, 2)


@pytest.mark.usefixtures("later")
def test_columns_that_other_code_made_are_not_believed(tmp_path: Path) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")
    read(path, "1")
    read(path, "2")

    assert read.times == 2


@pytest.mark.usefixtures("later")
def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    read, path = Reading(), written(tmp_path / "a", b"content")

    assert [read(path), read(path)] == [b"content"] * 2
    assert read.times == 2


@pytest.mark.usefixtures("later")
def test_it_can_be_turned_off_and_leaves_small_files_alone(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, path = Reading(), written(tmp_path / "a", b"content")
    monkeypatch.setattr(cache, "LEAST", 8)
    read(path)
    monkeypatch.setattr(cache, "LEAST", 1)
    monkeypatch.setenv("DEFECT_DETECT_CACHE", "off")
    read(path)

    assert read.times == 2
    assert not home.exists()


@pytest.mark.usefixtures("later")
def test_the_longest_unused_go_and_nothing_half_written_stays(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, paths = Reading(), [written(tmp_path / name, name.encode() * 100) for name in "abc"]
    home.mkdir(parents=True)
    written(home / "left.part", b"half", age=5 * 3600)
    read(paths[0])
    written(next(home.glob("*.columns")), next(home.glob("*.columns")).read_bytes(), age=100)
    monkeypatch.setattr(cache, "_MOST", 2 * next(home.glob("*.columns")).stat().st_size)
    read(paths[1])
    read(paths[2])

    assert [path.suffix for path in home.iterdir()] == [".columns"] * 2
    read(paths[1])
    assert read.times == 3


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, home: Path) -> None:
    path = written(tmp_path / "a", b"content")

    def build(raw: bytes) -> bytes:
        path.write_bytes(b"changed")
        return raw

    cache.through(path, "1", build=build, pack=lambda _: {"x": np.zeros(1)}, unpack=lambda _: b"kept")

    assert not home.exists()


@pytest.mark.parametrize("dtype", ["O", "V8"])
def test_only_plain_values_are_read(dtype: str, tmp_path: Path) -> None:
    note = cache._Note(path="", code="", stamp=cache._Stamp(size=1, mtime=1, ctime=1, inode=1, device=1), sha256="")
    content = column_file.encode(note, {"x": np.zeros(2)})
    (tmp_path / "x").write_bytes(content.replace(b"\xa3<f8", b"\xa3" + dtype.ljust(3).encode()))

    with pytest.raises((ValueError, TypeError)):
        column_file.read(tmp_path / "x", cache._Note)


def same(one: Dataset, other: Dataset) -> None:
    assert dataclasses.replace(one, images=other.images, defects=other.defects) == other
    for mine, theirs in ((one.images, other.images), (one.defects, other.defects)):
        for field in dataclasses.fields(mine):
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            if field.name == "attribute":
                assert a.keys() == b.keys()
                assert all(a[name].dtype == b[name].dtype and a[name].tolist() == b[name].tolist() for name in a)
            elif isinstance(a, np.ndarray):
                assert (a.dtype, a.shape, a.tolist()) == (b.dtype, b.shape, b.tolist())
                assert not b.flags.writeable
            else:
                assert a == b


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("defects", [0, 40])
def test_a_split_comes_back_as_it_was_loaded(
    defects: int, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, _ = scenes.scene(1, images=7, defects=defects)
    images = dataclasses.replace(
        truth.images,
        source_id=tuple("abcdefg"),
        attribute={"line": np.array(list("xyzxyzx")), "lot": np.arange(7), "wet": np.arange(7) > 3},
    )
    truth = dataclasses.replace(truth, root=tmp_path, images=images, scale=12.5, unit="mm")
    names = [name.removeprefix("images/") for name in truth.images.file]
    coco.write(truth, coco.Origin(sha256=["0" * 64] * 7, source_split=["test"] * 7, source_file=names))
    loaded = coco.load(tmp_path, truth.split)
    assert len(list(home.iterdir())) == 1
    monkeypatch.setattr(coco, "decoded", None)

    same(loaded, coco.load(tmp_path, truth.split))


def test_ids_beyond_numbers_and_severities_are_kept(tmp_path: Path) -> None:
    truth, _ = scenes.scene(1, images=2, defects=3)
    categories = tuple(Category(id=c.id, name=c.name, source_id=2**63, severity="major") for c in truth.categories)
    defects = dataclasses.replace(truth.defects, source_id=(2**63, "x", 5))
    truth = dataclasses.replace(truth, root=tmp_path, categories=categories, defects=defects)
    columns = kept.pack(truth)
    assert columns is not None

    same(truth, kept.unpack(tmp_path, columns))


def test_regions_are_not_kept() -> None:
    truth, _ = scenes.scene(1, masks=True)

    assert kept.pack(truth) is None
