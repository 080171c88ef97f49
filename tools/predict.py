"""Run a trained detector over one split and write COCO results with a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
example:
  python tools/predict.py dataset/ runs/line4/runs/yolo26n-0 --split test
"""


def main() -> int:
    parser = options.parser(__doc__ or "", "--device", "--threads", *options.WORK, epilog=EXAMPLES)
    parser.add_argument("run", type=Path, help="the run folder of a training")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: %(default)s")
    arguments = parser.parse_args()

    def action() -> int:
        from rich.console import Console

        from defect_detect import comparing, facts, folder, runner, trials

        changed = {n: v for n in ("device", "threads") if (v := getattr(arguments, n)) is not None}
        trials.training(arguments.run)
        root = comparing.normalized(arguments.dataset, arguments.run)
        workers = runner.Workers(arguments.stalled_after)
        with folder.at_work(arguments.run.absolute().parents[1], facts.versions(), arguments.operator):
            print(trials.predict(arguments.run, root, arguments.split, Console(stderr=True), changed, workers=workers))
        return 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
