"""Generate the demo dataset: `python tools/make_demo.py out/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from defect_detect.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Generate surface pictures with scratches, pits, stains and cracks, as a COCO export.",
    )
    parser.add_argument("out", type=Path, help="folder to write annotations.json and images/ to")
    parser.add_argument("--images", type=int, default=300, help="how many pictures (default %(default)s)")
    parser.add_argument("--size", type=int, default=160, help="their width and height, px (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes (default %(default)s)")
    arguments = parser.parse_args()
    from defect_detect.data import demo

    try:
        path = demo.generate(
            arguments.out,
            images=arguments.images,
            size=arguments.size,
            seed=arguments.seed,
            progress=_show if sys.stderr.isatty() else None,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{arguments.out}: cannot be written: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


def _show(done: int, of: int) -> None:
    print(f"\r{done}/{of} pictures", end="\n" if done == of else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
