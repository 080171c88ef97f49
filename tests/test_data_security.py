"""A dataset is a stranger's: it can't reach outside its folder, exhaust the machine, or take the run down."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detect import geometry
from defect_detect.data import decoders, known, pictures, pixels, polygons
from defect_detect.data.decoding import Facts, Task
from defect_detect.data.normalize import normalize
from defect_detect.data.regions import MalformedError, parse
from defect_detect.errors import DatasetError
from tests import exports
from tests.exports import clean, run


@pytest.fixture(name="images")
def _images(tmp_path: Path) -> Path:
    return exports.pictures(tmp_path / "data" / "images")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png", "a/../../secret.png", "..\\secret.png", "%2e%2e/secret.png", "/../secret.png",
        "C:\\..\\secret.png", "file:///x/../../secret.png", "p1.png\0.txt", "p1\n.png", "\ud800.png", "x" * 5000,
    ],
)  # fmt: skip
def test_names_that_lead_out_or_can_be_no_name_are_refused(name: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "secret.png").write_bytes((images / "p1.png").read_bytes())
    content = clean()
    content["images"][0]["file_name"] = name
    with pytest.raises(DatasetError, match="expected a name below"):
        run(content, images, tmp_path / "run")


@pytest.mark.parametrize("name", ["secret.png", "\\\\host\\share\\secret.png", "//host/share/secret.png"])
def test_absolute_names_mean_nothing_outside_the_folder(name: str, images: Path, tmp_path: Path) -> None:
    secret = tmp_path / "data" / "secret.png"
    secret.write_bytes((images / "p1.png").read_bytes())
    content = clean()
    content["images"][0]["file_name"] = str(secret) if name == "secret.png" else name
    made = run(content, images, tmp_path / "run")
    (what,) = made.content.images.dropped
    assert what.startswith("picture missing")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_that_lead_out_are_refused(kind: str, images: Path, tmp_path: Path) -> None:
    outside = exports.pictures(tmp_path / "outside")
    content = clean()
    if kind == "file":
        (images / "link.png").symlink_to(outside / "p1.png")
        content["images"][0]["file_name"] = "link.png"
    else:
        (images / "more").symlink_to(outside)
        content["images"][0]["file_name"] = "more/p1.png"
    with pytest.raises(DatasetError, match="a link that leads out"):
        run(content, images, tmp_path / "run")


def test_links_that_stay_inside_are_copied_as_files(images: Path, tmp_path: Path) -> None:
    (images / "store").mkdir()
    (images / "p1.png").rename(images / "store" / "blob")
    (images / "p1.png").symlink_to("store/blob")
    made = run(clean(), images, tmp_path / "run")
    assert made.content.images.kept == 6
    assert not any(path.is_symlink() for path in made.root.rglob("*"))


def test_the_search_for_a_missing_picture_does_not_follow_links(images: Path, tmp_path: Path) -> None:
    outside = exports.pictures(tmp_path / "outside")
    (outside / "p1.png").rename(outside / "x1.png")
    (images / "more").symlink_to(outside)
    content = clean()
    content["images"][0]["file_name"] = "x1.png"
    assert run(content, images, tmp_path / "run").content.images.dropped == {"picture missing": 1}


def test_the_users_files_stay_as_they_are_and_are_shared_with_nobody(images: Path, tmp_path: Path) -> None:
    Image.new("CMYK", (60, 40)).save(images / "p7.jpg")
    content = clean()
    content["images"].append({"id": 7, "file_name": "p7.jpg", "width": 60, "height": 40})

    def state() -> dict[Path, tuple[object, ...]]:
        return {
            path: (hashlib.sha256(path.read_bytes()).hexdigest(), facts.st_mtime_ns, facts.st_mode, facts.st_nlink)
            for path in sorted(images.rglob("*.*")) for facts in [path.stat()]
        }  # fmt: skip

    before = state()
    made = run(content, images, tmp_path / "run")
    assert state() == before
    for path in (made.root / "images").iterdir():
        path.write_bytes(b"somebody mends it in place")
    assert state() == before


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG of some hundred bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)))


def test_decompression_bombs_are_refused_by_their_header(images: Path, tmp_path: Path) -> None:
    bomb(images / "p6.png", 50_000, 50_000)
    made = run(clean(), images, tmp_path / "run")
    assert made.content.images.quarantined == 1
    assert made.content.images.dropped == {"picture unreadable: too many pixels": 1}


def test_absurd_declared_sizes_allocate_nothing(images: Path, tmp_path: Path) -> None:
    content = clean()
    for image in content["images"]:
        image.update(width=2**31, height=2**31)
    content["annotations"][0]["segmentation"] = {"size": [2**31, 2**31], "counts": "0"}
    started = time.process_time()
    made = run(content, images, tmp_path / "run")
    assert time.process_time() - started < 5
    assert {"declared size that no picture can have", "wrong size"} <= {each.what for each in made.repairs}
    content["images"][0]["file_name"] = "gone.png"
    with pytest.raises(DatasetError):
        run(content, tmp_path / "data", tmp_path / "none", accept_below={"x": 1})


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4, 5, float("nan")]], [[1, 2, 3, 4, 5, 1e300]], [[1, 2, 3, 4, 5, float("inf")]],
        [[0, 0, 1e7, 0, 1e7, 1e7]], [[1, 2, 3, 4, 5, 10**400]],
        [np.random.default_rng(0).uniform(0, 600, 200_000).tolist()],
        [np.random.default_rng(0).uniform(0, 600, 80_000).tolist()],
        {"size": [600, 600], "counts": [0] * 2_000_000}, {"size": [600, 600], "counts": "0" * 20_000_000},
        {"size": [600, 600], "counts": "b'" + "(" * 100_000 + "'"}, {"size": [600, 600], "counts": [10**30, -(10**30)]},
        {"size": [2**31, 2**31], "counts": "0"}, {"size": [0, 0], "counts": []},
    ],
    ids=range(13),
)  # fmt: skip
def test_hostile_regions_end_in_python_and_soon(segmentation: object) -> None:
    started = time.process_time()
    with pytest.raises(MalformedError):
        parse(segmentation, 600, 600)
    assert time.process_time() - started < 1


def test_the_worst_polygon_that_passes_is_rasterized_in_bounded_time() -> None:
    across = [value for k in range(300) for value in (0.0, 2 * k, 599.0, 2 * k + 0.5)]
    region, _ = parse([across], 600, 600)
    assert region is not None
    started = time.process_time()
    geometry.to_rle(region, 600, 600)
    assert time.process_time() - started < 5
    assert polygons.MAX_OUTLINE * 5 * 8 < 2**30  # what pycocotools allocates for an outline


FAKE = """
import hashlib, os, sys, time, json
for line in sys.stdin:
    import base64
    path = base64.b64decode(json.loads(line)[0]).decode()
    if "crash" in path: os.abort()
    if "hang" in path: time.sleep(60)
    if "babble" in path: print("hello", flush=True); continue
    print(json.dumps([60, 40, [60, 40], "", "", hashlib.sha256(path.encode()).hexdigest(), ""]), flush=True)
