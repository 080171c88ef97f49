"""From COCO files to the number of missed defects at 101 score thresholds: ours beside every peer, equal answers.

python benchmarks/evaluation.py [--images 1000 5000 20000 100000] [--runs 5]

Also: three detectors on one ground truth, reloading a ground truth from kept columns, growth of time and memory
with the number of images, and what `--help` of each tool takes.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import generated
import judges
import numpy as np

from defect_detect import native
from defect_detect.data import cache, coco

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS")
PACKAGES = ("numpy", "msgspec", *judges.PACKAGES)
OURS, COMPILED, THREE = "ours, pure Python", "ours, compiled", "ours, three detectors"


BUILT = native.compiled


def with_compiled(root: Path, *names: str) -> list[list[int]]:
    with compiled(on=True):
        return judges.ours(root, *names)


@contextmanager
def compiled(*, on: bool) -> Iterator[None]:
    """Use the compiled loops, or don't; they are looked up where they are used."""
    before = native.compiled
    native.compiled = BUILT if on else None
    try:
        yield
    finally:
        native.compiled = before


def contenders(images: int) -> dict[str, Callable[[Path], list[int]]]:
    """Who is measured at that size, each as a function of the folder that gives the curve of detector `a`."""
    listed: dict[str, Callable[[Path], list[int]]] = {
        OURS: lambda root: judges.ours(root, "a")[0],
        THREE: lambda root: judges.ours(root, *generated.DETECTORS)[0],
    }
    if BUILT is not None:
        listed[COMPILED] = lambda root: with_compiled(root, "a")[0]
    for name, judge in judges.PEERS.items():
        if images <= judges.LARGEST.get(name, images):
            listed[name] = lambda root, judge=judge: judge(root, "a")  # type: ignore[misc]
    return listed


def seconds(work: Callable[[Path], Any], root: Path) -> tuple[float, Any]:
    """CPU seconds, user and system, of all threads of this process, and the answer."""
    gc.collect()
    started = time.process_time()
    answer = judges.quietly(work, root)
    return time.process_time() - started, answer


def race(root: Path, images: int, runs: int) -> dict[str, list[float]]:
    """Everybody in turn, `runs` times after one that doesn't count."""
    field = contenders(images)
    taken: dict[str, list[float]] = {name: [] for name in field}
    expected = None
    for run in range(runs + 1):
        for name, work in field.items():
            took, curve = seconds(work, root)
            expected = expected or curve
            assert curve == expected, f"{name} counts other misses"
            if run:
                taken[name].append(took)
    return taken


def reload(root: Path, runs: int) -> float:
    """CPU seconds to load the ground truth again from its kept columns, the median."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CACHE_HOME"] = home
        del os.environ["DEFECT_DETECT_CACHE"]
        time.sleep(2.1)  # a file younger than 2 s is hashed each time
        coco.load(root, "test")
        taken = [seconds(lambda root: coco.load(root, "test"), root)[0] for _ in range(4 * runs)]
        os.environ["DEFECT_DETECT_CACHE"] = "off"
    return statistics.median(taken)


def peak(name: str, root: Path, images: int) -> tuple[float, float]:
    """Peak MiB of a contender in a process of its own, and how much of that came after the imports."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_peak, args=(name, root, images, theirs))
    process.start()
    before, after = mine.recv()
    process.join()
    return after, after - before


def _peak(name: str, root: Path, images: int, answer: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # A small set first: what is imported and set up once is not growth.
        small = Path(folder)
        generated.make(small, 10)
        with compiled(on=False):
            judges.quietly(contenders(images)[name], small)
    before = _high_water()
    with compiled(on=False):
        judges.quietly(contenders(images)[name], root)
    answer.send((before, _high_water()))


def _high_water() -> float:
    # Not getrusage: its maximum is handed down by the process that started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def helps() -> dict[str, float]:
    """CPU seconds of `--help` of each tool, the median of 5."""
    root = Path(__file__).parents[1]
    taken = {}
    for tool in sorted((root / "tools").glob("*.py")):
        each = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, str(tool), "--help"], check=True, stdout=subprocess.DEVNULL, cwd=root)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            each.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        taken[tool.name] = statistics.median(each)
    return taken


def ratio(taken: dict[str, list[float]], name: str, to: str) -> float:
    """How many times as long `name` takes: the median over the runs."""
    return statistics.median(a / b for a, b in zip(taken[name], taken[to], strict=True))


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 20000, 100000])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print("Python", platform.python_version(), *(f"{n} {importlib.metadata.version(n)}" for n in PACKAGES), "1 thread")
    cost: dict[str, list[float]] = {OURS: [], COMPILED: [], THREE: []}
    grown: dict[str, list[float]] = {OURS: [], COMPILED: [], THREE: []}
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            generated.make(root, images)
            megabytes = [(root / f"{name}.json").stat().st_size / 1e6 for name in ("test", "a")]
            print(f"\n{images:,} images, {megabytes[0]:.1f} MB of ground truth, {megabytes[1]:.1f} MB a detector")
            with compiled(on=False):
                taken = race(root, images, arguments.runs)
            for name in taken:
                whole, added = peak(name, root, images)
                times = "" if name == OURS else f"{ratio(taken, name, OURS):7.2f} x ours"
                print(f"{name:24} {1000 * statistics.median(taken[name]):9.1f} ms {whole:7.0f} MiB{times}")
                if name in cost:
                    cost[name].append(statistics.median(taken[name]))
                    grown[name].append(added)
            if (root / "test.json").stat().st_size >= cache.LEAST:
                print(f"ground truth from kept columns: {1000 * reload(root, arguments.runs):.1f} ms")
    if len(arguments.images) > 1:
        for name, costs in cost.items():
            if costs:
                slopes = exponent(arguments.images, costs), exponent(arguments.images, grown[name])
                print(f"\n{name}: time grows by exponent {slopes[0]:.2f}, memory beyond the imports by {slopes[1]:.2f}")
    print("\n--help:", ", ".join(f"{name} {1000 * took:.0f} ms" for name, took in helps().items()))


if __name__ == "__main__":
    fixed = dict.fromkeys(THREADS, "1") | {"DEFECT_DETECT_CACHE": "off"}
    if fixed.items() <= os.environ.items():
        main()
    else:  # libraries read these when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | fixed)  # noqa: S606 - itself, no shell
