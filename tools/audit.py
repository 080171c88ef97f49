"""Look at a dataset before training on it: what there is, what each framework would lose, which labels look wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
examples:
  python tools/audit.py annotations.json --images images/
  python tools/audit.py dataset/ --detectors configs/yolo/yolo26n.yaml --set image_size=1280

Writes audit.html and audit.json. What isn't normalized yet is normalized first, to OUT/dataset.
Exit codes: 0 done; 1 something failed; 2 the input is at fault.
"""


def main() -> int:
    parser = options.parser(__doc__ or "", "--out", *options.DATASET, "--set", "--tile", epilog=EXAMPLES)
    parser.add_argument(
        "--detectors", nargs="+", type=Path, metavar="CONFIG",
        default=[options.shipped_config(name) for name in options.DEFAULT_DETECTORS],
        help="configs whose image size counts (default: YOLO, SSD and Mask R-CNN)",
    )  # fmt: skip
    parser.add_argument(
        "--no-alike", action="store_true", help="don't look for pictures that look alike across splits (reads them all)"
    )
    arguments = parser.parse_args()

    def action() -> int:
        from rich.console import Console

        from defect_detect import auditing, comparing

        source, out = options.source(arguments), options.out(arguments, "runs", suffix="-audit")
        console = Console(stderr=True)
        configs = comparing.configured(arguments.detectors, options.overrides(arguments))
        root = comparing.prepare(source, out, console)
        out.mkdir(parents=True, exist_ok=True)
        auditing.run(
            root, out, configs=configs, name=arguments.dataset.absolute().name, tile=arguments.tile,
            alike=not arguments.no_alike, seed=arguments.seed, console=console,
        )  # fmt: skip
        return 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
