"""Loading and normalizing a COCO file beside `pycocotools.COCO(file)`, and YOLO labels beside ultralytics' converter.

    python benchmarks/normalization.py [--images 100000] [--runs 3]

Each work runs in a process of its own, in turn, on one thread; CPU seconds (user and system) and peak memory. The
pictures are hard links to a file of one byte, and what a decoder would say of each (size, hashes) is put into the cache
beforehand: looking at pictures is timed apart, on real ones. "judge" goes from the file to sound columns by every rule,
with each picture's place and facts in hand, as `COCO(file)` never opens one; "tables" goes on to the three splits in
memory, pictures looked up below their folder and their facts taken from the cache; "complete" is `normalize`, with
copies and files written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

from defect_detect.data import asked, assemble, categories, intake, listing, lookup, pictures, remarks, source
from defect_detect.data.repairs import Log

WIDTH, HEIGHT, CLASSES, DEFECTS = 1024, 768, 6, 4
_OUTLINE = np.array([(0, 0.5), (0.2, 0.1), (0.5, 0), (0.8, 0.15), (1, 0.5), (0.8, 0.9), (0.5, 1), (0.2, 0.85)])
_MOST_LINKS = 30_000


def make(folder: Path, images: int, *, polygons: bool = False, dirty: float = 0.0) -> None:
    """`all.json` with DEFECTS annotations an image on average, 30 % of the images empty.

    Of a share `dirty` of the annotations one thing is wrong: an id as text, no area, past the edge, iscrowd missing.
    """
    rng = np.random.default_rng(images)
    folder.mkdir(parents=True)
    count = images * DEFECTS
    image = rng.choice(np.flatnonzero(rng.random(images) >= 0.3), count)
    size = np.round(rng.uniform(4, 200, (count, 2)), 2)
    corner = np.round(rng.uniform(0, 1, (count, 2)) * (WIDTH - 201, HEIGHT - 201), 2)
    wrong = np.where(rng.random(count) < dirty, rng.integers(1, 5, count), 0).tolist()
    label = rng.integers(1, CLASSES + 1, count).tolist()
    rings = np.round(corner[:, None] + size[:, None] * _OUTLINE, 2).reshape(count, -1).tolist() if polygons else []
    annotations = []
    for at, ((x, y), (w, h)) in enumerate(zip(corner.tolist(), size.tolist(), strict=True)):
        entry = {
            "id": at + 1, "image_id": int(image[at]) + 1, "category_id": label[at], "bbox": [x, y, w, h],
            "area": round(w * h * 0.6, 2), "iscrowd": 0, "segmentation": [rings[at]] if polygons else [],
        }  # fmt: skip
        if wrong[at] == 1:
            entry["id"] = str(at + 1)
        elif wrong[at] in (2, 4):
            del entry["area" if wrong[at] == 2 else "iscrowd"]
        elif wrong[at] == 3 and not polygons:
            entry["bbox"] = [WIDTH - 50.5, y, 60.0 + w, h]
        annotations.append(entry)
    listed = [{"id": n + 1, "file_name": f"part_{n:06d}.png", "width": WIDTH, "height": HEIGHT} for n in range(images)]
    categories = [{"id": n + 1, "name": f"class {n}"} for n in range(CLASSES)]
    content = {"info": {}, "licenses": [], "images": listed, "annotations": annotations, "categories": categories}
    (folder / "all.json").write_text(json.dumps(content))


def link(folder: Path, images: int) -> None:
    """The pictures, and the cache that knows them."""
    import hashlib

    from defect_detect.data import known
    from defect_detect.data.decoding import Facts

    there = folder / "images"
    there.mkdir()
    first = there
    for at in range(images):
        path = there / f"part_{at:06d}.png"
        if at % _MOST_LINKS == 0:
            path.write_bytes(b"x")
            first = path
        else:
            path.hardlink_to(first)
    stamps = {str(path.resolve()): known.stamp(str(path)) for path in there.iterdir()}
    digest = {path: hashlib.sha256(path.encode()).hexdigest() for path in stamps}
    size = (WIDTH, HEIGHT)
    known.remember(
        stamps,
        {path: Facts(*size, stored=size, sha256=each, shown=each, sketch=each[:32]) for path, each in digest.items()},
    )


class _Known(lookup.Folder):
    """A folder that has all pictures."""

    def has_all(self, names: Sequence[str]) -> bool:
        return len(names) > 0


def _judged(kind: str, file: Path) -> float:
    """Read, and judge unless `kind` is `parse`; the time when it began."""
    picture = pictures.Picture(file="", width=WIDTH, height=HEIGHT, stored=(WIDTH, HEIGHT))
    started = time.process_time()
    log = Log()
    read = source.read("", file, log)
    if read is None:
        raise SystemExit("not read")
    if kind != "parse":
        listings = [listing.collect(0, read, _Known(Path()), None, log)]
        classes = categories.collect([read], {}, log)
        remarks.remark(read, log)
        facts = dict.fromkeys((entry.name for entry in listings[0].entries), picture)
        intake.take([read], listings, facts, classes, log)
        if kind == "strict":
            log.check(strict=True)
    return started


def _tables(file: Path) -> float:
    """As `normalize` does it, up to the splits; the time when it began."""
    started = time.process_time()
    options = asked.Options(
        group=None, pattern=None, alike=None, fold=None, scale=None, unit="px", severity={}, accept_below={}, seed=0
    )
    log, root = Log(), file.parent / "images"
    read = source.read("", file, log)
    if read is None:
        raise SystemExit("not read")
    listings = [listing.collect(0, read, lookup.Folder(root), None, log)]
    listing.refuse_twins(listings, log)
    classes = categories.collect([read], {}, log)
    remarks.remark(read, log)
    names = sorted(entry.name for entry in listings[0].entries)
    facts = pictures.measured(names, pictures.examine(root, names))
    taken = intake.take([read], listings, facts, classes, log)
    if len(assemble.assemble(taken, classes, options, name="all", log=log)) != len(source.SPLITS):
        raise SystemExit(str(log.faults))
    return started


def work(kind: str, folder: Path) -> None:
    """One work, in this process; prints its CPU seconds and the process's peak memory in MiB."""
    file = folder / "all.json"
    if kind == "pycocotools":
        from pycocotools.coco import COCO

        started = time.process_time()
        COCO(str(file))
    elif kind in ("judge", "strict", "parse"):
        started = _judged(kind, file)
    elif kind == "tables":
        started = _tables(file)
    elif kind == "complete":
        from defect_detect.data.normalize import normalize

        shutil.rmtree(folder / "out", ignore_errors=True)
        started = time.process_time()
        normalize(file, images=folder / "images", out=folder / "out")
    elif kind == "convert_coco":
        from ultralytics.data.converter import convert_coco

        started = time.process_time()
        convert_coco(str(folder / "coco"), str(folder / "theirs"), use_segments=False, cls91to80=False)
        spent = time.process_time() - started
        shutil.rmtree(folder / "theirs")
        started = time.process_time() - spent
    elif kind == "yolo_folder":
        from defect_detect.data import coco, yolo_folder

        started = time.process_time()
        data = coco.load(folder / "coco", "train", verify=True)
        yolo_folder.labels(data, yolo_folder.name_pictures(data), folder / "ours", segment=False)
        spent = time.process_time() - started
        shutil.rmtree(folder / "ours")
        started = time.process_time() - spent
    else:
        raise SystemExit(f"no such work: {kind}")
    seconds = time.process_time() - started
    # Not ru_maxrss, which begins at what the parent had.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps([seconds, int(peak.split()[1]) / 1024]))


