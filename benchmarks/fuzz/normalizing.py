"""Feed normalization whatever a coverage-guided fuzzer makes up: nothing but the project's errors may come out.

    python -m pip install atheris
    python benchmarks/fuzz/normalizing.py CORPUS -max_total_time=1800

Each input is three things in one, told apart by its first byte: the bytes of a JSON file; a clean dataset
with some fields replaced by made-up values; a segmentation alone. What is kept must keep the promises:
finite boxes inside their pictures, books that balance, and no repairs when it is normalized again (each
50th time, for it writes files). CORPUS is a folder for the inputs that reached new code; a crash leaves
its input as crash-* in the working directory. Needs Linux on x86-64; atheris is no dependency.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["defect_detect.data"]):
    from defect_detect.data import coco, normalize, parsing
    from defect_detect.data.regions import MalformedError, parse
    from defect_detect.errors import DatasetError, InputError

import numpy as np
from PIL import Image

from defect_detect import geometry

MEMORY = Path("/dev/shm")  # noqa: S108 - thousands of small files, each gone at once
SCRATCH = Path(tempfile.mkdtemp(prefix="defect-detect-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
os.environ["DEFECT_DETECT_CACHE"] = str(SCRATCH / "cache")
SIZE = (60, 40)
FIELDS = [
    "id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation", "file_name", "width",
    "height", "name", "supercategory", "group", "attributes", "keypoints", "severity", "source_id",
]  # fmt: skip
TEXTS = [
    "p1.png", "P2.PNG", "./p3.png", "C:\\x\\p4.png", "/data/p5.png", "p%31.png", "../p1.png", "p1", "._p1.png", "1",
    "1.0", "", " ", "nan", "b'PP'", "\ud800", "\0",
]  # fmt: skip
NUMBERS = [
    0, 1, 2, -1, 60, 40, 0.5, 1e300, -1e300, float("nan"), float("inf"), 2**31, 2**53, 2**63, 2**64, 10**400, 1e-300,
]  # fmt: skip


def clean() -> dict[str, list[dict[str, object]]]:
    """Six pictures, ten defects, two classes."""
    return {
        "images": [
            {"id": n, "file_name": f"p{n}.png", "width": SIZE[0], "height": SIZE[1], "group": f"g{n}"}
            for n in range(1, 7)
        ],
        "annotations": [
            {
                "id": n, "image_id": 1 + n % 5, "category_id": 1 + n % 2, "bbox": [5 + n, 6, 20, 10], "area": 200,
                "iscrowd": 0, "segmentation": [[5 + n, 6, 25 + n, 6, 25 + n, 16, 5 + n, 16]],
            }
            for n in range(1, 11)
        ],
        "categories": [{"id": 1, "name": "pit"}, {"id": 2, "name": "scratch", "supercategory": "pit"}],
    }  # fmt: skip


def value(data: atheris.FuzzedDataProvider, depth: int = 0) -> object:
    """Any JSON value, with a liking for those that hurt."""
    kind = data.ConsumeIntInRange(0, 9 if depth < 3 else 6)
    if kind < 7:
        simple = (
            lambda: data.PickValueInList(NUMBERS),
            lambda: data.ConsumeIntInRange(-100, 100),
            data.ConsumeFloat,
            lambda: data.PickValueInList(TEXTS),
            lambda: data.ConsumeUnicode(12),
            lambda: data.PickValueInList([None, True, False]),
            lambda: [data.ConsumeIntInRange(-5, 70) for _ in range(data.ConsumeIntInRange(0, 10))],
        )
        return simple[kind]()
    if kind == 7:
        return [value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 8))]
    if kind == 8:
        sides = data.PickValueInList([[40, 60], [60, 40], [0, 0], [2**31, 2**31]])
        return {"size": sides, "counts": value(data, depth + 1)}
    return {data.PickValueInList(FIELDS): value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))}


def spoilt(data: atheris.FuzzedDataProvider) -> bytes:
    """A clean dataset with some of its fields replaced."""
    content = clean()
    for _ in range(data.ConsumeIntInRange(1, 6)):
        table = content[data.PickValueInList(["images", "annotations", "categories"])]
        if not table:
            continue
        at = data.ConsumeIntInRange(0, len(table) - 1)
        action = data.ConsumeIntInRange(0, 9)
        if action == 0:
            table[at] = value(data)  # type: ignore[assignment]
        elif action == 1:
            table.append(json.loads(json.dumps(table[at])))
        elif action == 2:
            del table[at]
        elif action == 3:
            field, made = data.PickValueInList(FIELDS), value(data)
            for entry in table:
                if isinstance(entry, dict):
                    entry[field] = made
        elif isinstance(table[at], dict):
            table[at][data.PickValueInList(FIELDS)] = value(data)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def pictures() -> None:
    (SCRATCH / "images").mkdir()
    for number in range(1, 7):
        noise = np.random.default_rng(number).integers(0, 255, SIZE[::-1], dtype=np.uint8)
        Image.fromarray(noise).save(SCRATCH / "images" / f"p{number}.png")


def check_normalizing(raw: bytes, number: int) -> None:
    (SCRATCH / "export.json").write_bytes(raw)
    out, again = SCRATCH / f"out{number}", SCRATCH / f"again{number}"
    try:
        made = normalize.normalize(SCRATCH / "export.json", images=SCRATCH / "images", out=out)
    except DatasetError:
        assert not out.exists()
        return
    try:
        for split in coco.splits(made.root):
            loaded = coco.load(made.root, split)
            box, size = loaded.defects.box, loaded.images.size[loaded.defects.image]
            assert np.isfinite(box).all()
            assert (box[:, :2] >= 0).all()
            assert (box[:, 2:] <= size).all()
            assert (box[:, 2:] > box[:, :2]).all()
        if number % 50 == 0:
            second = normalize.normalize(out, images=None, out=again)
            changed = [repair for repair in second.repairs if repair.action != "noted"]
            assert not changed, changed
    finally:
        for folder in (out, again):
            remove(folder)


def check_region(data: atheris.FuzzedDataProvider) -> None:
    width, height = data.ConsumeIntInRange(1, 80), data.ConsumeIntInRange(1, 80)
    box = (1.0, 1.0, 9.0, 9.0) if data.ConsumeBool() else None
    made = value(data)
    if data.ConsumeBool():
        made = {"size": [height, width], "counts": data.ConsumeUnicode(60)}
    try:
        region, _ = parse(made, width, height, box=box)
    except MalformedError:
        return
    if region is not None:
        assert geometry.to_mask(region, width, height).shape == (height, width)


def remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


class Fuzz:
    """One input after the other; counts them."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, raw: bytes) -> None:
        """Try the input, in the way that its first byte says."""
        self.number += 1
        kind, rest = raw[:1], raw[1:]
        if kind < b"\x40":
            check_normalizing(rest, self.number)
        elif kind < b"\xa0":
            check_normalizing(spoilt(atheris.FuzzedDataProvider(rest)), self.number)
        elif kind < b"\xe0":
            check_region(atheris.FuzzedDataProvider(rest))
        else:
            try:
                parsing.parse(rest, where="fuzz", error=InputError)
            except InputError:
                return


def main() -> None:
    pictures()
    arguments = sys.argv
    corpus = next((Path(each) for each in arguments[1:] if not each.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        (corpus / "clean").write_bytes(b"\x00" + json.dumps(clean()).encode())
    atheris.Setup(arguments, Fuzz())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
