"""Which detector misses the fewest defects, and why: train, predict, judge, report."""

from __future__ import annotations

import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
examples:
  python tools/compare.py annotations.json --images images/
  python tools/compare.py dataset/ --detectors configs/yolo/yolo26n.yaml configs/ssd/ssd300_vgg16.yaml --seeds 3
  python tools/compare.py dataset/ --predictions vendor:val=v.json vendor:test=t.json
  python tools/compare.py wafers/ --tile 640

Exit codes: 0 done; 1 something failed; 2 the input is at fault; 3 done, and a condition of --fail-if holds.
Run it again, and it goes on where it stopped: what is finished and unchanged is kept.
"""


def main() -> int:
    parser = options.parser(
        __doc__ or "", "--out", *options.DATASET, *options.JUDGING, "--seeds", "--set", "--device", "--threads",
        "--trust-checkpoint", "--trust-config", "--jobs", *options.TILING, "--no-fiftyone", *options.WORK,
        epilog=EXAMPLES,
    )  # fmt: skip
    parser.add_argument(
        "--detectors", nargs="+", type=Path, metavar="CONFIG",
        help="configs to train (default: YOLO, SSD and Mask R-CNN; none when --predictions are given)",
    )  # fmt: skip
    parser.add_argument(
        "--predictions", nargs="+", default=[], metavar="NAME:SPLIT=FILE",
        help="COCO results from elsewhere, for val and test; NAME=FILE means test only",
    )  # fmt: skip
    arguments = parser.parse_args()

    def action() -> int:
        from defect_detect import comparing

        detectors = arguments.detectors
        if detectors is None:
            detectors = [] if arguments.predictions else [options.shipped_config(n) for n in options.DEFAULT_DETECTORS]
        return comparing.run(
            options.source(arguments),
            options.out(arguments, "runs"),
            detectors=detectors,
            settings=options.overrides(arguments),
            seeds=arguments.seeds,
            jobs=arguments.jobs,
            given=arguments.predictions,
            judging=options.judging(arguments),
            cut=options.tiling(arguments),
            fiftyone=not arguments.no_fiftyone,
            operator=arguments.operator,
            stalled_after=arguments.stalled_after,
        )

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
