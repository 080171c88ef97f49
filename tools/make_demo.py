"""Generate the demo data: surface pictures with scratches, pits, stains and cracks, as a COCO export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from defect_detect import options

EXAMPLE = """
example:
  python tools/make_demo.py demo/ --images 400 --size 160 --seed 0
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write annotations.json and images/ to")
    parser.add_argument("--images", type=int, default=400, help="how many pictures (default %(default)s)")
    parser.add_argument("--size", type=int, default=160, help="their width and height, px (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes (default %(default)s)")
    arguments = parser.parse_args()

    def action() -> int:
        from defect_detect.data import demo

        report = _show if sys.stderr.isatty() else None
        print(
            demo.generate(
                arguments.out, images=arguments.images, size=arguments.size, seed=arguments.seed, progress=report
            )
        )
        return 0

    return options.ended(action)


def _show(done: int, of: int) -> None:
    print(f"\r{done}/{of} pictures", end="\n" if done == of else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
