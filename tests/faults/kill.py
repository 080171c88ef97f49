"""Kills comparisons until enough blows fell, and counts what broke.

    python -m tests.faults.kill --kills 1000 --seed 0 --report kills.json

`--detectors` and `--arguments` choose another comparison than the fast baseline's.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from defect_detect.data import demo
from tests.faults import cycles, exporting

CLASSICAL = ["configs/baseline/classical.yaml"]
Strike = Callable[[int, int], list[str]]
"""Strikes the comparison of this number so many times in a row; where each blow fell."""
QUICK = ["--set", "epochs=2", "image_size=64", "--resamples", "20"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--blows", type=int, default=5, help="kills of one comparison before it may end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=14)
    parser.add_argument("--detectors", nargs="+", default=CLASSICAL)
    parser.add_argument("--arguments", nargs="+", default=QUICK, metavar="WORD")
    parser.add_argument("--resumes", action="store_true", help="trainings go on from their last epoch: verify instead")
    parser.add_argument(
        "--fiftyone", action="store_true", help="strike a finished comparison while it is written to FiftyOne"
    )
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--place", type=Path)
    asked, more = parser.parse_known_args()
    cycles.adopt_orphans()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    place = asked.place or Path(tempfile.mkdtemp(prefix="kills-"))
    place.mkdir(parents=True, exist_ok=True)
    os.environ["DEFECT_DETECT_CACHE"] = str(place / "cache")
    source = demo.generate(place / "export", images=asked.images, size=64, seed=3)
    words = ["--detectors", *asked.detectors, *asked.arguments, *more]
    draw = random.Random(asked.seed)
    with contextlib.ExitStack() as open_:
        make = _exports if asked.fiftyone else _comparisons
        strike = open_.enter_context(make(source, words, place, asked, draw))
        return _strike(strike, asked)


def _strike(strike: Strike, asked: argparse.Namespace) -> int:
    """Until enough blows fell."""
    fell: list[str] = []
    broken: list[str] = []
    started, comparisons = time.monotonic(), 0
    while len(fell) < asked.kills and time.monotonic() - started < asked.minutes * 60:
        comparisons += 1
        try:
            fell += strike(comparisons, min(asked.blows, asked.kills - len(fell)))
        except cycles.Broken as error:
            broken.append(str(error))
            print(f"BROKEN: {error}", flush=True)
        if comparisons % 10 == 0:
            print(f"{len(fell)} kills, {len(broken)} broken, {time.monotonic() - started:.0f} s", flush=True)
        _report(asked.report, comparisons, fell, broken)
    print(json.dumps(_report(asked.report, comparisons, fell, broken), indent=1))
    return bool(broken)


@contextlib.contextmanager
def _exports(
    source: Path, words: list[str], place: Path, asked: argparse.Namespace, draw: random.Random
) -> Iterator[Strike]:
    """What strikes a comparison while it is written to FiftyOne; with the comparison's number it does nothing."""
    with exporting.at_work(place) as (database, name):
        exporting.prepare_forks()
        command = cycles.Command(tool="compare", arguments=[str(source), *words])
        reference = exporting.undisturbed(command, place, database, name)
        print(f"undisturbed: {reference.seconds:.1f} s, {reference.steps} writes to the database", flush=True)
        yield lambda _, blows: exporting.cycle(reference, place, draw, blows)


@contextlib.contextmanager
def _comparisons(
    source: Path, words: list[str], place: Path, asked: argparse.Namespace, draw: random.Random
) -> Iterator[Strike]:
    """What strikes fresh comparisons."""
    words = [*words, "--no-fiftyone"]
    cycles.prepare_forks()
    raw = cycles.Command(tool="compare", arguments=[str(source), *words])
    ready = cycles.Command(tool="compare", arguments=[str(place / "of-raw" / "reference" / "dataset"), *words])
    references = []
    for command, where in ((raw, "of-raw"), (ready, "of-ready")):
        (place / where).mkdir(exist_ok=True)
        found = cycles.undisturbed(command, place / where, warm=True)
        references.append(dataclasses.replace(found, resumes=asked.resumes))
        known = references[-1].command
        print(f"undisturbed: {known.seconds:.1f} s, steps {known.steps}", flush=True)

    # Normalization is a third of the steps and most of the time: it is struck in every third comparison.
    def strike(number: int, blows: int) -> list[str]:
        which = int(number % 3 != 0)
        return cycles.cycle(references[which], place / ("of-raw", "of-ready")[which], draw, blows)

    yield strike


def _report(path: Path | None, comparisons: int, fell: list[str], broken: list[str]) -> dict[str, object]:
    rows = [line.split("\t") for line in fell]
    content = {
        "kills": len(fell), "comparisons": comparisons, "broken": broken,
        "by_step": collections.Counter(f"{row[0].rstrip('0123456789')} {row[1]}" for row in rows),
        "by_signal": collections.Counter(row[4] for row in rows),
        "by_exit": collections.Counter(row[5] for row in rows),
        "by_state": collections.Counter(row[6] for row in rows if len(row) > 6),
    }  # fmt: skip
    if path is not None:
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return content


if __name__ == "__main__":
    sys.exit(main())
