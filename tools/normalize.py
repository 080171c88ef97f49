"""Normalize a COCO export: `python tools/normalize.py export.json --images images/ --out dataset/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from defect_detect.data.normalize import Normalized


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description="Check and repair a COCO export, and write it as a dataset that every detector here can use.",
        epilog="Exit code 2: the input can't be used (all that is wrong with it is listed). 1: writing failed.",
    )
    made.add_argument("dataset", type=Path, help="a COCO file, or a folder with train.json, val.json and test.json")
    made.add_argument("--images", type=Path, help="folder of the pictures (default: images/ beside the file)")
    made.add_argument("--out", type=Path, required=True, help="folder to write; it appears only when complete")
    made.add_argument("--group", help="field of the images that names the part, panel or lot (default: group)")
    made.add_argument("--scale", help="how many px make one unit, such as 48/mm")
    made.add_argument("--severity", nargs="+", default=[], metavar="CLASS=LEVEL",
                      help="critical, major or minor for a class")  # fmt: skip
    made.add_argument("--accept-below", nargs="+", default=[], metavar="CLASS=LENGTH",
                      help="defects shorter than this (in the scale's unit, else px) may be missed")  # fmt: skip
    made.add_argument("--seed", type=int, default=0, help="of the split of a single file (default %(default)s)")
    made.add_argument("--strict", action="store_true", help="repair nothing: list every fault and write nothing")
    return made


def main() -> int:
    arguments = parser().parse_args()
    from defect_detect.data.normalize import normalize
    from defect_detect.errors import InputError

    try:
        scale, unit = _scale(arguments.scale)
        done = normalize(
            arguments.dataset,
            images=arguments.images,
            out=arguments.out,
            group=arguments.group,
            scale=scale,
            unit=unit,
            severity=_pairs("--severity", arguments.severity),
            accept_below={name: _number(name, value) for name, value in
                          _pairs("--accept-below", arguments.accept_below).items()},
            seed=arguments.seed,
            strict=arguments.strict,
            progress=_show if sys.stderr.isatty() else None,
        )  # fmt: skip
    except InputError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {arguments.out}: cannot be written: {error}", file=sys.stderr)
        return 1
    _print(done)
    return 0


def _scale(text: str | None) -> tuple[float | None, str]:
    if text is None:
        return None, "px"
    number, _, unit = text.partition("/")
    return _number("--scale", number), unit.strip() or "unit"


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    from defect_detect.errors import DatasetError, Fault

    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name:
            raise DatasetError(Fault(where=option, expected="CLASS=VALUE", found=repr(text)))
        pairs[name] = value
    return pairs


def _number(where: str, text: str) -> float:
    from defect_detect.errors import DatasetError, Fault

    try:
        return float(text)
    except ValueError:
        raise DatasetError(Fault(where=where, expected="a number", found=repr(text))) from None


def _print(done: Normalized) -> None:
    from rich.console import Console
    from rich.table import Table

    from defect_detect.data.repairs import summary

    console = Console()
    content = done.content
    counts = Table("", "in", "kept", "of these repaired", "left out", title=str(done.root), title_justify="left")
    for name, tally in (("images", content.images), ("annotations", content.annotations)):
        numbers = (tally.given, tally.kept, tally.repaired, tally.quarantined)
        counts.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(counts)
    splits = Table("split", "images", "defect-free", "defects", "defects left out")
    for name, split in content.splits.items():
        numbers = (split.images, split.defect_free, split.defects, split.quarantined_defects)
        splits.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(splits)
    if done.repairs:
        rules = Table("what", "rule", "times", "for example")
        for action, what, times, example in summary(done.repairs):
            rules.add_row(action, what, f"{times:,}", example)
        console.print(rules)
        print(f"Each one is a line of {done.root / 'repairs.jsonl'}.")
    regions = "masks" if content.regions else "boxes only"
    print(f"{len(content.categories)} classes, {regions}." + (" It was there already." if done.reused else ""))
    if content.annotations.quarantined:
        print(f"Note: {content.annotations.quarantined:,} defects were left out and will not be judged.")


def _show(done: int, of: int) -> None:
    print(f"\r{done}/{of} pictures", end="\n" if done == of else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