"""


@pytest.fixture(name="fake")
def _fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(decoders, "COMMAND", (sys.executable, str(tmp_path / "fake.py")))
    monkeypatch.setattr(decoders, "PATIENCE", 3.0)


@pytest.mark.usefixtures("fake")
def test_a_picture_that_crashes_its_decoder_costs_itself_only() -> None:
    names = [f"p{n}.png" for n in range(40)]
    names[3] = names[17] = names[39] = "crash.png"
    names[5], names[6] = "hang.png", "babble.png"
    with decoders.Decoders(len(names)) as pool:
        found = pool.look([Task(name.encode()) for name in names])
    broken = {name: facts.broken for name, facts in zip(names, found, strict=True) if facts.broken}
    assert broken == {
        "crash.png": "it crashed its decoder (exit status -6)", "hang.png": "its decoder did not end in 3 s",
        "babble.png": "its decoder answered nonsense",
    }  # fmt: skip
    assert sum(not facts.broken for facts in found) == 35


@pytest.mark.usefixtures("fake")
def test_the_run_goes_on_without_it(images: Path, tmp_path: Path) -> None:
    (images / "p6.png").rename(images / "crash.png")
    content = clean()
    content["images"][5]["file_name"] = "crash.png"
    made = run(content, images, tmp_path / "run")
    assert made.content.images.dropped == {"picture unreadable: it crashed its decoder": 1}
    assert made.content.images.kept == 5


def test_post_script_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DatasetError, match="found not one"):
        pixels.header(path)


def test_what_is_known_of_a_picture_ends_with_the_picture(images: Path) -> None:
    (before,) = pictures.examine(images, ["p1.png"])
    path = images / "p1.png"
    facts = path.stat()
    assert known.recall({str(path): known.stamp(str(path))}) == {str(path): before}
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == size
    (after,) = pictures.examine(images, ["p1.png"])
    assert after.broken


def test_nothing_is_kept_where_the_user_says_so(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFECT_DETECT_CACHE", "off")
    pictures.examine(images, ["p1.png"])
    assert known.recall({str(images / "p1.png"): known.stamp(str(images / "p1.png"))}) == {}


def test_a_damaged_memory_is_no_fault(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFECT_DETECT_CACHE", str(tmp_path / "cache"))
    pictures.examine(images, ["p1.png"])
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(b"no database at all" * 100)
    assert pictures.examine(images, ["p1.png"])[0].width == 60
    monkeypatch.setenv("DEFECT_DETECT_CACHE", str(images / "p1.png"))
    assert isinstance(pictures.examine(images, ["p2.png"])[0], Facts)


def test_a_picture_that_changes_while_it_is_copied_stops_the_run(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter(range(10**6))
    monkeypatch.setattr(pictures.known, "stamp", lambda _: str(next(stamps)))
    with pytest.raises(DatasetError, match="changed while it was copied"):
        run(clean(), images, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["export.json"]


def test_an_input_is_normalized_without_writing_beside_it(images: Path, tmp_path: Path) -> None:
    before = sorted(path for path in (tmp_path / "data").rglob("*"))
    made = run(clean(), images, tmp_path / "run")
    normalize(made.root, images=None, out=tmp_path / "again")
    assert sorted(path for path in (tmp_path / "data").rglob("*")) == before
