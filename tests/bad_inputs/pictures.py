"""Pictures and masks."""

# ruff: noqa: ARG005 - a row may put something else in the place of what it is given
from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests import exports
from tests.bad_inputs.cases import Case, Place, normalizing

W, H = exports.WIDTH, exports.HEIGHT


def _picture(  # noqa: PLR0917 - rows read as lines of a table
    name: str, spoil: Callable[[Path], object], outcome: str, says: str, kept: tuple[int, int] = (5, 8), at: int = 0,
    **fields: Any,
) -> Case:  # fmt: skip
    """The picture of one entry is spoilt; the entry may get other fields."""

    def given(place: Place) -> list[object]:
        content = exports.clean()
        content["images"][at].update(fields)
        path = place.file("export.json", content)
        spoil(exports.pictures(path.parent / "images") / f"p{at + 1}.png")
        return ["normalize", path, "--out", place.out]

    return Case(
        kind="images", name=name, given=given, outcome=outcome, says=says, kept=None if outcome == "refused" else kept
    )


def _written(raw: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(raw)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


def _saved(mode: str, *, form: str = "PNG", **options: Any) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        noise = np.random.default_rng(9).integers(0, 255, (H, W, 4), dtype=np.uint8)
        Image.fromarray(noise, "RGBA").convert("RGB").convert(mode).save(path, form, **options)

    return save


def _deep(path: Path) -> None:
    Image.fromarray(np.arange(W * H, dtype=np.uint16).reshape(H, W) * 27).save(path, "PNG")


def _turned(path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(9).integers(0, 255, (W, H), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(path, "JPEG", exif=exif)


def _pages(path: Path) -> None:
    pages = [Image.fromarray(np.full((H, W), n, np.uint8)) for n in (9, 99)]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])


def _bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def _broken_pixels(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 40] = bytes(40)
    path.write_bytes(bytes(raw))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_out(path: Path) -> None:
    path.unlink()
    (path.parents[2] / "secret.png").write_bytes(b"secret")
    path.symlink_to(path.parents[2] / "secret.png")


PICTURES = (
    _picture("missing", Path.unlink, "quarantined", "picture missing"),
    _picture("empty", _written(b""), "quarantined", "an empty file"),
    _picture("HTML called .png", _written(b"<!DOCTYPE html><html></html>"), "quarantined", "an HTML page"),
    _picture("Git LFS pointer",
         _written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "quarantined",
             "picture unreadable"),
    _picture("text", _written(b"hello"), "quarantined", "picture unreadable"),
    _picture("cut off", _cut, "quarantined", "picture unreadable"),
    _picture("corrupt in the middle", _broken_pixels, "quarantined", "picture unreadable"),
    _picture("PostScript", _written(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\nshowpage\n"), "quarantined",
             "picture unreadable"),
    _picture("decompression bomb", _bomb, "quarantined", "picture unreadable"),
    _picture("a folder", _folder, "quarantined", "picture"),
    _picture("16 bits", _deep, "noted", "16-bit", (6, 10)),
    _picture("CMYK", _saved("CMYK", form="JPEG"), "noted", "CMYK", (6, 10)),
    _picture("palette", _saved("P"), "noted", "palette", (6, 10)),
    _picture("alpha", _saved("RGBA"), "noted", "alpha", (6, 10)),
    _picture("EXIF orientation", _turned, "noted", "EXIF", (6, 10)),
    _picture("several pages", _pages, "noted", "several pages", (6, 10)),
    _picture("one pixel", lambda p: Image.new("L", (1, 1)).save(p), "refused", "resized"),
    _picture("name that leads out", lambda p: None, "refused", "file_name", file_name="../secret.png"),
    _picture("link that leads out", _link_out, "refused", "file_name"),
    _picture("name with NUL", lambda p: None, "refused", "file_name", file_name="p\0.png"),
    _picture("name with a line break", lambda p: None, "refused", "file_name", file_name="p\n1.png"),
    _picture("name of 300 characters", lambda p: None, "quarantined", "picture missing", file_name="x" * 300),
    _picture("name is nothing", lambda p: None, "quarantined", "", file_name=""),
    _picture("name is a number", lambda p: None, "quarantined", "", file_name=7),
    _picture("name of another machine", lambda p: None, "repaired", "another machine", (6, 10),
         file_name="C:\\d\\p1.png"),
    _picture("name in another case", lambda p: None, "repaired", "case", (6, 10), file_name="P1.PNG"),
    _picture("name with %31", lambda p: None, "repaired", "", (6, 10), file_name="p%31.png"),
    _picture("name as a URL", lambda p: None, "repaired", "", (6, 10), file_name="https://host/a/p1.png"),
)  # fmt: skip


def _mask(name: str, segmentation: object, outcome: str, says: str, left: int = 10) -> Case:
    def change(content: exports.Content) -> None:
        content["annotations"][0]["segmentation"] = segmentation

    return normalizing("masks", name, change, outcome, says, (6, left))


def _rle(counts: object, size: object = (H, W)) -> dict[str, object]:
    return {"size": list(size) if isinstance(size, tuple) else size, "counts": counts}


_HUGE = [0.0, 0.0, 1e7, 0.0, 1e7, 1e7]
_MANY = np.random.default_rng(0).uniform(0, 40, 200_000).round(2).tolist()
MASKS = (
    _mask("polygon of NaN", [[1, 2, 3, 4, 5, float("nan")]], "quarantined", "not finite", 9),
    _mask("polygon of infinity", [[1, 2, 3, 4, 5, float("inf")]], "quarantined", "not finite", 9),
    _mask("polygon of 1e300", [[1, 2, 3, 4, 5, 1e300]], "quarantined", "malformed region", 9),
    _mask("polygon of 10^400", [[1, 2, 3, 4, 5, 10**400]], "quarantined", "malformed region", 9),
    _mask("polygon to 1e7", [_HUGE], "quarantined", "far outside", 9),
    _mask("polygon of 100,000 points", [_MANY], "quarantined", "too many points", 9),
    _mask("polygon of odd length", [[6, 6, 26, 6, 26, 16, 6]], "quarantined", "odd number", 9),
    _mask("polygon of two points", [[6, 6, 26, 16]], "quarantined", "fewer than 3", 9),
    _mask("polygon as text", "6,6,26,6,26,16", "quarantined", "malformed region", 9),
    _mask("polygon with text", [["6", 6, 26, 6, 26, 16]], "quarantined", "malformed region", 9),
    _mask("polygon nested too deep", [[[[6, 6]]]], "quarantined", "malformed region", 9),
    _mask("polygon outside", [[600, 600, 610, 600, 610, 610]], "quarantined", "malformed region", 9),
    _mask("polygon flat", [6, 6, 26, 6, 26, 16, 6, 16], "repaired", "flat polygon"),
    _mask("polygon of pairs", [[[6, 6], [26, 6], [26, 16], [6, 16]]], "repaired", "point pairs"),
    _mask("polygon past the edge", [[6, 6, 26, 6, 26, 16, 6, 16], [50, 30, 70, 30, 70, 38]], "quarantined", "", 9),
    _mask("polygon that crosses itself", [[6, 6, 26, 16, 26, 6, 6, 16]], "noted", "crosses itself"),
    _mask("run lengths too short", _rle([100, 5]), "quarantined", "add up", 9),
    _mask("run lengths too long", _rle([2400, 2400]), "quarantined", "add up", 9),
    _mask("run lengths negative", _rle([2500, -100]), "quarantined", "negative", 9),
    _mask("run lengths of another size", _rle([0, 4], (2, 2)), "quarantined", "another size", 9),
    _mask("run lengths of 65536 x 65536", _rle("0", (65536, 65536)), "quarantined", "another size", 9),
    _mask("run lengths of size 0", _rle([], (0, 0)), "quarantined", "malformed region", 9),
    _mask("run lengths of size text", _rle([2400], "40x60"), "quarantined", "malformed region", 9),
    _mask("run lengths cut off", _rle("Pb0"), "quarantined", "malformed region", 9),
    _mask("run lengths with bad letters", _rle("\x7f\x00~~"), "quarantined", "malformed region", 9),
    _mask("run lengths not ASCII", _rle("é0"), "quarantined", "not ASCII", 9),
    _mask("run lengths null", _rle(None), "quarantined", "malformed region", 9),
    _mask("run lengths of floats", _rle([0.5, 2399.5]), "quarantined", "malformed region", 9),
    _mask("run lengths of 10^30", _rle([10**30, -(10**30)]), "quarantined", "malformed region", 9),
    _mask("run lengths without a pixel", _rle([2400]), "quarantined", "malformed region", 9),
    _mask("run lengths without end", _rle([0] * 6000), "quarantined", "malformed region", 9),
)  # fmt: skip
CASES = (*PICTURES, *MASKS)