def measured(kind: str, folder: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--work", kind, "--folder", str(folder)], capture_output=True, text=True, check=True
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def compare(title: str, kinds: tuple[str, ...], folder: Path, runs: int, *, of: str) -> dict[str, float]:
    """Median CPU seconds of each kind; prints them beside those of `of`, paired by run."""
    found = [{kind: measured(kind, folder) for kind in kinds} for _ in range(runs)]
    print(f"\n{title}")
    for kind in kinds:
        seconds = statistics.median(run[kind][0] for run in found)
        ratio = statistics.median(run[of][0] / run[kind][0] for run in found)
        peak = statistics.median(run[kind][1] for run in found)
        memory = statistics.median(run[kind][1] / run[of][1] for run in found)
        print(f"{kind:14} {seconds:7.2f} s  {ratio:5.2f} x as fast as {of}  {peak:6.0f} MiB, {memory:4.2f} of its")
    return {kind: statistics.median(run[kind][0] for run in found) for kind in kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--complete", action="store_true", help="also the whole of normalize")
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder)
        return
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "msgspec", "pycocotools", "ultralytics")))
    images, runs = arguments.images, arguments.runs
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        make(root / "boxes", images)
        make(root / "small", images // 10)
        make(root / "polygons", images, polygons=True)
        make(root / "dirty", images, dirty=0.01)
        clean = compare("boxes only", ("pycocotools", "judge", "parse"), root / "boxes", runs, of="pycocotools")
        print(f"rules take {clean['judge'] / clean['parse'] - 1:.2f} of the time of parsing")
        compare("polygons", ("pycocotools", "judge"), root / "polygons", runs, of="pycocotools")
        dirty = compare("dirty, 1 in 100", ("pycocotools", "judge"), root / "dirty", runs, of="pycocotools")
        print(f"dirty against clean: {dirty['judge'] / clean['judge']:.2f}")
        small = compare("a tenth of the size", ("pycocotools", "judge"), root / "small", runs, of="pycocotools")
        print(f"exponent: {math.log10(clean['judge'] / small['judge']):.2f}")
        if arguments.complete:
            link(root / "boxes", images)
            kinds = ("pycocotools", "tables", "complete")
            compare("with pictures, headers cached", kinds, root / "boxes", runs, of="pycocotools")
        looked_at(root / "headers")
    # In memory where that is possible: on a disk, files cost what the disk is up to.
    memory = Path("/dev/shm")  # noqa: S108 - a benchmark's own files
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folders(Path(name) / "yolo", min(images, 5000), runs)


def looked_at(folder: Path, count: int = 1000) -> None:
    """What it costs to look at real pictures (decoded whole, hashed), and to find them in the cache."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{at}.{'jpg' if at % 2 else 'png'}" for at in range(count)]
    for name in names:
        shades = rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        Image.fromarray(shades).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / name)
    print(f"\nlooking at {count:,} pictures of {WIDTH} x {HEIGHT} px, half PNG and half JPEG")
    for what in ("first", "cached"):
        before, started = _spent(), time.perf_counter()
        if any(each.broken for each in pictures.examine(folder, names)):
            raise SystemExit("a picture that can't be read")
        took, wall = (_spent() - before) / count, (time.perf_counter() - started) / count
        print(f"{what:8} {took * 1000:.3f} ms of CPU a picture, {wall * 1000:.3f} ms on {os.cpu_count()} cores")


def _spent() -> float:
    """CPU seconds of this process and its children that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def folders(folder: Path, images: int, runs: int) -> None:
    """Label files of boxes: ours and ultralytics'; pictures are copied by neither."""
    sys.path.insert(0, str(Path(__file__).parent))
    import generated

    folder.mkdir()
    (folder / "made").mkdir()
    generated.make(folder / "made", images)
    (folder / "coco").mkdir()
    text = (folder / "made" / "test.json").read_text().replace('"split": "test"', '"split": "train"', 1)
    (folder / "coco" / "train.json").write_text(text)
    compare(f"YOLO labels of {images:,} images", ("convert_coco", "yolo_folder"), folder, runs, of="convert_coco")


if __name__ == "__main__":
    main()
