"""Write a normalized dataset as the folder that YOLO trainers read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = r"""
examples:
  python tools/normalize.py export.json --out dataset/
  python tools/export.py dataset/ --out yolo/
  python tools/export.py dataset/ --out yolo/ --boxes --split train val

Rings where the dataset has regions, else boxes. What the format can't hold is counted (docs/formats.md).
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="a normalized dataset (tools/normalize.py)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--boxes", action="store_true", help="boxes although the dataset has regions")
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help="train | val | test (default: all)")
    arguments = parser.parse_args()

    def action() -> int:
        from rich.console import Console

        from defect_detect.data import yolo_folder

        made = yolo_folder.write(
            arguments.dataset, arguments.out, splits=arguments.split, segment=False if arguments.boxes else None
        )
        said = Console()
        said.print(
            f"{arguments.out / 'data.yaml'}: {made.images} images, {made.defects} defects",
            highlight=False,
            soft_wrap=True,
        )
        for count, what in (
            (made.left_out, "crowds and ignored defects left out: the format has no place for them"),
            (made.empty, "defects left out: no pixel of theirs lies in the picture"),
            (made.renamed, f"pictures renamed, so that each has a label file of its own ({yolo_folder.RENAMED})"),
        ):
            if count:
                said.print(f"{count} {what}", highlight=False, soft_wrap=True)
        return 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
